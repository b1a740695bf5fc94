// Rotations that cost nothing at run time: the residual stream of a model whose norms only divide by a length can be
// turned by any orthogonal matrix, if what writes to it is turned and what reads it is turned back. The norms' gains go
// into the matrices behind them; embedding and unembedding, q, k, v, gate, up (their inputs), o and down (their outputs)
// are multiplied by a random-sign Hadamard matrix; heads of v and o get one of their own. The model that comes out is a
// plain one that computes the same, with outliers spread over all dimensions. The input of `down` lies behind a product
// of two activations: it cannot be turned beforehand, so `down` keeps the +hadamard that is undone in decoding.
import { roundToBf16, widenBf16 } from '../checkpoint/numbers.ts'
import { fromFloat16, parseFormat, printFormat, rotateRows, toFloat16 } from '../formats/index.ts'
import { type ModelConfig, type ParameterSpec, parameterSpecs } from '../model/config.ts'
import { LayeredParameters } from '../model/layered.ts'
import { type Model, widen } from '../model/model.ts'

/** Why the residual stream of a model cannot be rotated without changing what it computes; null: it can. */
export function rotationObstacle({
  norm,
  normPlacement,
  finalNorm,
  embeddingNorm,
  embeddingWidth,
  width,
  tied,
}: ModelConfig): string | null {
  if (norm.kind !== 'rms' || norm.bias) return 'its norms subtract a mean or add a bias'
  if (normPlacement !== 'pre' || !finalNorm || embeddingNorm)
    return 'its norms do not stand before what reads the residual stream'
  if (embeddingWidth !== width) return 'its embedding has another width'
  if (tied) return 'its unembedding is its embedding, and only one of them takes the gain of the last norm'
  return null
}

/** Whether the heads of v and o can be rotated: nothing clamps the values between. */
const rotatesHeads = ({ attention }: ModelConfig) => attention.clip === null

/** The format of a tensor of a rotated model: without +hadamard where the rotation of its input is in the weights. */
export function fusedFormat(spelling: string, { name, kind }: ParameterSpec, config: ModelConfig): string {
  const format = parseFormat(spelling)
  if (format.kind !== 'scaled' || !format.hadamard) return spelling
  const part = name.split('.').at(-2)
  const isFused =
    kind === 'embedding' || name === 'head.weight' || (part === 'o' ? rotatesHeads(config) : part !== 'down')
  return isFused ? printFormat({ ...format, hadamard: false }) : spelling
}

/**
 * The rotated model, each parameter made when it is asked for; `stored` gives the type in which one that stays as it is
 * will be stored, to which it is rounded (null: not rounded). The model must have no rotationObstacle.
 */
export function rotateModel(
  { config, parameters }: Model,
  seed: number,
  stored: (name: string) => 'F16' | 'BF16' | null = () => null,
): Model {
  const specs = new Map(parameterSpecs(config).map(spec => [spec.name, spec]))
  const floats = (name: string) => {
    const weights = parameters.get(name)!
    return widen(weights, new Float32Array(weights.length)) as Float32Array
  }
  const get = (name: string): Float32Array => {
    const spec = specs.get(name)!
    const values = rotated(spec, floats(name), config, seed, gain => (parameters.has(gain) ? floats(gain) : null))
    const type = stored(name)
    if (type === 'BF16') return widenBf16(roundToBf16(values))
    return type === 'F16' ? values.map(x => fromFloat16(toFloat16(x))) : values
  }
  return { config, parameters: new LayeredParameters({ keys: () => specs.keys(), get }) }
}

/** One parameter of the rotated model. */
function rotated(
  { name, kind, shape }: ParameterSpec,
  values: Float32Array,
  config: ModelConfig,
  seed: number,
  floats: (name: string) => Float32Array | null,
): Float32Array {
  const { width, headSize, norm } = config
  const part = name.split('.').at(-2) ?? ''
  const at = name.slice(0, name.length - name.split('.').slice(-2).join('.').length)
  if (kind === 'norm')
    return /Norm$|^norm$/.test(part) && !/^[qk]Norm$/.test(part) ? values.fill(1 - norm.gainOffset) : values
  if (kind === 'embedding' || kind === 'position') rotateRows(values, width, seed)
  else if (part === 'o' || part === 'down') {
    if (part === 'o' && kind === 'linear' && rotatesHeads(config)) rotateRows(values, headSize, seed)
    rotateColumns(values, width, width, seed)
  } else if (kind === 'linear' || name === 'head.weight') {
    const before =
      name === 'head.weight'
        ? 'norm'
        : 'qkv'.includes(part) || config.residual === 'parallelShared'
          ? 'attentionNorm'
          : 'mlpNorm'
    const gain = floats(`${at}${before}.weight`)
    if (gain) for (let i = 0; i < values.length; i++) values[i] *= gain[i % width] + norm.gainOffset
    rotateRows(values, width, seed)
  }
  if (part === 'v' && rotatesHeads(config)) rotateColumns(values, shape[0], headSize, seed)
  return values
}

/** Rotates the columns of a matrix of `rows` rows (a vector is one column), in blocks of `size` rows. */
function rotateColumns(values: Float32Array, rows: number, size: number, seed: number): void {
  const columns = values.length / rows
  const column = new Float32Array(rows)
  for (let c = 0; c < columns; c++) {
    for (let r = 0; r < rows; r++) column[r] = values[r * columns + c]
    rotateRows(column, size, seed)
    for (let r = 0; r < rows; r++) values[r * columns + c] = column[r]
  }
}
