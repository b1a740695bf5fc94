// Float element types of 4 to 16 bits: what each code is worth, and the code of a number.
// A type is a record; one rule of rounding (nearest, ties to even) serves all but the exponent-only scale type.
import { didYouMean, RequestError } from './error.ts'

/** A sign, exponent and mantissa layout and what its largest codes mean. */
export interface ElementType {
  readonly name: string
  readonly bits: number
  readonly exponent: number
  readonly mantissa: number
  readonly bias: number
  /** ieee: the top exponent is inf and nan; last: only the last code of each sign is nan; finite: every code is a number; unsigned: exponents only, the last code nan. */
  readonly specials: 'ieee' | 'last' | 'finite' | 'unsigned'
  /** Code of the largest finite value. */
  readonly maxCode: number
  readonly max: number
  readonly smallest: number
}

function elementType(
  name: string,
  exponent: number,
  mantissa: number,
  bias: number,
  specials: ElementType['specials'],
): ElementType {
  const top = 2 ** (exponent + mantissa)
  const maxCode = specials === 'ieee' ? top - 2 ** mantissa - 1 : specials === 'finite' ? top - 1 : top - 2
  const max =
    (2 + (maxCode % 2 ** mantissa) / 2 ** (mantissa - 1)) * 2 ** (Math.floor(maxCode / 2 ** mantissa) - bias - 1)
  if (specials === 'unsigned')
    return {
      name,
      bits: 8,
      exponent,
      mantissa,
      bias,
      specials,
      maxCode,
      max: 2 ** (maxCode - bias),
      smallest: 2 ** -bias,
    }
  const bits = 1 + exponent + mantissa
  return { name, bits, exponent, mantissa, bias, specials, maxCode, max, smallest: 2 ** (1 - bias - mantissa) }
}

/** The element types, by the names that ml_dtypes gives them. */
export const ELEMENTS: readonly ElementType[] = [
  elementType('float8_e4m3fn', 4, 3, 7, 'last'),
  elementType('float8_e5m2', 5, 2, 15, 'ieee'),
  elementType('float8_e4m3', 4, 3, 7, 'ieee'),
  elementType('float8_e3m4', 3, 4, 3, 'ieee'),
  elementType('float6_e2m3fn', 2, 3, 1, 'finite'),
  elementType('float6_e3m2fn', 3, 2, 3, 'finite'),
  elementType('float4_e2m1fn', 2, 1, 1, 'finite'),
  elementType('float8_e8m0fnu', 8, 0, 127, 'unsigned'),
  elementType('bfloat16', 8, 7, 127, 'ieee'),
  elementType('float16', 5, 10, 15, 'ieee'),
]

const BY_NAME = new Map(ELEMENTS.map(type => [type.name, type]))

/** The element type of that name; throws RequestError with the near name. */
export function findElement(name: string): ElementType {
  const type = BY_NAME.get(name)
  if (type) return type
  throw new RequestError(
    `unknown element type '${name}', expected one of ${[...BY_NAME.keys()].join(', ')}${didYouMean(name, BY_NAME.keys())}`,
  )
}

const float64 = new Float64Array(1)
const words = new Uint32Array(float64.buffer)
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] // index of the high word: 1 on little-endian machines

/** floor(log2 x) of a positive finite number, exactly. */
export function exponentOf(x: number): number {
  float64[0] = x
  const field = (words[HIGH] >>> 20) & 0x7ff
  if (field !== 0) return field - 1023
  float64[0] = x * 2 ** 54 // a subnormal
  return ((words[HIGH] >>> 20) & 0x7ff) - 1077
}

const HALF_EVEN = 1.5 * 2 ** 52

/** Rounds to the nearest integer, ties to even; for |x| below 2^51. */
export function roundHalfEven(x: number): number {
  return x + HALF_EVEN - HALF_EVEN
}

/** Code of x on the positive side (x > 0, may be infinite), counted on beyond maxCode where it overflows. */
function magnitudeCode(type: ElementType, x: number): number {
  if (x === Infinity) return Infinity
  const lowest = 1 - type.bias
  const exponent = Math.max(exponentOf(x), lowest)
  return (exponent - lowest) * 2 ** type.mantissa + roundHalfEven(x * 2 ** (type.mantissa - exponent))
}

/**
 * Code of x in exponents only: nearest power of two, ties up; 0, negatives and overflow are nan unless saturated.
 * Between the smallest value and twice it everything goes up, as in the tools: f32 numbers there are subnormal.
 */
function encodeUnsigned(type: ElementType, x: number, saturate: boolean): number {
  if (saturate && !Number.isNaN(x)) x = Math.min(Math.max(x, type.smallest), type.max)
  if (!(x > 0) || x === Infinity) return 255
  const exponent = exponentOf(x)
  const up = exponent === -type.bias ? x > type.smallest : x >= 1.5 * 2 ** exponent
  return Math.min(Math.max(exponent + (up ? 1 : 0) + type.bias, 0), 255)
}

/**
 * Code of x in an element type: nearest, ties to even. Overflow: with `saturate` the largest finite value, else infinity
 * where the type has one, nan for float8_e4m3fn, the largest value for the 4- and 6-bit types. nan is a nan where there is
 * one, else -0. float8_e8m0fnu is unsigned: ties go up, and what is not positive is nan (with `saturate` the smallest).
 */
export function encodeElement(name: string | ElementType, x: number, { saturate = false } = {}): number {
  const type = typeof name === 'string' ? findElement(name) : name
  if (type.specials === 'unsigned') return encodeUnsigned(type, x, saturate)
  const sign = x < 0 || Object.is(x, -0) ? 2 ** (type.bits - 1) : 0
  if (Number.isNaN(x)) {
    if (type.specials === 'finite') return 2 ** (type.bits - 1)
    return type.specials === 'last' ? type.maxCode + 1 : type.maxCode + 1 + 2 ** (type.mantissa - 1)
  }
  if (x === 0) return sign
  const code = magnitudeCode(type, Math.abs(x))
  if (code <= type.maxCode) return sign + code
  return sign + (saturate || type.specials === 'finite' ? type.maxCode : type.maxCode + 1)
}

function decode(type: ElementType, code: number): number {
  if (type.specials === 'unsigned') return code === 255 ? Number.NaN : 2 ** (code - type.bias)
  const sign = code >= 2 ** (type.bits - 1) ? -1 : 1
  const magnitude = code % 2 ** (type.bits - 1)
  if (magnitude > type.maxCode)
    return type.specials === 'ieee' && magnitude === type.maxCode + 1 ? sign * Infinity : Number.NaN
  const exponent = Math.floor(magnitude / 2 ** type.mantissa)
  const fraction = magnitude % 2 ** type.mantissa
  if (exponent === 0) return sign * fraction * type.smallest
  return sign * (2 ** type.mantissa + fraction) * 2 ** (exponent - type.bias - type.mantissa)
}

const tables = new Map<string, Float64Array>()

/** Values of all codes of a type of at most 16 bits, indexed by code. */
export function elementTable(name: string | ElementType): Float64Array {
  const type = typeof name === 'string' ? findElement(name) : name
  let table = tables.get(type.name)
  if (!table) {
    table = Float64Array.from({ length: 2 ** type.bits }, (_, code) => decode(type, code))
    tables.set(type.name, table)
  }
  return table
}

/** Value of a code of an element type; throws RequestError for a code that it does not have. */
export function decodeElement(name: string | ElementType, code: number): number {
  const type = typeof name === 'string' ? findElement(name) : name
  if (!Number.isInteger(code) || code < 0 || code >= 2 ** type.bits)
    throw new RequestError(`code '${code}' is not a code of ${type.name}, expected 0 to ${2 ** type.bits - 1}`)
  return decode(type, code)
}

const FLOAT16 = findElement('float16')
const BFLOAT16 = findElement('bfloat16')

/** fp16 pattern of a number: nearest, ties to even, overflow to infinity. */
export function toFloat16(x: number): number {
  return encodeElement(FLOAT16, x)
}

/** Value of an fp16 pattern. */
export function fromFloat16(code: number): number {
  return elementTable(FLOAT16)[code]
}

/** bf16 pattern of a number: nearest, ties to even, overflow to infinity. */
export function toBfloat16(x: number): number {
  return encodeElement(BFLOAT16, x)
}

/** Value of a bf16 pattern. */
export function fromBfloat16(code: number): number {
  return elementTable(BFLOAT16)[code]
}
