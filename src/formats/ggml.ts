// ggml's block types as bytes: a record a type, found by name. A row is a whole number of blocks.
import { RequestError } from './error.ts'
import type { Encoded, Floats, PresetName } from './format.ts'
import { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from './ggml-k.ts'
import { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 } from './ggml-legacy.ts'
import { IQ4_NL, IQ4_XS, TQ1_0, TQ2_0 } from './ggml-tables.ts'

/** One block type: values and bytes of a block, and its two directions for the block that begins at `at` and `offset`. */
export interface GgmlType {
  readonly name: PresetName
  readonly block: number
  readonly bytes: number
  /**
   * How an importance q of the input dimensions weighs the squared error of a value x, as in llama.cpp: q * sqrt(s + x²)
   * with s = share * the mean of x² over so many values around it (or its row), q `alone`, or (null) not at all.
   */
  readonly importance: { readonly share: number; readonly over: number | 'row' } | 'alone' | null
  /** `weights`: of the block's values, where importance is given. */
  encode(x: Floats, at: number, bytes: Uint8Array, offset: number, weights?: Float64Array): void
  decode(bytes: Uint8Array, offset: number, out: Floats, at: number): void
}

/** The block types. */
export const GGML_TYPES: readonly GgmlType[] = [
  Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0,
] // biome-ignore format: a list

/** Throws RequestError unless the rows are whole blocks. */
function checkRows(shape: readonly number[], { name, block }: GgmlType): number {
  const size = shape.reduce((a, b) => a * b, 1)
  const width = shape.length === 0 ? 1 : shape[shape.length - 1]
  if (size > 0 && width % block !== 0)
    throw new RequestError(`${name} has blocks of ${block} within a row, which do not divide rows of ${width}`)
  return size
}

/** Least weight of a value over the mean of its block: what was never seen in calibration still has to be stored. */
const LEAST_WEIGHT = 1e-6

/** Writes the weights of the block at `at` (a row having `width` values): see GgmlType.importance. */
function weigh(
  x: Floats,
  at: number,
  width: number,
  importance: ArrayLike<number>,
  rule: NonNullable<GgmlType['importance']>,
  weights: Float64Array,
): void {
  let squares = 0
  if (rule !== 'alone') {
    const length = rule.over === 'row' ? width : rule.over
    const start = at - (at % length)
    for (let i = start; i < start + length; i++) squares += x[i] * x[i]
    squares *= rule.share / length
  }
  let sum = 0
  for (let i = 0; i < weights.length; i++) {
    const q = importance[(at + i) % width]
    weights[i] = rule === 'alone' ? q : q * Math.sqrt(squares + x[at + i] * x[at + i])
    sum += weights[i]
  }
  const least = (sum / weights.length) * LEAST_WEIGHT
  for (let i = 0; i < weights.length; i++) weights[i] = sum > 0 && sum < Infinity ? Math.max(weights[i], least) : 1
}

/** Weights of all values of a tensor by the importance of its input dimensions; undefined for a type that takes none. Throws RequestError where there is not one number an input dimension. */
export function ggmlWeights(
  x: Floats,
  shape: readonly number[],
  { block, importance: rule }: GgmlType,
  importance: ArrayLike<number> | undefined,
): Float64Array | undefined {
  if (!importance || !rule) return undefined
  const width = shape[shape.length - 1]
  if (importance.length !== width)
    throw new RequestError(`importance of ${importance.length} input dimensions, expected ${width}`)
  const weights = new Float64Array(x.length)
  for (let at = 0; at < x.length; at += block) weigh(x, at, width, importance, rule, weights.subarray(at, at + block))
  return weights
}

/** Encodes as ggml's bytes, errors weighed by `importance`; throws RequestError where a block does not divide the rows. */
export function encodeGgml(
  x: Floats,
  shape: readonly number[],
  type: GgmlType,
  importance?: ArrayLike<number>,
): Encoded {
  const blocks = checkRows(shape, type) / type.block
  const bytes = new Uint8Array(blocks * type.bytes)
  const weights = ggmlWeights(x, shape, type, importance)
  for (let b = 0; b < blocks; b++)
    type.encode(x, b * type.block, bytes, b * type.bytes, weights?.subarray(b * type.block, (b + 1) * type.block))
  return { format: type.name, shape: [...shape], bytes }
}

/** Decodes ggml's bytes into `out`; throws RequestError where they are too few or too many. */
export function decodeGgml({ shape, bytes }: Encoded, type: GgmlType, out: Floats): void {
  const blocks = checkRows(shape, type) / type.block
  if (bytes === undefined || bytes.length !== blocks * type.bytes)
    throw new RequestError(
      `${type.name} of shape [${shape.join(', ')}] has ${bytes?.length ?? 0} bytes, expected ${blocks * type.bytes}`,
    )
  for (let b = 0; b < blocks; b++) type.decode(bytes, b * type.bytes, out, b * type.block)
}
