// Small models for tests: a record from a few widths, and random parameters of which every one matters.
import { type ModelConfig, parameterSpecs } from './config.ts'
import { type Model, sizeOf } from './model.ts'
import { createNormal } from './random.ts'

/** Widths of a decoder. */
export interface Widths {
  vocab: number
  width: number
  layers: number
  heads: number
  hidden: number
  context: number
}

/** Llama's record at these widths, with as many key heads as heads. */
export function llamaConfig({ vocab, width, layers, heads, hidden, context }: Widths): ModelConfig {
  const headSize = width / heads
  return {
    family: 'llama',
    vocab,
    width,
    layers,
    heads,
    kvHeads: heads,
    headSize,
    hidden,
    context,
    norm: { kind: 'rms', eps: 1e-5, gain: true, bias: false, gainOffset: 0 },
    normPlacement: 'pre',
    residual: 'sequential',
    finalNorm: true,
    embeddingNorm: false,
    embeddingWidth: width,
    embeddingScale: 1,
    position: { kind: 'rope', theta: 10000, fraction: 1 },
    mlp: { gated: true, activation: 'silu' },
    bias: { qkv: false, output: false, mlp: false, head: false },
    qkNorm: 'none',
    attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
    logitSoftcap: null,
    tied: false,
  }
}

/** A model that a test can differentiate. */
export const SMALL: ModelConfig = llamaConfig({ vocab: 23, width: 24, layers: 2, heads: 4, hidden: 20, context: 16 })
const layerNorm: ModelConfig['norm'] = { kind: 'layer', eps: 1e-5, gain: true, bias: true, gainOffset: 0 }
const allBiases = { qkv: true, output: true, mlp: true, head: true }
const learned: ModelConfig['position'] = { kind: 'learned', positions: 16, offset: 2 }
const plainMlp = (activation: ModelConfig['mlp']['activation']) => ({ gated: false, activation })
const gpt: Partial<ModelConfig> = {
  norm: layerNorm,
  bias: { ...allBiases, head: false },
  position: { ...learned, offset: 0 },
  mlp: plainMlp('geluTanh'),
  tied: true,
}

/** One entry an arrangement; the names are what differs, or the family that it is. */
export const ARRANGEMENTS: Record<string, Partial<ModelConfig>> = {
  llama: {},
  'grouped queries, own head size': { kvHeads: 2, headSize: 10 },
  'tied, biases everywhere': { tied: true, bias: allBiases },
  gpt2: gpt,
  opt: { ...gpt, position: learned, mlp: plainMlp('relu') },
  'opt-350m': {
    ...gpt,
    position: learned,
    mlp: plainMlp('relu'),
    normPlacement: 'post',
    finalNorm: false,
    embeddingWidth: 14,
  },
  'projections with embedding norm': { ...gpt, embeddingWidth: 14, embeddingNorm: true },
  'projections without learned positions': { embeddingWidth: 14, embeddingScale: 3 },
  bloom: { ...gpt, position: { kind: 'alibi' }, embeddingNorm: true, heads: 6, kvHeads: 6, headSize: 4 },
  gpt_neox: {
    ...gpt,
    residual: 'parallel',
    position: { kind: 'rope', theta: 10000, fraction: 0.5 },
    mlp: plainMlp('gelu'),
    tied: false,
  },
  'parallel with a shared norm': {
    ...gpt,
    residual: 'parallelShared',
    position: SMALL.position,
    tied: false,
    bias: allBiases,
  },
  'parallel, norms inside': { residual: 'parallel', normPlacement: 'inside' },
  'parallel with a shared norm, sandwich': { residual: 'parallelShared', normPlacement: 'sandwich' },
  'parallel without norm before': { residual: 'parallelShared', normPlacement: 'inside' },
  olmo: {
    norm: { kind: 'layer', eps: 1e-5, gain: false, bias: false, gainOffset: 0 },
    attention: { ...SMALL.attention, clip: 0.7 },
    kvHeads: 2,
  },
  olmo2: { normPlacement: 'inside', qkNorm: 'whole', kvHeads: 2 },
  olmoe: { qkNorm: 'whole', attention: { ...SMALL.attention, clip: 0.8 } },
  qwen3: { qkNorm: 'head', kvHeads: 2, headSize: 8, bias: { ...SMALL.bias, qkv: true } },
  gemma2: {
    normPlacement: 'sandwich',
    norm: { ...SMALL.norm, gainOffset: 1 },
    embeddingScale: Math.sqrt(24),
    attention: { scale: 0.4, clip: null, softcap: 1.5, windows: [3, null] },
    logitSoftcap: 2,
    mlp: { gated: true, activation: 'geluTanh' },
    tied: true,
  },
  gemma3: {
    normPlacement: 'sandwich',
    norm: { ...SMALL.norm, gainOffset: 1 },
    qkNorm: 'head',
    position: { kind: 'rope', theta: 1e6, fraction: 1, localTheta: 100, scaling: { kind: 'linear', factor: 8 } },
    attention: { ...SMALL.attention, windows: [2, null] },
  },
  mistral: { attention: { ...SMALL.attention, windows: [3, 3] } },
  smollm3: { position: { kind: 'rope', theta: 10000, fraction: 1, layers: [true, false] } },
  gpt_neo: {
    ...gpt,
    attention: { scale: 1, clip: null, softcap: null, windows: [null, 2] },
    bias: { ...allBiases, qkv: false },
  },
  'alibi with softcap and window': {
    position: { kind: 'alibi' },
    attention: { ...SMALL.attention, softcap: 2, windows: [4, null] },
  },
  yarn: {
    position: {
      kind: 'rope',
      theta: 100,
      fraction: 1,
      scaling: { kind: 'yarn', factor: 4, originalContext: 8, betaFast: 2, betaSlow: 1, attentionFactor: null },
    },
  },
}

/** Matrices and biases normal(0, 0.3), gains normal(1, 0.3); float64 unless another array is named. */
export function randomModel(
  config: ModelConfig,
  seed = 5,
  kind: Float64ArrayConstructor | Float32ArrayConstructor = Float64Array,
): Model {
  const parameters = new Map<string, Float64Array | Float32Array>()
  for (const spec of parameterSpecs(config)) {
    const normal = createNormal(seed, spec.name)
    const mean = spec.kind === 'norm' ? 1 - config.norm.gainOffset : 0
    const values = new kind(sizeOf(spec.shape))
    for (let i = 0; i < values.length; i++) values[i] = mean + 0.3 * normal(i)
    parameters.set(spec.name, values)
  }
  return { config, parameters }
}
