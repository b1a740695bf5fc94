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
