// One matrix in a format, by round to nearest or by GPTQ, as the record that files store and the values it decodes to.
// GPTQ rounds on the format's grid; scales that stand alone are found when their group is reached, the others
// (clipped, quantized again, of the whole tensor) are those of round to nearest on the weights before any update.
import { hadamardBlock, rotateRows } from '../formats/hadamard.ts'
import {
  decode,
  type Encoded,
  type EncodeOptions,
  encode,
  type Format,
  printFormat,
  type ScaledFormat,
  toFloat16,
} from '../formats/index.ts'
import { isStepped, largestStep } from '../formats/scaled.ts'
import type { Floats } from '../tensor/kernels.ts'
import { type GptqOptions, type GptqResult, gptq } from './gptq.ts'
import { type Grid, griddable, gridOf, scalesStandAlone } from './grid.ts'

/** A matrix as stored, and what it decodes to. */
export interface QuantizedMatrix {
  encoded: Encoded
  /** Stored column at each place of `encoded`; null: as stored. Only GPTQ by falling activation with groups made on the way has it. */
  order: Int32Array | null
  /** (rows, columns), in the order of the model. */
  values: Float32Array
}

/** What solves GPTQ on one matrix: the definition in gptq.ts, or the native path. */
export type SolveGptq = (
  weight: Floats,
  hessian: Float64Array,
  rows: number,
  columns: number,
  grid: Grid,
  options: GptqOptions,
) => GptqResult

/** What encodes and decodes: formats/, or the native path. */
export interface Codec {
  encode(x: Float32Array, shape: readonly number[], format: Format, options?: EncodeOptions): Encoded
  decode(encoded: Encoded): Float32Array
}

const ORACLE: Codec = { encode, decode }

/** Sum of squared differences. */
export function squaredError(a: Floats, b: Floats): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2
  return sum
}

/** Round to nearest. */
export function rtnMatrix(
  weight: Float32Array,
  shape: readonly number[],
  format: Format,
  options: EncodeOptions = {},
  codec = ORACLE,
): QuantizedMatrix {
  const encoded = codec.encode(weight, shape, format, options)
  return { encoded, order: null, values: codec.decode(encoded) }
}

/** The values of a matrix whose columns may stand in another order. */
export function decodeMatrix(encoded: Encoded, order: Int32Array | null, codec = ORACLE): Float32Array {
  const values = codec.decode(encoded)
  return order ? reorderColumns(values, order, 'back') : values
}

/** Columns of a matrix put into an order (place p gets column order[p]), or back. */
function reorderColumns<T extends Float32Array | Uint8Array>(values: T, order: Int32Array, way: 'there' | 'back'): T {
  const columns = order.length
  const out = values.slice() as T
  for (let at = 0; at < values.length; at += columns)
    for (let place = 0; place < columns; place++)
      if (way === 'back') out[at + order[place]] = values[at + place]
      else out[at + place] = values[at + order[place]]
  return out
}

/** H of inputs that are rotated as +hadamard rotates rows: R' H R. */
function rotateHessian(hessian: Float64Array, columns: number, seed: number): Float64Array {
  const once = hessian.slice()
  rotateRows(once, columns, seed)
  const turned = new Float64Array(columns * columns)
  for (let i = 0; i < columns; i++) for (let j = 0; j < columns; j++) turned[j * columns + i] = once[i * columns + j]
  rotateRows(turned, columns, seed)
  return turned
}

/** GPTQ of a matrix with hessian = 2 X'X; throws RequestError for formats that have no grid or groups that do not divide the columns. */
export function gptqMatrix(
  weight: Float32Array,
  [rows, columns]: readonly number[],
  format: Format,
  hessian: Float64Array,
  options: GptqOptions & EncodeOptions = {},
  solve: SolveGptq = gptq,
  codec = ORACLE,
): QuantizedMatrix {
  const whole = griddable(printFormat(format), 'gptq')
  const { keep, seed = 0, ...gptqOptions } = options
  const plain: ScaledFormat = { ...whole, hadamard: false, proxy: 0 }
  let values: Floats = weight
  let moments = hessian
  const kept = whole.proxy > 0 ? Int32Array.from(keep ?? []).sort() : new Int32Array(0)
  if (whole.hadamard && hadamardBlock(columns) > 1) {
    values = Float64Array.from(weight)
    for (const c of kept) for (let r = 0; r < rows; r++) values[r * columns + c] = 0
    rotateRows(values, columns, seed)
    moments = rotateHessian(hessian, columns, seed)
  }
  const grid = gridOf(plain, values, columns)
  const skip = kept.length > 0 && !whole.hadamard ? kept : undefined
  const rounded = Float32Array.from(values)
  if (skip) for (const c of skip) for (let r = 0; r < rows; r++) rounded[r * columns + c] = 0
  const fixed = scalesStandAlone(plain) ? null : codec.encode(rounded, [rows, columns], plain)
  const result = solve(values, moments, rows, columns, grid, {
    ...gptqOptions,
    ...(skip && { keep: skip }),
    ...(fixed && {
      fixedScales: expand(fixed.scales as Floats, rows, columns, plain),
      fixedZeros: fixed.zeros && expand(fixed.zeros, rows, columns, plain),
    }),
  })
  const order = result.order && grid.group !== null && !options.staticGroups && !fixed ? result.order : null
  const codes = order ? reorderColumns(result.codes, order, 'there') : result.codes
  const encoded: Encoded = {
    ...(fixed ?? { shape: [rows, columns], scales: Float32Array.from(result.scales) }),
    ...(plain.element.kind === 'quantile' && grid.levels && { levels: grid.levels }),
    ...(!fixed && grid.kind === 'affine' && { zeros: result.zeros }),
    format: printFormat(whole),
    codes: isStepped(plain) ? Int8Array.from(codes, code => code - largestStep(plain.element)) : codes,
    ...(whole.hadamard && { seed }),
    ...(kept.length > 0 && keptColumns(skip ? result.values : weight, kept, order, rows, columns)),
  }
  return { encoded, order, values: decodeMatrix(encoded, order, codec) }
}

/** One number a group of each row, from one a tensor where there is only that. */
function expand(values: ArrayLike<number>, rows: number, columns: number, { shares }: ScaledFormat): Float64Array {
  const groups = typeof shares === 'number' ? columns / shares : 1
  return Float64Array.from({ length: rows * groups }, (_, i) => values[shares === 'tensor' ? 0 : i])
}

/** Kept columns and their values, by their places in the order of the codes. */
function keptColumns(values: Floats, columns: Int32Array, order: Int32Array | null, rows: number, width: number) {
  const placed = Array.from(columns, column => ({ column, place: order ? order.indexOf(column) : column }))
  placed.sort((a, b) => a.place - b.place)
  const kept = new Uint16Array(columns.length * rows)
  placed.forEach(({ column }, k) => {
    for (let r = 0; r < rows; r++) kept[k * rows + r] = toFloat16(values[r * width + column])
  })
  return { keep: Int32Array.from(placed, ({ place }) => place), kept }
}
