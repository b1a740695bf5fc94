// A model's shape as a plain record, and what follows from it by arithmetic: its tensors, parameters, cache and FLOPs.
// The planner needs no model; a checkpoint's record is turned into this one by whoever has it.

/** Sizes of a decoder; heads * headSize need not be the width. */
export interface Shape {
  layers: number
  width: number
  heads: number
  kvHeads: number
  headSize: number
  /** Width inside the MLP. */
  hidden: number
  /** A gate beside up and down (SwiGLU). */
  gated: boolean
  vocab: number
  /** The unembedding is the embedding. */
  tied: boolean
  /** Biases and norms, parameters of a model beyond its matrices; RMS norms of Llama's kind unless given. */
  vectors?: number
  /** Learned positions; they count as embedding. */
  positions?: number
}

/** One matrix of a shape: what it is, (out, in), and how many of it there are. */
export interface Matrix {
  name: 'embedding' | 'head' | 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down'
  shape: readonly [number, number]
  count: number
}

/** All matrices of a shape; `head` is absent where tied. */
export function matrices(shape: Shape): Matrix[] {
  const { layers, width, heads, kvHeads, headSize, hidden, vocab } = shape
  const list: Matrix[] = [
    { name: 'embedding', shape: [vocab, width], count: 1 },
    { name: 'q', shape: [heads * headSize, width], count: layers },
    { name: 'k', shape: [kvHeads * headSize, width], count: layers },
    { name: 'v', shape: [kvHeads * headSize, width], count: layers },
    { name: 'o', shape: [width, heads * headSize], count: layers },
    { name: 'up', shape: [hidden, width], count: layers },
    { name: 'down', shape: [width, hidden], count: layers },
  ]
  if (shape.gated) list.push({ name: 'gate', shape: [hidden, width], count: layers })
  if (!shape.tied) list.push({ name: 'head', shape: [vocab, width], count: 1 })
  return list
}

/** N (without embedding and unembedding) and N_total. */
export function countShape(shape: Shape): { n: number; nTotal: number } {
  let n = shape.vectors ?? (2 * shape.layers + 1) * shape.width
  let embeddings = (shape.positions ?? 0) * shape.width
  for (const matrix of matrices(shape)) {
    const size = matrix.shape[0] * matrix.shape[1] * matrix.count
    if (matrix.name === 'embedding' || matrix.name === 'head') embeddings += size
    else n += size
  }
  return { n, nTotal: n + embeddings }
}

/** Numbers that the KV cache holds for one token. */
export function cacheNumbers({ layers, kvHeads, headSize }: Shape): number {
  return 2 * layers * kvHeads * headSize
}

/** Width of a model of n non-embedding parameters in the usual proportions: n = layers width^2 12 with width 128 a layer. */
export const usualWidth = (n: number): number => Math.cbrt((n * 128) / 12)

/** A Llama-like shape of about n non-embedding parameters: width 128 a layer up to 80 layers, heads of 64 or 128, hidden 8/3 of the width; at most `kvHeads` heads of keys and values (all unless given). */
export function shapeOf(n: number, { vocab = 32_000, kvHeads = Number.POSITIVE_INFINITY } = {}): Shape {
  const width = Math.max(64, Math.round(usualWidth(n) / 64) * 64)
  const layers = Math.max(2, Math.round(n / (12 * width * width)))
  const headSize = width >= 2048 ? 128 : Math.min(64, width)
  const heads = Math.max(1, Math.round(width / headSize))
  const shared = Math.min(heads, kvHeads)
  const attention = 2 * width * headSize * (heads + shared)
  const hidden = Math.max(64, Math.round((n / layers - attention) / (3 * width) / 64) * 64)
  return { layers, width, heads, kvHeads: shared, headSize, hidden, gated: true, vocab, tied: false }
}
