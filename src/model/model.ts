// A model: its record and its parameters by canonical name (config.ts). Arrays are shared, never copied, by what is
// made from a model: a training step updates them in place, and inference sees the change.
import type { Floats, Kernels, Weights } from '../tensor/kernels.ts'
import { type ModelConfig, type ParameterSpec, parameterSpecs } from './config.ts'
import { createNormal } from './random.ts'

/** One transformer: what it is, and its numbers by canonical name. */
export interface Model {
  config: ModelConfig
  parameters: Map<string, Weights>
}

/** Standard deviation of the initial matrices (GPT-2's; the layers that write to the residual stream get less). */
const INITIAL_DEVIATION = 0.02

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1)
}

/**
 * A model to train from: matrices normal(0, 0.02), `o` and `down` divided by sqrt(2 layers) (depth-scaled), gains 1, biases 0.
 * The numbers depend on the seed, the tensor's name and the element's place alone, and are float32 numbers in float64 too.
 */
export function initialModel(
  config: ModelConfig,
  seed: number,
  { kernels }: { kernels: Pick<Kernels, 'allocate'> },
): Model {
  const parameters = new Map<string, Weights>()
  for (const spec of parameterSpecs(config)) {
    const values = kernels.allocate(sizeOf(spec.shape))
    fillInitial(values, spec, config, seed)
    parameters.set(spec.name, values)
  }
  return { config, parameters }
}

function fillInitial(values: Floats, spec: ParameterSpec, config: ModelConfig, seed: number): void {
  if (spec.kind === 'bias') return
  if (spec.kind === 'norm') {
    values.fill(1 - config.norm.gainOffset)
    return
  }
  const intoResidual = /\.(o|down)\.weight$/.test(spec.name)
  const deviation = intoResidual ? INITIAL_DEVIATION / Math.sqrt(2 * config.layers) : INITIAL_DEVIATION
  const normal = createNormal(seed, spec.name)
  for (let i = 0; i < values.length; i++) values[i] = Math.fround(normal(i) * deviation)
}

/** The same model with every parameter in the kernels' own number type (bf16 widened); parameters that have it already are shared. */
export function widenModel(model: Model, kernels: Pick<Kernels, 'allocate'>): Model {
  const kind = kernels.allocate(0).constructor
  const parameters = new Map<string, Weights>()
  for (const [name, weights] of model.parameters)
    parameters.set(name, weights.constructor === kind ? weights : widen(weights, kernels.allocate(weights.length)))
  return { config: model.config, parameters }
}

/** Numbers of stored weights, written to `out` (same length). */
export function widen(weights: Weights, out: Floats): Floats {
  if (!(weights instanceof Uint16Array)) {
    out.set(weights)
    return out
  }
  if (out instanceof Float32Array) {
    const words = new Uint32Array(out.buffer, out.byteOffset, out.length)
    for (let i = 0; i < words.length; i++) words[i] = weights[i] << 16
    return out
  }
  const bits = new Uint32Array(1)
  const value = new Float32Array(bits.buffer)
  for (let i = 0; i < weights.length; i++) {
    bits[0] = weights[i] << 16
    out[i] = value[0]
  }
  return out
}
