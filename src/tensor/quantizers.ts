// Encoding and decoding of weights at memory speed: the native kernels where they are built and know the format, else
// the definition in formats/. Both give the same record, bit for bit.
import { type Codebook, codebook, compileCodebook, estimateQuantileLevels } from '../formats/codebook.ts'
import {
  decode,
  type Encoded,
  type EncodeOptions,
  encode,
  type Format,
  parseFormat,
  printFormat,
  type ScaledFormat,
} from '../formats/index.ts'
import { layoutOf } from '../formats/layout.ts'
import { roundScales } from '../formats/scale.ts'
import { isStepped, largestStep } from '../formats/scaled.ts'
import { openAddon } from './addon.ts'

/** Arrays that an encoding may write into, instead of new ones. */
export interface EncodedArrays {
  codes?: Uint8Array
  scales?: Float32Array
  zeros?: Uint8Array
}

/** Encoders and decoders on a fixed number of threads. */
export interface Quantizers {
  readonly name: 'native' | 'reference'
  encode(
    x: Float32Array,
    shape: readonly number[],
    format: Format | string,
    options?: EncodeOptions,
    into?: EncodedArrays,
  ): Encoded
  decode(encoded: Encoded, out?: Float32Array): Float32Array
}

/** What the addon's functions expect of a format: rule, scale rule, length, top, level count, zero code, steps, levels, thresholds. */
type FormatArguments = [number, number, number, number, number, number, number, Float32Array, Float64Array | null]

const NONE = new Float32Array(0)
const RULES = { book: 0, step: 1, full: 2, uint: 3 } as const
const SCALE_RULES = { exact: 0, fp32: 0, fp16: 1, bf16: 2, given: 3, unrounded: 4 } as const

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
  return [
    RULES.book,
    rule,
    length,
    1,
    book.levels.length,
    book.zero,
    book.steps > 127 ? 0 : book.steps,
    book.levels32,
    book.thresholds,
  ]
}

/** Whether the native kernels know all of a format; the rest is left to formats/. */
function isNative(format: Format, options: EncodeOptions | undefined): boolean {
  if (format.kind === 'preset') return format.name === 'mxfp4' || format.name === 'q8_0'
  if (format.kind !== 'scaled') return false
  const { element, centered, proxy, hadamard, stochastic, clip } = format
  if ('bits' in element && element.bits > 8) return false
  return !centered && proxy === 0 && !hadamard && !stochastic && !clip && (options?.absmaxRatio ?? 1) === 1
}

function bookOf(format: ScaledFormat, levels: Float64Array | undefined): Codebook | null {
  if (isStepped(format) || format.element.kind === 'full' || format.element.kind === 'uint') return null
  return levels ? compileCodebook(levels) : codebook(format.element)
}

/** Native quantizers, or undefined where they are not built. */
export function createNativeQuantizers({ threads, isa }: { threads: number; isa?: string }): Quantizers | undefined {
  const opened = openAddon().addon
  const engine = opened?.create(threads, isa ?? process.env['BITLAW_ISA'] ?? '')
  if (!opened || engine === undefined) return undefined
  const addon = opened

  function encodeNative(x: Float32Array, shape: readonly number[], format: ScaledFormat, into: EncodedArrays): Encoded {
    const { element } = format
    const { count, length, size } = layoutOf(shape, format.shares)
    const sampled = element.kind === 'quantile' && element.book.endsWith('_sample')
    const levels = sampled ? estimateQuantileLevels(element.bits, element.book, x) : undefined
    const book = bookOf(format, levels)
    const grid = element.kind === 'full' || element.kind === 'uint'
    const codes = into.codes ?? new Uint8Array(size)
    const zeros = grid ? (into.zeros ?? new Uint8Array(count)) : undefined
    let scales: Float32Array = into.scales ?? new Float32Array(count)
    const run = Math.max(length, 1)
    const head = { format: printFormat(format), shape: [...shape] }
    const tail = { ...(zeros && { zeros }), ...(levels && { levels }) }
    const stored = isStepped(format) ? new Int8Array(codes.buffer, codes.byteOffset, codes.length) : codes
    const { scale } = format
    if (scale === 'exact' || scale === 'fp32' || scale === 'fp16' || scale === 'bf16') {
      addon.encodeBlocks(engine, size, ...formatArguments(format, run, scale, book), x, scales, zeros ?? null, codes)
      return { ...head, codes: stored, scales, ...tail }
    }
    addon.encodeBlocks(engine, size, ...formatArguments(format, run, 'unrounded', book), x, scales, null, null)
    let absmax = 0
    if (scale === 'e4m3') {
      const top = new Float32Array(1)
      const whole: ScaledFormat = { ...format, element: { kind: 'nf', bits: 4, book: 'exact' } }
      addon.encodeBlocks(
        engine,
        size,
        ...formatArguments(whole, size, 'unrounded', codebook(whole.element)),
        x,
        top,
        null,
        null,
      )
      absmax = top[0]
    }
    const { codes: scaleCodes, ...rounded } = roundScales(scales, scale, absmax)
    scales = rounded.scales instanceof Float32Array ? rounded.scales : Float32Array.from(rounded.scales)
    addon.encodeBlocks(engine, size, ...formatArguments(format, run, 'given', book), x, scales, zeros ?? null, codes)
    return { ...head, codes: stored, ...rounded, ...(scaleCodes && { scaleCodes }), ...tail }
  }

  return {
    name: 'native',
    encode(x, shape, spelling, options, into = {}) {
      const format = parseFormat(spelling)
      const size = shape.reduce((a, b) => a * b, 1)
      if (!isNative(format, options) || size !== x.length || size === 0) return encode(x, shape, format, options)
      if (format.kind === 'scaled') return encodeNative(x, shape, format, into)
      if (size % 32 !== 0 || (format.kind === 'preset' && format.name === 'q8_0' && shape[shape.length - 1] % 32 !== 0))
        return encode(x, shape, format, options)
      if (printFormat(format) === 'q8_0') {
        const bytes = into.codes ?? new Uint8Array((size / 32) * 34)
        addon.encodeQ8(engine, size, x, bytes)
        return { format: 'q8_0', shape: [...shape], bytes }
      }
      const codes = into.codes ?? new Uint8Array(size)
      const scales = into.zeros ?? new Uint8Array(size / 32)
      addon.encodeMxfp4(engine, size, x, scales, codes)
      return { format: 'mxfp4', shape: [...shape], codes, scales }
    },
    decode(encoded, out) {
      const format = parseFormat(encoded.format)
      const { shape, codes, scales, zeros, bytes, levels } = encoded
      const size = shape.reduce((a, b) => a * b, 1)
      const values = out ?? new Float32Array(size)
      if (isNative(format, undefined) && size > 0) {
        if (format.kind === 'preset' && size % 32 === 0) {
          if (format.name === 'q8_0' && bytes) {
            addon.decodeQ8(engine, size, bytes, values)
            return values
          }
          if (format.name === 'mxfp4' && codes instanceof Uint8Array && scales instanceof Uint8Array) {
            addon.decodeMxfp4(engine, size, codes, scales, values)
            return values
          }
        }
        if (
          format.kind === 'scaled' &&
          scales instanceof Float32Array &&
          (codes instanceof Uint8Array || codes instanceof Int8Array)
        ) {
          const { length } = layoutOf(shape, format.shares)
          const bytesOfCodes = new Uint8Array(codes.buffer, codes.byteOffset, codes.length)
          addon.decodeBlocks(
            engine,
            size,
            ...formatArguments(format, length, 'given', bookOf(format, levels)),
            bytesOfCodes,
            scales,
            zeros ?? null,
            values,
          )
          return values
        }
      }
      const decoded = decode(encoded)
      if (!out) return decoded
      out.set(decoded)
      return out
    },
  }
}

/** The definition as quantizers. */
export const REFERENCE_QUANTIZERS: Quantizers = {
  name: 'reference',
  encode: (x, shape, format, options) => encode(x, shape, format, options),
  decode(encoded, out) {
    const decoded = decode(encoded)
    if (!out) return decoded
    out.set(decoded)
    return out
  },
}
