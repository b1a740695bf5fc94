// Where AWQ's scales go: the columns of the matrices that read an input are multiplied by them, and what makes that
// input is divided: the gain of the norm before q, k, v and gate, up; the rows of v before o; the rows of up before down.
// Where nothing can take the division (a GELU between, values that are clamped, no gain) the input is left alone.
import type { Format } from '../formats/index.ts'
import type { ModelConfig } from '../model/config.ts'
import { widen } from '../model/model.ts'
import type { Weights } from '../tensor/kernels.ts'
import { searchAwq } from './awq.ts'
import { INPUT_GROUPS, type InputMoments } from './calibration.ts'

type Parameters = Map<string, Weights>

/** An input that several matrices read, and what makes it. */
interface Fold {
  /** Names of the readers in the block. */
  readers: string[]
  /** Index in INPUT_GROUPS whose moments are the input's. */
  group: number
  /** Divides what makes the input by the scales. */
  divide: (scales: Float64Array) => void
  /** Scales that can be divided out: query heads that share a value head get the same. */
  constrain?: (scales: Float64Array) => Float64Array
}

function floats(parameters: Parameters, name: string): Float32Array | null {
  const weights = parameters.get(name)
  if (!weights) return null
  // A copy: the model that was given stays as it is.
  const copy = widen(weights, new Float32Array(weights.length)) as Float32Array
  parameters.set(name, copy)
  return copy
}

function divideNorm(parameters: Parameters, name: string, offset: number, scales: Float64Array): void {
  const gain = floats(parameters, `${name}.weight`)!
  for (let i = 0; i < gain.length; i++) gain[i] = (gain[i] + offset) / scales[i] - offset
  const bias = floats(parameters, `${name}.bias`)
  if (bias) for (let i = 0; i < bias.length; i++) bias[i] /= scales[i]
}

function divideRows(parameters: Parameters, linear: string, scales: Float64Array): void {
  const weight = floats(parameters, `${linear}.weight`)!
  const columns = weight.length / scales.length
  for (let i = 0; i < weight.length; i++) weight[i] /= scales[Math.floor(i / columns)]
  const bias = floats(parameters, `${linear}.bias`)
  if (bias) for (let i = 0; i < bias.length; i++) bias[i] /= scales[i]
}

/** Mean (geometric) over the query heads that read one value head, for each. */
function sharedByHeads(scales: Float64Array, { heads, kvHeads, headSize }: ModelConfig): Float64Array {
  const per = heads / kvHeads
  return Float64Array.from({ length: kvHeads * headSize }, (_, i) => {
    let sum = 0
    for (let h = 0; h < per; h++)
      sum += Math.log(scales[(Math.floor(i / headSize) * per + h) * headSize + (i % headSize)])
    return Math.exp(sum / per)
  })
}

function spreadToHeads(values: Float64Array, { heads, kvHeads, headSize }: ModelConfig): Float64Array {
  const per = heads / kvHeads
  return Float64Array.from(
    { length: heads * headSize },
    (_, i) => values[Math.floor(i / headSize / per) * headSize + (i % headSize)],
  )
}

/** The inputs of a block that AWQ can scale, those inside the block first. */
function foldsOf(config: ModelConfig, parameters: Parameters, layer: number): Fold[] {
  const at = (name: string) => `layers.${layer}.${name}`
  const folds: Fold[] = []
  const { mlp, attention, norm, normPlacement, residual } = config
  if (mlp.gated || mlp.activation === 'relu')
    folds.push({ readers: ['down'], group: 3, divide: scales => divideRows(parameters, at('up'), scales) })
  if (attention.clip === null)
    folds.push({
      readers: ['o'],
      group: 1,
      divide: scales => divideRows(parameters, at('v'), sharedByHeads(scales, config)),
      constrain: scales => spreadToHeads(sharedByHeads(scales, config), config),
    })
  if (norm.gain && (normPlacement === 'pre' || normPlacement === 'sandwich')) {
    const mlpReaders = mlp.gated ? ['gate', 'up'] : ['up']
    const shared = residual === 'parallelShared'
    const fold = (name: string, group: number, readers: string[]): Fold => ({
      readers,
      group,
      divide: scales => divideNorm(parameters, at(name), norm.gainOffset, scales),
    })
    folds.push(fold('attentionNorm', 0, shared ? ['q', 'k', 'v', ...mlpReaders] : ['q', 'k', 'v']))
    if (!shared) folds.push(fold('mlpNorm', 2, mlpReaders))
  }
  return folds
}

/** Searches and folds AWQ's scales of one block into `parameters` (replaced by copies), and divides the moments of the inputs accordingly. */
export function foldAwq(
  config: ModelConfig,
  parameters: Parameters,
  layer: number,
  moments: Map<number, InputMoments>,
  formatOf: (name: string) => Format | undefined,
  roundTrip: (weight: Float64Array, rows: number, columns: number, format: Format) => Float32Array,
): { group: number; alpha: number }[] {
  const found: { group: number; alpha: number }[] = []
  for (const { readers, group, divide, constrain } of foldsOf(config, parameters, layer)) {
    const input = moments.get(group)
    if (!input) continue
    const { columns, hessian, magnitude, rows: count } = input
    const linears = readers.map(part => {
      const name = `layers.${layer}.${part}.weight`
      const weight = floats(parameters, name)!
      return { name, weight, rows: weight.length / columns, format: formatOf(name) }
    })
    const rounded = linears.filter(linear => linear.format !== undefined)
    if (rounded.length === 0) continue
    const { alpha, scales } = searchAwq(
      rounded.map(({ weight, rows, format }) => ({
        weight,
        rows,
        roundTrip: (w, r, c) => roundTrip(w, r, c, format!),
      })),
      columns,
      hessian,
      magnitude.map(sum => sum / count),
      { constrain },
    )
    found.push({ group, alpha })
    for (const { weight } of linears) for (let i = 0; i < weight.length; i++) weight[i] *= scales[i % columns]
    divide(scales)
    divideMoments(input, scales)
    // Where one norm serves both, gate and up read the same input.
    const other = group === 0 && readers.includes('up') ? moments.get(2) : undefined
    if (other) divideMoments(other, scales)
  }
  return found
}

function divideMoments({ hessian, magnitude, columns }: InputMoments, scales: Float64Array): void {
  for (let i = 0; i < columns; i++) {
    magnitude[i] /= scales[i]
    for (let j = 0; j < columns; j++) hessian[i * columns + j] /= scales[i] * scales[j]
  }
}

/** All groups of inputs. */
export const ALL_GROUPS: readonly number[] = INPUT_GROUPS.map((_, i) => i)
