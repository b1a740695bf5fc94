// A model is a plain record: one transformer, whose every known family is a setting of these fields.
import type { Activation } from '../tensor/kernels.ts'

/** How positions enter the attention. */
export type Position =
  | {
      kind: 'rope'
      theta: number
      /** Share of each head that is rotated (GPT-NeoX: 0.25). */
      fraction: number
      scaling?: RopeScaling
      /** theta of layers with a sliding window, where it differs (Gemma 3). */
      localTheta?: number
      /** Layers without rotation (SmolLM3), true = rotated; absent: all. */
      layers?: readonly boolean[]
    }
  | { kind: 'learned'; positions: number; offset: number } // offset: OPT's first 2 rows are not positions
  | {
      kind: 'alibi'
      /** Falcon: slope * position of the key is rounded to bf16, and added before scores are scaled; absent: slope * distance is taken from the scaled scores. */
      rounded?: 'bf16'
    }

/** Stretching of rotary angles for contexts longer than trained on, as in transformers' rope_scaling. */
export type RopeScaling =
  | { kind: 'linear'; factor: number }
  | { kind: 'llama3'; factor: number; lowFrequencyFactor: number; highFrequencyFactor: number; originalContext: number }
  | { kind: 'dynamic'; factor: number; originalContext: number }
  | {
      kind: 'yarn'
      factor: number
      originalContext: number
      betaFast: number
      betaSlow: number
      attentionFactor: number | null
      mscale?: number
      mscaleAllDim?: number
      truncate?: boolean
    }
  | {
      kind: 'longrope'
      shortFactor: readonly number[]
      longFactor: readonly number[]
      originalContext: number
      attentionFactor: number
    }

/**
 * Norm of queries and keys before rotation: an RMS norm of each head with one gain (Qwen 3), or of the whole vector before the
 * split (OLMo 2); a LayerNorm of each head with one gain and bias (Phi), or with a gain of its own for each (StableLM 2 12B).
 */
export type QueryNorm = 'none' | 'head' | 'whole' | 'layerHead' | 'layerEachHead'

/** The record. Widths are counts of numbers, a head's size included, so nothing is derived twice. */
export interface ModelConfig {
  /** Name of the family in families/, which maps checkpoints: llama, gpt2, gpt_neox … */
  family: string
  vocab: number
  width: number
  layers: number
  heads: number
  kvHeads: number
  headSize: number
  /** Width inside the MLP. */
  hidden: number
  /** Largest number of positions. */
  context: number
  norm: {
    kind: 'rms' | 'layer'
    eps: number
    /** Has a weight (OLMo: no). */
    gain: boolean
    bias: boolean
    /** The weight stored is the gain minus this (Gemma: 1). */
    gainOffset: number
  }
  /** Where the block's norms stand: before each part; after the residual sum (opt-350m); on the part's output inside the residual (OLMo 2); both sides of the part (Gemma 2). */
  normPlacement: 'pre' | 'post' | 'inside' | 'sandwich'
  /** sequential; parallel with a norm each (GPT-NeoX); parallel with one shared norm (GPT-J, Phi, Falcon 7B). */
  residual: 'sequential' | 'parallel' | 'parallelShared'
  finalNorm: boolean
  /** Norm straight after the embedding (BLOOM). */
  embeddingNorm: boolean
  /** Width of the embedding where projections lead in and out of `width` (opt-350m). */
  embeddingWidth: number
  /** The embedding is multiplied by this (Gemma: sqrt(width)). */
  embeddingScale: number
  position: Position
  mlp: { gated: boolean; activation: Activation }
  bias: { qkv: boolean; output: boolean; mlp: boolean; head: boolean }
  qkNorm: QueryNorm
  attention: {
    scale: number
    /** q, k, v are clamped to ±clip (OLMo); null: not. */
    clip: number | null
    softcap: number | null
    /** Sliding window of each layer, null: full; absent: all full. */
    windows?: readonly (number | null)[]
  }
  logitSoftcap: number | null
  tied: boolean
}

/** What training rounds, by spelling; null: not quantized. `gradients` is the operand of the backward products. */
export interface Precision {
  weights: string | null
  activations: string | null
  kv: string | null
  gradients: string | null
  straightThrough?: 'full' | 'clipped'
  absmaxRatio?: { weights: number; activations: number }
}

/** One parameter tensor of a model: canonical name, shape (matrices are (out, in)), and whether PTQ and `precision.weights` round it. */
export interface ParameterSpec {
  name: string
  shape: readonly number[]
  kind: 'embedding' | 'position' | 'norm' | 'bias' | 'linear' | 'head'
}

/**
 * Canonical names, in this order: `embedding.weight`, `position.weight`, `embeddingNorm.{weight,bias}`, `projectIn.weight`,
 * then for each layer i `layers.<i>.` + `attentionNorm.{weight,bias}`, `q|k|v|o.{weight,bias}`, `qNorm|kNorm.{weight,bias}`,
 * `attentionPostNorm.{weight,bias}`, `mlpNorm.{weight,bias}`, `gate|up|down.{weight,bias}` (no gate where not gated),
 * `mlpPostNorm.{weight,bias}`, then `norm.{weight,bias}`, `projectOut.weight`, `head.{weight,bias}` (no head weight where tied).
 * normPlacement post and inside use attentionPostNorm and mlpPostNorm only; pre uses attentionNorm and mlpNorm only; sandwich all four;
 * parallelShared has no mlpNorm.
 */
export function parameterSpecs(config: ModelConfig): ParameterSpec[] {
  const { width, hidden, heads, kvHeads, headSize, norm, bias, normPlacement, residual } = config
  const specs: ParameterSpec[] = []
  const add = (name: string, shape: readonly number[], kind: ParameterSpec['kind']) => specs.push({ name, shape, kind })
  const addNorm = (name: string, size = width) => {
    if (norm.gain) add(`${name}.weight`, [size], 'norm')
    if (norm.bias) add(`${name}.bias`, [size], 'bias')
  }
  const addLinear = (
    name: string,
    out: number,
    inputs: number,
    hasBias: boolean,
    kind: ParameterSpec['kind'] = 'linear',
  ) => {
    add(`${name}.weight`, [out, inputs], kind)
    if (hasBias) add(`${name}.bias`, [out], 'bias')
  }
  add('embedding.weight', [config.vocab, config.embeddingWidth], 'embedding')
  if (config.position.kind === 'learned')
    add('position.weight', [config.position.positions + config.position.offset, width], 'position')
  if (config.embeddingNorm) addNorm('embeddingNorm')
  if (config.embeddingWidth !== width) addLinear('projectIn', width, config.embeddingWidth, false, 'head')
  const before = normPlacement === 'pre' || normPlacement === 'sandwich'
  const after = normPlacement !== 'pre'
  for (let i = 0; i < config.layers; i++) {
    const at = (name: string) => `layers.${i}.${name}`
    if (before) addNorm(at('attentionNorm'))
    addLinear(at('q'), heads * headSize, width, bias.qkv)
    addLinear(at('k'), kvHeads * headSize, width, bias.qkv)
    addLinear(at('v'), kvHeads * headSize, width, bias.qkv)
    if (config.qkNorm !== 'none') {
      const shared = config.qkNorm === 'head' || config.qkNorm === 'layerHead'
      for (const [name, count] of [
        ['qNorm', heads],
        ['kNorm', kvHeads],
      ] as const) {
        add(at(`${name}.weight`), [shared ? headSize : count * headSize], 'norm')
        if (config.qkNorm === 'layerHead') add(at(`${name}.bias`), [headSize], 'bias')
      }
    }
    addLinear(at('o'), width, heads * headSize, bias.output)
    if (after) addNorm(at('attentionPostNorm'))
    if (before && residual !== 'parallelShared') addNorm(at('mlpNorm'))
    if (config.mlp.gated) addLinear(at('gate'), hidden, width, bias.mlp)
    addLinear(at('up'), hidden, width, bias.mlp)
    addLinear(at('down'), width, hidden, bias.mlp)
    if (after) addNorm(at('mlpPostNorm'))
  }
  if (config.finalNorm) addNorm('norm')
  if (config.embeddingWidth !== width) addLinear('projectOut', config.embeddingWidth, width, false, 'head')
  if (!config.tied) add('head.weight', [config.vocab, config.embeddingWidth], 'head')
  if (bias.head) add('head.bias', [config.vocab], 'bias')
  return specs
}

/** N: parameters without embedding, position and unembedding; N_total counts them (a tied matrix once). */
export function countParameters(config: ModelConfig): { n: number; nTotal: number } {
  let n = 0
  let nTotal = 0
  for (const spec of parameterSpecs(config)) {
    const size = spec.shape.reduce((a, b) => a * b, 1)
    nTotal += size
    if (spec.kind !== 'embedding' && spec.kind !== 'position' && !spec.name.startsWith('head.')) n += size
  }
  return { n, nTotal }
}
