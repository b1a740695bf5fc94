// Numbers as files store them, widened to float32, and float32 rounded to bf16: whole arrays at a time.
import { decode, decodeElement, fromFloat16 } from '../formats/index.ts'

/** Bits of each safetensors type. */
export const DTYPE_BITS: Readonly<Record<string, number>> = {
  F64: 64, F32: 32, F16: 16, BF16: 16, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F6_E2M3: 6, F6_E3M2: 6, F4: 4,
  I64: 64, I32: 32, I16: 16, I8: 8, U64: 64, U32: 32, U16: 16, U8: 8, BOOL: 8, C64: 64,
} // biome-ignore format: a table

/** Names of the one-byte floats in formats/. */
const SMALL_FLOATS: Readonly<Record<string, string>> = {
  F8_E4M3: 'float8_e4m3fn',
  F8_E5M2: 'float8_e5m2',
  F8_E8M0: 'float8_e8m0fnu',
}

/** ggml's block types that formats/ decodes. */
const DECODED: ReadonlySet<string> = new Set(
  'q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs tq1_0 tq2_0'.split(' '),
)

let halves: Float32Array | undefined

/** Halves widened by a table of all 65,536. */
function widenHalves(bits: Uint16Array): Float32Array<ArrayBuffer> {
  halves ??= Float32Array.from({ length: 65536 }, (_, i) => fromFloat16(i))
  const out = new Float32Array(bits.length)
  for (let i = 0; i < bits.length; i++) out[i] = halves[bits[i]]
  return out
}

/** bf16 bits widened to float32. */
export function widenBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16
  return new Float32Array(words.buffer)
}

/** float32 rounded to bf16 bits, to nearest, ties to even; a NaN stays one. */
export function roundToBf16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const floats = values instanceof Float32Array ? values : Float32Array.from(values)
  const words = new Uint32Array(floats.buffer, floats.byteOffset, floats.length)
  const out = new Uint16Array(floats.length)
  for (let i = 0; i < out.length; i++) {
    const word = words[i]
    out[i] = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return out
}

/** Float32 values of stored bytes (their own buffer, offset 0) of a safetensors type; integers and bools too. */
export function widen(
  bytes: Uint8Array<ArrayBuffer>,
  dtype: string,
  shape: readonly number[],
): Float32Array<ArrayBuffer> {
  const { buffer } = bytes
  const small = SMALL_FLOATS[dtype]
  if (small !== undefined) {
    const values = Float32Array.from({ length: 256 }, (_, code) => decodeElement(small, code))
    return Float32Array.from(bytes, code => values[code])
  }
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer)
    case 'F64':
      return Float32Array.from(new Float64Array(buffer))
    case 'F16':
      return widenHalves(new Uint16Array(buffer))
    case 'BF16':
      return widenBf16(new Uint16Array(buffer))
    case 'I8':
      return Float32Array.from(new Int8Array(buffer))
    case 'U8':
    case 'BOOL':
      return Float32Array.from(bytes)
    case 'I16':
      return Float32Array.from(new Int16Array(buffer))
    case 'U16':
      return Float32Array.from(new Uint16Array(buffer))
    case 'I32':
      return Float32Array.from(new Int32Array(buffer))
    case 'U32':
      return Float32Array.from(new Uint32Array(buffer))
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer), Number)
    case 'U64':
      return Float32Array.from(new BigUint64Array(buffer), Number)
  }
  if (DECODED.has(dtype)) return decode({ format: dtype, shape, bytes }) as Float32Array<ArrayBuffer>
  throw new Error(
    `numbers of type '${dtype}' cannot be widened, expected one of ${[...Object.keys(DTYPE_BITS), ...DECODED].join(', ')}`,
  )
}
