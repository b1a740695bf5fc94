// Encoding and decoding of scaled elements. A block's scale is found from its absmax (or searched for, +clip), rounded to
// what is stored, and only then are codes chosen, so every error that is reported is the error of the stored values.
// A block that holds a nan or an infinity has a nan for a scale, and decodes as nan throughout: nothing is hidden.
import { type Codebook, codebook, compileCodebook, estimateQuantileLevels } from './codebook.ts'
import { fromFloat16, roundHalfEven, toFloat16 } from './elements.ts'
import { RequestError } from './error.ts'
import type { Element, Encoded, EncodeOptions, Floats, ScaledFormat } from './format.ts'
import { decodeGrid, encodeGrid } from './grid.ts'
import { rotateRows } from './hadamard.ts'
import { type Layout, layoutOf } from './layout.ts'
import { randomUniform } from './random.ts'
import { roundScale, roundScales, type SingleScale } from './scale.ts'
import { searchRatio } from './search.ts'
import { printFormat } from './spelling.ts'

const f32 = Math.fround

/** Whether codes are whole steps of the scale (integers by row or tensor), not indices of normalised levels. */
export function isStepped({ element, shares }: ScaledFormat): boolean {
  return (
    typeof shares !== 'number' && (element.kind === 'ternary' || (element.kind === 'int' && element.book === 'exact'))
  )
}

/** The largest code of a symmetric integer. */
export function largestStep(element: Element): number {
  return element.kind === 'ternary' ? 1 : element.kind === 'int' ? 2 ** (element.bits - 1) - 1 : 0
}

/** An array of the same type as `like`. */
function floatsLike(like: Floats, size: number): Floats {
  return like instanceof Float32Array ? new Float32Array(size) : new Float64Array(size)
}

/** The largest magnitude of x[start … end-1]; nan where a value is nan or infinite. */
export function absmaxOf(x: Floats, start: number, end: number): number {
  let a = 0
  let b = 0
  let i = start
  // Math.max keeps a nan; two chains, as each waits for its last result.
  for (; i + 1 < end; i += 2) {
    a = Math.max(a, Math.abs(x[i]))
    b = Math.max(b, Math.abs(x[i + 1]))
  }
  if (i < end) a = Math.max(a, Math.abs(x[i]))
  const absmax = Math.max(a, b)
  return absmax === Infinity ? Number.NaN : absmax
}

/** The distinct input dimensions to keep, in order; throws where +proxy has none or they are not dimensions. */
function keptDimensions(format: ScaledFormat, { width }: Layout, keep: ArrayLike<number> | undefined): Int32Array {
  if (format.proxy === 0) return new Int32Array(0)
  if (keep === undefined)
    throw new RequestError(`format '${printFormat(format)}' needs keep, the input dimensions that stay in 16 bits`)
  for (let i = 0; i < keep.length; i++)
    if (!Number.isInteger(keep[i]) || keep[i] < 0 || keep[i] >= width)
      throw new RequestError(`kept dimension '${keep[i]}' is not an input dimension, expected 0 to ${width - 1}`)
  return Int32Array.from(new Set(Array.from(keep))).sort()
}

/** Subtracts each block's mean as `kind` stores it, in place; returns the means. */
function subtractMeans(values: Floats, { count, length, size }: Layout, kind: SingleScale): Floats {
  const means = floatsLike(values, count)
  for (let block = 0; block < count; block++) {
    const start = block * length
    const end = Math.min(start + length, size)
    let sum = 0
    for (let i = start; i < end; i++) sum += values[i]
    const mean = sum / (end - start)
    means[block] = mean < 0 ? -roundScale(-mean, kind) : roundScale(mean, kind)
    for (let i = start; i < end; i++) values[i] -= means[block]
  }
  return means
}

/** The extras that change every value; kernels may do the same faster. */
export interface Transforms {
  readonly rotateRows: typeof rotateRows
  readonly subtractMeans: typeof subtractMeans
}

/** Values that extras change, on a copy: kept dimensions cut out, the rest rotated, block means subtracted; and what is stored of it. */
export function prepare(
  x: Floats,
  layout: Layout,
  format: ScaledFormat,
  { keep, seed = 0 }: EncodeOptions,
  transforms: Transforms = { rotateRows, subtractMeans },
) {
  const dimensions = keptDimensions(format, layout, keep)
  if (dimensions.length === 0 && !format.hadamard && !format.centered) return { values: x, extras: {} }
  const { width, rows } = layout
  const values = x.slice()
  const extras: { keep?: Int32Array; kept?: Uint16Array; seed?: number; means?: Floats } = {}
  if (dimensions.length > 0) {
    extras.keep = dimensions
    extras.kept = new Uint16Array(dimensions.length * rows)
    for (let k = 0; k < dimensions.length; k++)
      for (let row = 0; row < rows; row++) {
        extras.kept[k * rows + row] = toFloat16(x[row * width + dimensions[k]])
        values[row * width + dimensions[k]] = 0
      }
  }
  if (format.hadamard) {
    extras.seed = seed
    transforms.rotateRows(values, width, seed)
  }
  if (format.centered) {
    const { scale } = format
    const kind = scale === 'bf16' || scale === 'fp32' || scale === 'exact' ? scale : 'fp16'
    extras.means = transforms.subtractMeans(values, layout, kind)
  }
  return { values, extras }
}

/** Codes of one block on a code book: the level nearest to value / scale. */
function encodeBook(
  values: Floats,
  start: number,
  end: number,
  scale: number,
  book: Codebook,
  codes: Encoded['codes'],
): void {
  const out = codes as Uint8Array
  const { thresholds, low, high, buckets, zero } = book
  if (!(scale !== 0 && Number.isFinite(scale))) {
    out.fill(zero, start, end)
    return
  }
  const half = buckets / 2
  const last = thresholds.length
  for (let i = start; i < end; i++) {
    const q = values[i] / scale
    let code: number
    if (q <= -1) code = 0
    else if (q >= 1) code = last
    else {
      const bucket = ((q + 1) * half) | 0
      code = low[bucket]
      let top = high[bucket]
      while (code < top) {
        const middle = (code + top) >> 1
        if (q > thresholds[middle]) code = middle + 1
        else top = middle
      }
    }
    out[i] = code
  }
}

/** Codes of one block on a code book, each of the two levels around value / scale as likely as it is near. */
function encodeBookRandomly(
  values: Floats,
  start: number,
  end: number,
  scale: number,
  book: Codebook,
  codes: Encoded['codes'],
  seed: number,
): void {
  encodeBook(values, start, end, scale, book, codes)
  if (!(scale !== 0 && Number.isFinite(scale))) return
  const out = codes as Uint8Array
  const { levels } = book
  for (let i = start; i < end; i++) {
    const q = values[i] / scale
    const below = levels[out[i]] > q ? out[i] - 1 : out[i]
    if (below < 0 || below + 1 >= levels.length) continue
    const share = (q - levels[below]) / (levels[below + 1] - levels[below])
    out[i] = below + (randomUniform(seed, i) < share ? 1 : 0)
  }
}

/** Codes of one block in whole steps: to nearest, ties to even (or by chance), in the arithmetic of the array's type. */
function encodeSteps(
  values: Floats,
  start: number,
  end: number,
  scale: number,
  largest: number,
  codes: Encoded['codes'],
  seed: number | undefined,
): void {
  if (!(scale !== 0 && Number.isFinite(scale))) return // codes are 0 already
  const out = codes as Int8Array
  const single = values instanceof Float32Array
  for (let i = start; i < end; i++) {
    let q = values[i] / scale
    if (single) q = f32(q)
    if (q > largest) q = largest
    else if (q < -largest) q = -largest
    if (seed === undefined) out[i] = roundHalfEven(q)
    else {
      const below = Math.floor(q)
      out[i] = below + (randomUniform(seed, i) < q - below ? 1 : 0)
    }
  }
}

/** Scales of all blocks before they are rounded, and the absmax of all. */
function findScales(values: Floats, layout: Layout, format: ScaledFormat, book: Codebook | null, ratio: number) {
  const { count, length, size } = layout
  const scales = floatsLike(values, count)
  const largest = book ? 1 : largestStep(format.element)
  const scratch = new Uint16Array(format.clip && book ? length : 0)
  let absmax = 0
  for (let block = 0; block < count; block++) {
    const start = block * length
    const end = Math.min(start + length, size)
    let limit = absmaxOf(values, start, end) * ratio
    if (values instanceof Float32Array) limit = f32(limit)
    absmax = Math.max(absmax, limit)
    scales[block] = limit / largest
    if (format.clip && limit > 0) {
      const kind = format.scale === 'e4m3' || format.scale === 'dyn8x256' ? 'exact' : format.scale
      scales[block] *= searchRatio(factor => {
        const scale = roundScale(scales[block] * factor, kind)
        return blockError(values, start, end, scale, book, largest, scratch)
      })
    }
  }
  return { scales, absmax }
}

/** Squared error of one block at a scale, rounded to nearest; `codes` is room for a block's. */
function blockError(
  values: Floats,
  start: number,
  end: number,
  scale: number,
  book: Codebook | null,
  largest: number,
  codes: Uint16Array,
): number {
  if (!(scale > 0)) return Infinity
  let error = 0
  if (book) {
    const part = values.subarray(start, end)
    encodeBook(part, 0, part.length, scale, book, codes)
    for (let i = 0; i < part.length; i++) {
      const off = part[i] - book.levels[codes[i]] * scale
      error += off * off
    }
  } else {
    for (let i = start; i < end; i++) {
      const q = Math.min(Math.max(values[i] / scale, -largest), largest)
      const off = values[i] - roundHalfEven(q) * scale
      error += off * off
    }
  }
  return error
}

/** Encodes a tensor in a scaled format. */
export function encodeScaled(
  x: Floats,
  shape: readonly number[],
  format: ScaledFormat,
  options: EncodeOptions,
): Encoded {
  const layout = layoutOf(shape, format.shares)
  const { count, length, size } = layout
  const { element } = format
  const { values, extras } = prepare(x, layout, format, options)
  const head = { format: printFormat(format), shape: [...shape], ...extras }
  const ratio = options.absmaxRatio ?? 1
  const seed = format.stochastic ? (options.seed ?? 0) : undefined
  if (element.kind === 'uint' || element.kind === 'full')
    return { ...head, ...encodeGrid(values, layout, format, ratio, seed) }
  const levels =
    element.kind === 'quantile' && element.book.endsWith('_sample')
      ? estimateQuantileLevels(element.bits, element.book, values)
      : undefined
  const book = isStepped(format) ? null : levels ? compileCodebook(levels) : codebook(element)
  const found = findScales(values, layout, format, book, ratio)
  const { codes: scaleCodes, ...rounded } = roundScales(found.scales, format.scale, found.absmax)
  const wide = element.kind === 'int' && element.bits > 8
  const codes = book
    ? wide
      ? new Uint16Array(size)
      : new Uint8Array(size)
    : wide
      ? new Int16Array(size)
      : new Int8Array(size)
  for (let block = 0; block < count; block++) {
    const start = block * length
    const end = Math.min(start + length, size)
    const scale = rounded.scales[block]
    if (!book) encodeSteps(values, start, end, scale, largestStep(element), codes, seed)
    else if (seed === undefined) encodeBook(values, start, end, scale, book, codes)
    else encodeBookRandomly(values, start, end, scale, book, codes, seed)
  }
  return { ...head, codes, ...rounded, ...(scaleCodes && { scaleCodes }), ...(levels && { levels }) }
}

/** Decodes a scaled format into `out` (as long as the tensor), in the arithmetic of its type. */
export function decodeScaled(encoded: Encoded, format: ScaledFormat, out: Floats): void {
  const { shape, codes, scales, means, levels, seed } = encoded
  const layout = layoutOf(shape, format.shares)
  const { count, length, size, width } = layout
  const { element } = format
  if (element.kind === 'uint' || element.kind === 'full') decodeGrid(encoded, layout, out)
  else {
    const book = isStepped(format) ? null : levels ? compileCodebook(levels) : codebook(element)
    const table = book ? (out instanceof Float32Array ? book.levels32 : book.levels) : null
    for (let block = 0; block < count; block++) {
      const end = Math.min((block + 1) * length, size)
      const scale = scales![block]
      if (table) for (let i = block * length; i < end; i++) out[i] = table[codes![i]] * scale
      else for (let i = block * length; i < end; i++) out[i] = codes![i] * scale
    }
  }
  if (means)
    for (let block = 0; block < count; block++) {
      const end = Math.min((block + 1) * length, size)
      for (let i = block * length; i < end; i++) out[i] += means[block]
    }
  if (format.hadamard) rotateRows(out, width, seed ?? 0, true)
  restoreKept(encoded, layout, out)
}

/** Puts back the input dimensions that were kept, if any. */
export function restoreKept({ keep, kept }: Encoded, { width, rows }: Layout, out: Floats): void {
  if (!keep || !kept) return
  for (let k = 0; k < keep.length; k++)
    for (let row = 0; row < rows; row++) out[row * width + keep[k]] = fromFloat16(kept[k * rows + row])
}
