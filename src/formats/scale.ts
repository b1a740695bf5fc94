// How scales are rounded to what is stored, one at a time or, where scales share something, all of a tensor.
import { codebook, nearestCode } from './codebook.ts'
import { elementTable, encodeElement, exponentOf, findElement } from './elements.ts'
import { RequestError } from './error.ts'
import type { Floats, ScaleKind } from './format.ts'

const f32 = Math.fround
const FLOAT16 = findElement('float16')
const BFLOAT16 = findElement('bfloat16')
const E4M3 = findElement('float8_e4m3fn')
const MAX_FLOAT32 = (2 - 2 ** -23) * 2 ** 127

/** Scale types that stand alone, one number each. */
export type SingleScale = Exclude<ScaleKind, 'e4m3' | 'dyn8x256'>

/** Exponent byte of the power of two at or above x: 0 for zero, 255 for nan. */
function e8m0Above(x: number): number {
  if (!Number.isFinite(x)) return 255
  if (x <= 2 ** -127) return 0
  const exponent = exponentOf(x)
  return Math.min(exponent + (x > 2 ** exponent ? 1 : 0) + 127, 254)
}

/**
 * A scale (at least 0) as its type stores it: nearest, ties to even; e8m0 the next power of two at or above, from 2^-127.
 * A finite scale stays finite: it saturates at the type's largest value. nan stays nan. `exact` is left as it is.
 */
export function roundScale(x: number, kind: SingleScale): number {
  switch (kind) {
    case 'exact':
      return x
    case 'fp32':
      return x > MAX_FLOAT32 ? MAX_FLOAT32 : f32(x)
    case 'fp16':
      return elementTable(FLOAT16)[encodeElement(FLOAT16, x, { saturate: true })]
    case 'bf16':
      return elementTable(BFLOAT16)[encodeElement(BFLOAT16, x, { saturate: true })]
    case 'e8m0': {
      const byte = e8m0Above(x)
      return byte === 255 ? Number.NaN : 2 ** (byte - 127)
    }
  }
}

/** Rounded scales of a tensor: the values that multiply, and what else is stored. */
export interface RoundedScales {
  readonly scales: Floats
  /** The stored bytes of types of one byte. */
  readonly codes?: Uint8Array
  readonly tensorScale?: number
  readonly scaleScales?: Float32Array
  readonly scaleOffset?: number
}

/** Scales quantized again, as bitsandbytes does: their mean is subtracted, the rest is dyn8 in blocks of 256, all in f32. */
function doubleQuantize(absmaxes: Floats): RoundedScales {
  const count = absmaxes.length
  const book = codebook({ kind: 'dyn', bits: 8, exponent: 7 })
  let sum = 0
  for (let i = 0; i < count; i++) sum += absmaxes[i]
  const offset = f32(sum / Math.max(count, 1))
  const codes = new Uint8Array(count)
  const scales = new Float32Array(count)
  const scaleScales = new Float32Array(Math.ceil(count / 256))
  for (let block = 0; block < scaleScales.length; block++) {
    const end = Math.min((block + 1) * 256, count)
    let absmax = 0
    for (let i = block * 256; i < end; i++) absmax = Math.max(absmax, Math.abs(f32(absmaxes[i] - offset)))
    scaleScales[block] = absmax
    for (let i = block * 256; i < end; i++) {
      codes[i] = nearestCode(book, absmax > 0 ? f32(absmaxes[i] - offset) / absmax : 0)
      scales[i] = f32(book.levels32[codes[i]] * scaleScales[block]) + offset
    }
  }
  return { scales, codes, scaleScales, scaleOffset: offset }
}

/** Rounds all scales of a tensor; `absmax` is the tensor's own, of which e4m3 scales are fractions. `scales` is overwritten where its type allows. */
export function roundScales(scales: Floats, kind: ScaleKind, absmax: number): RoundedScales {
  if (kind === 'dyn8x256') return doubleQuantize(scales)
  if (kind === 'e4m3') {
    const tensorScale = f32(absmax / 448)
    const codes = new Uint8Array(scales.length)
    const values = elementTable(E4M3)
    for (let i = 0; i < scales.length; i++) {
      codes[i] = tensorScale === 0 ? 0 : encodeElement(E4M3, scales[i] / tensorScale, { saturate: true })
      scales[i] = tensorScale === 0 ? 0 : values[codes[i]] * tensorScale
    }
    return { scales, codes, tensorScale }
  }
  if (kind === 'exact') return { scales }
  for (let i = 0; i < scales.length; i++) scales[i] = roundScale(scales[i], kind)
  if (kind !== 'e8m0') return { scales }
  return { scales, codes: Uint8Array.from(scales, e8m0Above) }
}

/** The scales of a tensor from what is stored where that is one byte each: the same numbers that roundScales gave, in f32. */
export function restoreScales(
  {
    scaleCodes,
    tensorScale = 0,
    scaleScales,
    scaleOffset = 0,
  }: { scaleCodes?: Uint8Array; tensorScale?: number; scaleScales?: Float32Array; scaleOffset?: number },
  kind: ScaleKind,
): Float32Array {
  if (!scaleCodes) throw new RequestError(`an encoded tensor has neither scales nor codes of scales, expected either`)
  if (kind === 'e8m0') return Float32Array.from(scaleCodes, byte => (byte === 255 ? Number.NaN : 2 ** (byte - 127)))
  if (kind === 'e4m3') {
    const values = elementTable(E4M3)
    return Float32Array.from(scaleCodes, code => (tensorScale === 0 ? 0 : values[code] * tensorScale))
  }
  if (kind !== 'dyn8x256' || !scaleScales)
    throw new RequestError(`scales of type '${kind}' do not follow from bytes, expected e8m0, e4m3 or dyn8x256`)
  const { levels32 } = codebook({ kind: 'dyn', bits: 8, exponent: 7 })
  return Float32Array.from(scaleCodes, (code, i) => f32(levels32[code] * scaleScales[i >> 8]) + scaleOffset)
}
