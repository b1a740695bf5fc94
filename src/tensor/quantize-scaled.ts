// Scaled formats by the native kernels: one pass where the scale is the block's own absmax, and where a format asks for
// more (a share of the absmax or a search, scales that share something, extras, codes of more than 8 bits) one pass a step.
import { type Codebook, codebook, compileCodebook, estimateQuantileLevels } from '../formats/codebook.ts'
import { elementTable } from '../formats/elements.ts'
import type { Encoded, EncodeOptions, Floats, ScaledFormat } from '../formats/format.ts'
import { zeroPoint } from '../formats/grid.ts'
import { hadamardBlock, hadamardSigns } from '../formats/hadamard.ts'
import { layoutOf } from '../formats/layout.ts'
import { roundScale, roundScales, type SingleScale } from '../formats/scale.ts'
import { isStepped, largestStep, prepare, restoreKept, type Transforms } from '../formats/scaled.ts'
import { printFormat } from '../formats/spelling.ts'
import type { Addon, Engine } from './addon.ts'

/** The kernels that an encoding runs on. */
export interface Native {
  readonly addon: Addon
  readonly engine: Engine
}

/** Arrays that an encoding may write into, instead of new ones. */
export interface EncodedArrays {
  codes?: Uint8Array
  scales?: Float32Array
  zeros?: Uint8Array
}

/** What the addon's functions expect of a format: rule, scale rule, length, top, level count, zero code, steps, levels, thresholds. */
type FormatArguments = [number, number, number, number, number, number, number, Float32Array, Float64Array | null]

/** The values of E4M3 patterns. */
export const E4M3_LEVELS = Float32Array.from(elementTable('float8_e4m3fn'))

const NONE = new Float32Array(0)
const RULES = { book: 0, step: 1, full: 2, uint: 3 } as const
const SCALE_RULES = { exact: 0, fp16: 1, bf16: 2, given: 3, unrounded: 4, fp32: 5, e8m0: 6, fixed: 7 } as const

/** Values of one scale are cut into pieces of so many, so that threads share them. */
const PIECE = 1 << 16

function formatArguments(
  format: ScaledFormat,
  length: number,
  scale: keyof typeof SCALE_RULES,
  book: Codebook | null,
): FormatArguments {
  const { element } = format
  const rule = SCALE_RULES[scale]
  if (element.kind === 'full' || element.kind === 'uint')
    return [RULES[element.kind], rule, length, 2 ** element.bits - 1, 0, 0, 0, NONE, null]
  if (!book) return [RULES.step, rule, length, largestStep(element), 0, 0, 0, NONE, null]
  return [RULES.book, rule, length, 1, book.levels.length, book.zero, book.steps, book.levels32, book.thresholds]
}

function bookOf(format: ScaledFormat, levels: Float64Array | undefined): Codebook | null {
  if (isStepped(format) || format.element.kind === 'full' || format.element.kind === 'uint') return null
  return levels ? compileCodebook(levels) : codebook(format.element)
}

/** Whether codes have more than 8 bits. */
function isWide({ element }: ScaledFormat): boolean {
  return element.kind === 'int' && element.bits > 8
}

/** Whether the native kernels know the format; wide codes by chance are left to formats/. */
export function isNativeScaled(format: ScaledFormat): boolean {
  return !(format.stochastic && isWide(format))
}

/** Largest magnitude of all values; nan where one is not finite. */
export function absmaxOf({ addon, engine }: Native, x: Float32Array): number {
  const found = new Float32Array(Math.ceil(x.length / PIECE))
  const { step } = RULES
  addon.encodeBlocks(engine, x.length, step, SCALE_RULES.unrounded, PIECE, 1, 0, 0, 0, NONE, null, x, found, null, null)
  return found.reduce((a, b) => Math.max(a, b), 0)
}

function transformsOf({ addon, engine }: Native): Transforms {
  return {
    rotateRows(x, width, seed, inverse = false) {
      addon.rotate(engine, x.length, hadamardBlock(width), width, hadamardSigns(width, seed), inverse, x)
    },
    subtractMeans(values, { count, length, size }, kind) {
      const means = new Float32Array(count)
      addon.center(engine, size, length, SCALE_RULES[kind], values, means)
      return means
    },
  }
}

/** The exponent bytes of scales that are powers of two. */
function exponentBytes(scales: Float32Array): Uint8Array {
  const words = new Uint32Array(scales.buffer, scales.byteOffset, scales.length)
  const bytes = new Uint8Array(scales.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = words[i] >>> 23
  return bytes
}

/** Scales of all blocks, rounded, and of grids their zero points. */
function findScales(
  { addon, engine }: Native,
  x: Float32Array,
  format: ScaledFormat,
  book: Codebook | null,
  { count, length, size }: { count: number; length: number; size: number },
  ratio: number,
) {
  const { element, scale: kind, clip } = format
  const single: SingleScale = kind === 'e4m3' || kind === 'dyn8x256' ? 'exact' : kind
  const grid = element.kind === 'uint' || element.kind === 'full'
  let scales: Float32Array = new Float32Array(count)
  const lows = grid ? new Float64Array(count) : null
  const most = kind === 'e4m3' ? new Float32Array(count) : null
  let absmax = 0
  if (count === 1 && size > PIECE && !grid && !clip) {
    absmax = Math.fround(absmaxOf({ addon, engine }, x) * ratio)
    scales[0] = absmax / (book ? 1 : largestStep(element))
    if (kind === single) scales[0] = roundScale(scales[0], single)
  } else {
    const given = formatArguments(format, length, kind === single ? single : 'unrounded', book)
    const search = [clip, SCALE_RULES[single], ratio, book?.levels ?? null]
    addon.findScales(engine, size, isWide(format), ...given, ...search, x, scales, lows, most)
    if (most) for (let i = 0; i < count; i++) absmax = Math.max(absmax, most[i])
  }
  let stored: Partial<Encoded> = {}
  if (kind === 'e4m3') {
    const tensorScale = Math.fround(absmax / 448)
    const scaleCodes = new Uint8Array(count)
    addon.roundE4m3(engine, count, E4M3_LEVELS, tensorScale, scales, scaleCodes)
    stored = { scaleCodes, tensorScale }
  } else if (kind === 'dyn8x256') {
    const { scales: values, codes: scaleCodes, ...rest } = roundScales(scales, kind, absmax)
    scales = values as Float32Array
    stored = { scaleCodes, ...rest }
  } else if (kind === 'e8m0') stored = { scaleCodes: exponentBytes(scales) }
  const zeros = grid ? new Uint8Array(count) : undefined
  if (zeros && lows && 'bits' in element)
    for (let i = 0; i < count; i++)
      zeros[i] = zeroPoint(lows[i], scales[i], element.bits, element.kind === 'full', true)
  return { scales, zeros, stored: { scales, ...stored, ...(zeros && { zeros }) } }
}

/** One value for each piece of a tensor of one scale. */
function spread<T extends Float32Array | Uint8Array>(one: T, pieces: number): T {
  const all = one instanceof Float32Array ? new Float32Array(pieces) : new Uint8Array(pieces)
  return all.fill(one[0]) as T
}

/** Encodes a tensor that is not empty, as encodeScaled in formats/ does. */
export function encodeScaledNative(
  native: Native,
  x: Float32Array,
  shape: readonly number[],
  format: ScaledFormat,
  options: EncodeOptions,
  into: EncodedArrays,
): Encoded {
  const { addon, engine } = native
  const { element, scale: kind, clip, stochastic } = format
  const layout = layoutOf(shape, format.shares)
  const { count, length, size } = layout
  const ratio = options.absmaxRatio ?? 1
  const wide = isWide(format)
  const grid = element.kind === 'uint' || element.kind === 'full'
  const prepared = prepare(x, layout, format, options, transformsOf(native))
  const values = prepared.values as Float32Array
  const sampled = element.kind === 'quantile' && element.book.endsWith('_sample')
  const levels = sampled ? estimateQuantileLevels(element.bits, element.book, values) : undefined
  const book = bookOf(format, levels)
  const head = { format: printFormat(format), shape: [...shape], ...prepared.extras }
  const tail = levels && { levels }
  const split = count === 1 && size > PIECE
  const plain = !clip && ratio === 1 && !stochastic && !wide && !(split && !grid)
  if (plain && kind !== 'e4m3' && kind !== 'dyn8x256') {
    const codes = into.codes ?? new Uint8Array(size)
    const zeros = grid ? (into.zeros ?? new Uint8Array(count)) : undefined
    const scales = into.scales ?? new Float32Array(count)
    addon.encodeBlocks(
      engine,
      size,
      ...formatArguments(format, length, kind, book),
      values,
      scales,
      zeros ?? null,
      codes,
    )
    const scaleCodes = kind === 'e8m0' ? exponentBytes(scales.subarray(0, count)) : undefined
    return {
      ...head,
      codes: signed(format, codes),
      scales,
      ...(zeros && { zeros }),
      ...(scaleCodes && { scaleCodes }),
      ...tail,
    }
  }
  const found = findScales(native, values, format, book, { count, length, size }, ratio)
  const run = split ? PIECE : length
  const pieces = Math.ceil(size / run)
  const scales = split ? spread(found.scales, pieces) : found.scales
  const zeros = found.zeros && split ? spread(found.zeros, pieces) : (found.zeros ?? null)
  const given = formatArguments(format, run, grid ? 'fixed' : 'given', book)
  if (wide) {
    const codes = new Uint16Array(size)
    addon.encodeWide(engine, size, ...given, values, scales, codes)
    return { ...head, codes: book ? codes : new Int16Array(codes.buffer), ...found.stored, ...tail }
  }
  const codes = into.codes ?? new Uint8Array(size)
  const seed = (options.seed ?? 0) >>> 0
  if (stochastic) addon.encodeRandomly(engine, size, ...given, book?.levels ?? null, seed, values, scales, zeros, codes)
  else addon.encodeBlocks(engine, size, ...given, values, scales, zeros, codes)
  return { ...head, codes: signed(format, codes), ...found.stored, ...tail }
}

/** Codes as their format has them: steps are signed. */
function signed(format: ScaledFormat, codes: Uint8Array): Uint8Array | Int8Array {
  return isStepped(format) ? new Int8Array(codes.buffer, codes.byteOffset, codes.length) : codes
}

const wideLevels = new WeakMap<Codebook, Float32Array>()

/** The values of all 16-bit codes of a book. */
function wideTable(book: Codebook): Float32Array {
  let table = wideLevels.get(book)
  if (!table) {
    table = new Float32Array(65536).fill(Number.NaN)
    table.set(book.levels32)
    wideLevels.set(book, table)
  }
  return table
}

/** Decodes a tensor that is not empty into `out`; false, and nothing written, where its parts are not those of the kernels. */
export function decodeScaledNative(native: Native, encoded: Encoded, format: ScaledFormat, out: Float32Array): boolean {
  const { addon, engine } = native
  const { shape, codes, scales, zeros, levels, means, seed } = encoded
  const layout = layoutOf(shape, format.shares)
  const { count, length, size } = layout
  const wide = isWide(format)
  if (!(scales instanceof Float32Array) || (means && !(means instanceof Float32Array))) return false
  if (!ArrayBuffer.isView(codes) || codes instanceof Float32Array || codes.BYTES_PER_ELEMENT !== (wide ? 2 : 1))
    return false
  const split = count === 1 && size > PIECE
  const run = split ? PIECE : length
  const pieces = Math.ceil(size / run)
  const given = formatArguments(format, run, 'given', bookOf(format, levels))
  const multipliers = split ? spread(scales, pieces) : scales
  if (wide) {
    const book = bookOf(format, levels)
    if (book) {
      given[4] = 65536
      given[7] = wideTable(book)
      given[8] = new Float64Array(65535)
    }
    const words = new Uint16Array(codes.buffer, codes.byteOffset, codes.length)
    addon.decodeWide(engine, size, ...given, words, multipliers, out)
  } else {
    const bytes = new Uint8Array(codes.buffer, codes.byteOffset, codes.length)
    addon.decodeBlocks(
      engine,
      size,
      ...given,
      bytes,
      multipliers,
      zeros && split ? spread(zeros, pieces) : (zeros ?? null),
      out,
    )
  }
  if (means) addon.addMeans(engine, size, length, means as Floats, out)
  if (format.hadamard) transformsOf(native).rotateRows(out, layout.width, seed ?? 0, true)
  restoreKept(encoded, layout, out)
  return true
}
