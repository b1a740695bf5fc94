// OCP microscaling (MX) formats and NVFP4: small floats (or int8) in blocks, each with a stored scale of one byte.
import { type ElementType, elementTable, encodeElement, exponentOf, findElement, roundHalfEven } from './elements.ts'
import type { Encoded, Floats, PresetName } from './format.ts'
import { layoutOf } from './layout.ts'
import { absmaxOf } from './scaled.ts'

const f32 = Math.fround

/** One microscaling format: what an element is, the exponent of its largest value, values a block. */
export interface Microscaling {
  readonly name: PresetName
  readonly block: number
  /** null: int8 with the value code / 64. */
  readonly element: ElementType | null
  /** floor(log2) of the element's largest value. */
  readonly emax: number
}

const float = (name: PresetName, element: string, block = 32): Microscaling => {
  const type = findElement(element)
  return { name, block, element: type, emax: exponentOf(type.max) }
}

/** The microscaling formats; nvfp4 has scales of E4M3 and one f32 a tensor, the others powers of two. */
export const MICROSCALING: readonly Microscaling[] = [
  float('mxfp4', 'float4_e2m1fn'),
  float('mxfp6e2m3', 'float6_e2m3fn'),
  float('mxfp6e3m2', 'float6_e3m2fn'),
  float('mxfp8e4m3', 'float8_e4m3fn'),
  float('mxfp8e5m2', 'float8_e5m2'),
  { name: 'mxint8', block: 32, element: null, emax: 0 },
  float('nvfp4', 'float4_e2m1fn', 16),
]

const E4M3 = findElement('float8_e4m3fn')

/** 2^(i - 256): a power a block would cost as much as several of its values. */
const POWERS = Float64Array.from({ length: 512 }, (_, i) => 2 ** (i - 256))

/** The bit patterns of f32 numbers, in their place. */
function patternsOf(x: Float32Array): Uint32Array {
  return new Uint32Array(x.buffer, x.byteOffset, x.length)
}

/**
 * Element codes of x / 2^exponent, saturated, to nearest with ties to even. The f32 pattern is divided by taking the exponent
 * away, and rounded by adding half of what is shifted out (less one where the last bit left is 0).
 */
function encodeFloats(
  x: Float32Array,
  patterns: Uint32Array,
  start: number,
  end: number,
  exponent: number,
  type: ElementType,
  codes: Uint8Array,
  at = start,
): void {
  const { mantissa, bias, maxCode } = type
  const shift = 23 - mantissa
  // Whole numbers by shifts: V8 would keep a power in a double, and be many times slower below.
  const half = (1 << (shift - 1)) - 1
  const lowest = (128 - bias) << 23 // pattern of the smallest normal element
  const subnormals = POWERS[256 + mantissa - 1 + bias - exponent]
  const offset = (127 - bias) << mantissa
  const signShift = 32 - type.bits
  const signBit = 1 << (type.bits - 1)
  const down = exponent << 23
  for (let i = start; i < end; i++) {
    const word = patterns[i]
    const magnitude = word & 0x7fffffff
    const divided = (magnitude - down) | 0
    let code: number
    if (magnitude < 0x800000) code = encodeElement(type, Math.abs(x[i]) / 2 ** exponent, { saturate: true })
    else if (divided < lowest) code = roundHalfEven(Math.abs(x[i]) * subnormals) | 0
    else code = ((divided + half + ((divided >>> shift) & 1)) >>> shift) - offset
    codes[at + i - start] = Math.min(code, maxCode) | ((word >>> signShift) & signBit)
  }
}

/** Element codes of any numbers over any scale: one by one. */
function encodeEach(x: Floats, start: number, end: number, scale: number, type: ElementType, codes: Uint8Array): void {
  for (let i = start; i < end; i++) codes[i] = encodeElement(type, x[i] / scale, { saturate: true })
}

function encodeInt8(x: Floats, start: number, end: number, scale: number, codes: Int8Array): void {
  for (let i = start; i < end; i++) {
    codes[i] = roundHalfEven(Math.min(Math.max((x[i] / scale) * 64, -127), 127))
  }
}

/** Scale byte of an MX block: clamp(floor(log2 absmax) - emax), 0 for a block of zeros, 255 (nan) where a value is not finite. */
function mxScale(absmax: number, emax: number): number {
  if (Number.isNaN(absmax)) return 255
  if (absmax === 0) return 0
  return Math.min(Math.max(exponentOf(absmax) - emax, -127), 127) + 127
}

/** Encodes in an MX format: E8M0 `scales`, element patterns (mxint8: signed) as `codes`. */
function encodeMx(x: Floats, shape: readonly number[], { name, block, element, emax }: Microscaling): Encoded {
  const { size, length, count } = layoutOf(shape, block)
  const scales = new Uint8Array(count)
  const codes = element ? new Uint8Array(size) : new Int8Array(size)
  const patterns = x instanceof Float32Array ? patternsOf(x) : null
  for (let b = 0; b < count; b++) {
    const start = b * length
    const end = Math.min(start + length, size)
    scales[b] = mxScale(absmaxOf(x, start, end), emax)
    if (scales[b] === 255) continue
    const scale = POWERS[256 + scales[b] - 127]
    if (element && patterns)
      encodeFloats(x as Float32Array, patterns, start, end, scales[b] - 127, element, codes as Uint8Array)
    else if (element) encodeEach(x, start, end, scale, element, codes as Uint8Array)
    else encodeInt8(x, start, end, scale, codes as Int8Array)
  }
  return { format: name, shape: [...shape], codes, scales }
}

/** Encodes in NVFP4: g = absmax / 2688, scale = E4M3(block absmax / 6 / g), codes of x / (g * scale), all in f32. */
function encodeNvfp4(x: Floats, shape: readonly number[], { name, block, element }: Microscaling): Encoded {
  const { size, length, count } = layoutOf(shape, block)
  const scales = new Uint8Array(count)
  const codes = new Uint8Array(size)
  const tensorScale = f32(f32(absmaxOf(x, 0, size)) / 2688)
  const values = elementTable(E4M3)
  const quotients = new Float32Array(length)
  const patterns = patternsOf(quotients)
  for (let b = 0; b < count; b++) {
    const start = b * length
    const end = Math.min(start + length, size)
    const blockScale = f32(f32(absmaxOf(x, start, end)) / 6)
    scales[b] = tensorScale === 0 ? 0 : encodeElement(E4M3, f32(blockScale / tensorScale), { saturate: true })
    const scale = f32(tensorScale * values[scales[b]])
    if (scale > 0) {
      for (let i = start; i < end; i++) quotients[i - start] = f32(x[i]) / scale
      encodeFloats(quotients, patterns, 0, end - start, 0, element!, codes, start)
    } else for (let i = start; i < end; i++) codes[i] = x[i] < 0 || Object.is(x[i], -0) ? 8 : 0
  }
  return { format: name, shape: [...shape], codes, scales, tensorScale }
}

/** Encodes in a microscaling format. */
export function encodeMicroscaling(x: Floats, shape: readonly number[], format: Microscaling): Encoded {
  return format.name === 'nvfp4' ? encodeNvfp4(x, shape, format) : encodeMx(x, shape, format)
}

/** Decodes a microscaling format into `out`. */
export function decodeMicroscaling(
  { shape, codes, scales, tensorScale }: Encoded,
  format: Microscaling,
  out: Floats,
): void {
  const { size, length, count } = layoutOf(shape, format.block)
  const table = format.element ? elementTable(format.element) : null
  const tensor = format.name === 'nvfp4'
  const values = elementTable(E4M3)
  for (let b = 0; b < count; b++) {
    const end = Math.min((b + 1) * length, size)
    const byte = scales![b]
    const scale = tensor ? f32(tensorScale! * values[byte]) : byte === 255 ? Number.NaN : POWERS[256 + byte - 127]
    if (table) for (let i = b * length; i < end; i++) out[i] = table[codes![i]] * scale
    else for (let i = b * length; i < end; i++) out[i] = (codes![i] / 64) * scale
  }
}
