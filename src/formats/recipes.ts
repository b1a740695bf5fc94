// llama.cpp's mixtures: which k-quant each tensor gets in q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s, q5_k_m and q6_k. Layers at the two ends, and
// every third between, get more bits for what hurts most: the values, the MLP's way back, and the output matrix.

/** What a recipe asks of a model. */
export interface RecipeModel {
  family: string
  layers: number
  heads: number
  kvHeads: number
  tied: boolean
}

/** What it asks of a tensor: canonical name (`layers.3.down.weight`; `layers.3.qkv.weight` where those are one), shape (out, in), and what it is. */
export interface RecipeTensor {
  name: string
  shape: readonly number[]
  kind: string
}

/** Names of the recipes. */
export const RECIPES = ['q3_k_s', 'q3_k_m', 'q3_k_l', 'q4_k_s', 'q4_k_m', 'q5_k_s', 'q5_k_m', 'q6_k'] as const

/** A mixture by its name; q6_k is one type for all, the embedding too. */
export type Recipe = (typeof RECIPES)[number]

/** Whether llama.cpp gives layer `i` of `n` more bits. */
export function usesMoreBits(i: number, n: number): boolean {
  const eighth = Math.floor(n / 8)
  return i < eighth || i >= Math.floor((7 * n) / 8) || (i - eighth) % 3 === 2
}

/** Type of a row length that the 256 of a k-quant does not divide. */
const FALLBACKS: Readonly<Record<string, string>> = { q3_k: 'iq4_nl', q4_k: 'q5_0', q5_k: 'q5_1', q6_k: 'q8_0' }

/** The type of one tensor in a mixture, as llama.cpp chooses it; null: stays as it is. */
export function recipeFormat(recipe: Recipe, spec: RecipeTensor, config: RecipeModel): string | null {
  if (spec.shape.length !== 2 || spec.kind === 'norm' || spec.kind === 'bias' || spec.kind === 'position') return null
  const type = wantedType(recipe, spec.name, config)
  const width = spec.shape[1]
  if (width % 256 === 0) return type
  const other = FALLBACKS[type]
  return width % 32 === 0 ? other : null
}

function wantedType(recipe: Recipe, name: string, config: RecipeModel): string {
  const base = recipe.slice(0, 4)
  // The output matrix, or the embedding that serves as one.
  if (name === 'head.weight' || (name === 'embedding.weight' && config.tied))
    return config.family === 'falcon' ? 'q8_0' : 'q6_k'
  const match = /^layers\.(\d+)\.(\w+)\.weight$/.exec(name)
  if (!match) return base
  const layer = Number(match[1])
  const { layers, family } = config
  const falcon = family === 'falcon'
  // One matrix for q, k and v.
  if (match[2] === 'qkv')
    return recipe === 'q3_k_m' || recipe === 'q3_k_l'
      ? 'q4_k'
      : recipe === 'q4_k_m'
        ? 'q5_k'
        : recipe === 'q5_k_m'
          ? 'q6_k'
          : base
  if (match[2] === 'v') {
    const type =
      recipe === 'q3_k_m'
        ? layer < 2
          ? 'q5_k'
          : 'q4_k'
        : recipe === 'q3_k_l' || (recipe === 'q4_k_s' && layer < 4)
          ? 'q5_k'
          : (recipe === 'q4_k_m' || recipe === 'q5_k_m') && usesMoreBits(layer, layers)
            ? 'q6_k'
            : base
    // Llama 70B shares each value head among 8 heads: more bits cost little there.
    return layers === 80 && config.heads === 8 * config.kvHeads && (type === 'q3_k' || type === 'q4_k') ? 'q5_k' : type
  }
  if (match[2] === 'down') {
    if (recipe === 'q3_k_m') {
      if (layer < Math.floor(layers / 16)) return 'q5_k'
      return !falcon || usesMoreBits(layer, layers) ? 'q4_k' : 'q3_k'
    }
    if (recipe === 'q4_k_m') {
      if (falcon) return layer < Math.floor(layers / 16) ? 'q6_k' : usesMoreBits(layer, layers) ? 'q5_k' : 'q4_k'
      if (usesMoreBits(layer, layers)) return 'q6_k'
    }
    if (recipe === 'q5_k_m' && usesMoreBits(layer, layers)) return 'q6_k'
    if (recipe === 'q3_k_l') return falcon ? 'q4_k' : 'q5_k'
    if (recipe === 'q4_k_s' && !falcon && layer < Math.floor(layers / 8)) return 'q5_k'
  }
  if (match[2] === 'o' && recipe === 'q3_k_m' && !falcon) return 'q4_k'
  if (match[2] === 'o' && recipe === 'q3_k_l') return falcon ? 'q4_k' : 'q5_k'
  return base
}
