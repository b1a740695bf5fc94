// Code books: the sorted levels, between -1 and 1, that a scaled element can take, one function a family.
// Where a tool builds its table in f32, the same operations are rounded to f32 here.
import { elementTable } from './elements.ts'
import type { Element, FloatBook, QuantileBook } from './format.ts'
import { normalQuantile } from './normal.ts'
import { sortedFinite } from './sort.ts'
import { printElement } from './spelling.ts'

const f32 = Math.fround

/** A code book made ready for rounding: code = number of thresholds below x / scale. */
export interface Codebook {
  /** Sorted, distinct. */
  readonly levels: Float64Array
  /** The levels as f32 arithmetic has them. */
  readonly levels32: Float32Array
  /** Where rounding changes to the next level: the midpoints plus 1e-12, so that a tie goes down. */
  readonly thresholds: Float64Array
  /** Index of the level nearest to zero: the code of a block without a scale. */
  readonly zero: number
  /** Steps from 0 to 1 where the levels are i / steps, else 0. */
  readonly steps: number
  /** For q from -1 to 1: the lowest and the highest code in each of `buckets` equal intervals. */
  readonly buckets: number
  readonly low: Uint16Array
  readonly high: Uint16Array
}

/** Two numbers whose midpoint is within this of x / scale are equally near; the lower one is taken. */
export const TIE = 1e-12

const BUCKETS = 2048

/** Prepares sorted, distinct levels; `steps` where they are i / steps. */
export function compileCodebook(levels: Float64Array, steps = 0): Codebook {
  const thresholds = new Float64Array(levels.length - 1)
  for (let i = 0; i < thresholds.length; i++) thresholds[i] = (levels[i] + levels[i + 1]) / 2 + TIE
  let zero = 0
  for (let i = 1; i < levels.length; i++) if (Math.abs(levels[i]) < Math.abs(levels[zero])) zero = i
  const low = new Uint16Array(BUCKETS + 1)
  const high = new Uint16Array(BUCKETS + 1)
  let below = 0
  for (let bucket = 0; bucket <= BUCKETS; bucket++) {
    // A hair wider than the bucket, so that rounding of the index cannot matter.
    const start = -1 + (2 * bucket) / BUCKETS - 1e-9
    while (below < thresholds.length && start > thresholds[below]) below++
    let code = below
    while (code < thresholds.length && start + 2 / BUCKETS + 2e-9 > thresholds[code]) code++
    low[bucket] = below
    high[bucket] = code
  }
  return { levels, levels32: Float32Array.from(levels), thresholds, zero, steps, buckets: BUCKETS, low, high }
}

/** The definition: the nearest level's index, a tie (within 1e-12) to the lower; q is x / scale. */
export function nearestCode(book: Codebook, q: number): number {
  const { thresholds } = book
  let low = 0
  let high = thresholds.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (q > thresholds[middle]) low = middle + 1
    else high = middle
  }
  return low
}

function sortedDistinct(values: Iterable<number>): Float64Array {
  const sorted = Float64Array.from(values, value => (value === 0 ? 0 : value)).sort()
  return sorted.filter((value, i) => i === 0 || value !== sorted[i - 1])
}

function mirrored(positive: Iterable<number>): Float64Array {
  const values = [0]
  for (const value of positive) values.push(value, -value)
  return sortedDistinct(values)
}

/** i / (2^(bits-1) - 1). */
function intLevels(bits: number): Float64Array {
  const steps = 2 ** (bits - 1) - 1
  return Float64Array.from({ length: 2 * steps + 1 }, (_, i) => (i - steps) / steps)
}

/** torch.linspace in f32: counted from the nearer end. */
function linspace32(start: number, end: number, count: number): number[] {
  const step = f32(f32(f32(end) - f32(start)) / (count - 1))
  return Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) ? f32(f32(start) + step * i) : f32(f32(end) - step * (count - 1 - i)),
  )
}

/** bitsandbytes create_linear_map: its linspace misses 0, which is added. */
function linearLevels(bits: number): Float64Array {
  return sortedDistinct([...linspace32(-1, 1, 2 ** bits - 1), 0])
}

/** Positive values of a float with subnormals, every code finite: bias 2^(X-1)-1, the exponent field grows with magnitude. */
function ieeeMagnitudes(exponent: number, mantissa: number): number[] {
  const bias = 2 ** (exponent - 1) - 1
  const values: number[] = []
  for (let field = 0; field < 2 ** exponent; field++)
    for (let i = 0; i < 2 ** mantissa; i++)
      values.push(((field === 0 ? 0 : 1) + i / 2 ** mantissa) * 2 ** (Math.max(field, 1) - bias))
  return values
}

/** Positive values where the exponent field falls with magnitude (k-bit paper, appendix A; bitsandbytes create_fp8_map). */
function fallingMagnitudes(exponent: number, mantissa: number, bias: number): number[] {
  const values: number[] = []
  for (let field = 0; field < 2 ** exponent; field++)
    for (let i = 0; i < 2 ** mantissa; i++) {
      const fraction = i / 2 ** mantissa
      values.push(field === 0 ? fraction * 2 ** -bias : (1 + fraction) * 2 ** (bias + 1 - field))
    }
  return values
}

function floatLevels(exponent: number, mantissa: number, book: FloatBook): Float64Array {
  const half = 2 ** (exponent - 1)
  let magnitudes: number[]
  if (book === 'ieee') magnitudes = ieeeMagnitudes(exponent, mantissa)
  else if (book === 'ocp')
    magnitudes = [...elementTable(exponent === 4 ? 'float8_e4m3fn' : 'float8_e5m2')]
      .filter(Number.isFinite)
      .map(Math.abs)
  else magnitudes = fallingMagnitudes(exponent, mantissa, book === 'bnb' ? half : half + 1)
  const max = Math.max(...magnitudes)
  // The tables of bitsandbytes are divided in f32; its 4-bit kernels hold the printed formula's values.
  const inFloat32 = book === 'bnb' || book === 'bnb_table'
  return mirrored(magnitudes.map(value => (inFloat32 ? f32(f32(value) / f32(max)) : value / max)))
}

/** bitsandbytes create_dynamic_map with that many exponent bits at most. */
function dynamicLevels(bits: number, exponent: number): Float64Array {
  const fraction = bits - 1 - exponent
  const values: number[] = [0, 1]
  const add = (items: number, power: number) => {
    const boundaries = linspace32(0.1, 1, items + 1)
    for (let i = 0; i < items; i++) {
      const mean = f32(f32(boundaries[i] + boundaries[i + 1]) / 2)
      const value = f32(f32(10 ** power) * mean)
      values.push(value, -value)
    }
  }
  for (let i = 0; i < exponent; i++) add(2 ** (i + fraction), i - (exponent - 1))
  if (fraction > 0) add(2 ** fraction - 1, 0)
  return sortedDistinct(values)
}

/** QLoRA's normal float for any width: 2^(k-1) positive and 2^(k-1)-1 negative quantiles, and 0. */
function normalFloatLevels(bits: number): Float64Array {
  const half = 2 ** (bits - 1)
  const offset = 1 - (1 / 2 ** (bits + 1) + 1 / (2 ** (bits + 1) - 2)) / 2
  const max = normalQuantile(offset)
  const values = [0]
  for (let i = 0; i < half; i++) values.push(normalQuantile(offset + ((0.5 - offset) * i) / half) / max)
  for (let i = 0; i < half - 1; i++) values.push(-normalQuantile(offset + ((0.5 - offset) * i) / (half - 1)) / max)
  return sortedDistinct(values)
}

/** The table of bitsandbytes' 4-bit kernels and of QLoRA's appendix E, rounded to f32. */
const NF4_TABLE = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
] // biome-ignore format: a table

/** Quantile levels from a quantile function; 0 is added, then all are divided by the largest magnitude. */
function quantileLevels(bits: number, rule: 'paper' | 'midpoint', quantile: (p: number) => number): Float64Array {
  const count = 2 ** bits
  const raw = [0]
  if (rule === 'midpoint') for (let i = 0; i < count - 1; i++) raw.push(quantile((i + 0.5) / (count - 1)))
  else for (let i = 1; i < count; i++) raw.push((quantile(i / (count + 1)) + quantile((i + 1) / (count + 1))) / 2)
  let max = 0
  for (const value of raw) max = Math.max(max, Math.abs(value))
  return sortedDistinct(max === 0 ? [-1, 0, 1] : raw.map(value => value / max))
}

/** Quantiles of the exact normal, symmetric to the last bit. */
function normalQuantileLevels(bits: number, rule: 'paper' | 'midpoint'): Float64Array {
  const levels = quantileLevels(bits, rule, normalQuantile)
  return mirrored(levels.filter(level => level > 1e-12))
}

/** Levels of `quantile<bits>` estimated on a tensor: linear interpolation between its order statistics, rounded to f32 (they are stored). */
export function estimateQuantileLevels(bits: number, book: QuantileBook, x: ArrayLike<number>): Float64Array {
  const sorted = sortedFinite(x)
  if (sorted.length === 0) return Float64Array.of(-1, 0, 1)
  const levels = quantileLevels(bits, book.startsWith('paper') ? 'paper' : 'midpoint', p => {
    const place = p * (sorted.length - 1)
    const below = Math.floor(place)
    const above = Math.min(below + 1, sorted.length - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below)
  })
  return sortedDistinct(Float32Array.from(levels))
}

function elementLevels(element: Element): Float64Array {
  switch (element.kind) {
    case 'ternary':
      return Float64Array.of(-1, 0, 1)
    case 'int':
      return element.book === 'bnb' ? linearLevels(element.bits) : intLevels(element.bits)
    case 'fp':
      return floatLevels(element.exponent, element.mantissa, element.book)
    case 'dyn':
      return dynamicLevels(element.bits, element.exponent)
    case 'nf':
      return element.book === 'exact' ? normalFloatLevels(element.bits) : Float64Array.from(NF4_TABLE)
    case 'quantile':
      return normalQuantileLevels(element.bits, element.book.startsWith('paper') ? 'paper' : 'midpoint')
    default:
      return Float64Array.from({ length: 2 ** element.bits }, (_, code) => code)
  }
}

const compiled = new Map<string, Codebook>()

/** Code book of an element, kept: an estimated quantile book gives the normal's; grids (`uint`, `int…full`) their codes. */
export function codebook(element: Element): Codebook {
  const name = printElement(element)
  let book = compiled.get(name)
  if (!book) {
    const steps = element.kind === 'int' && element.book === 'exact' ? 2 ** (element.bits - 1) - 1 : 0
    book = compileCodebook(elementLevels(element), element.kind === 'ternary' ? 1 : steps)
    compiled.set(name, book)
  }
  return book
}
