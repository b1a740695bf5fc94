// Reads the safetensors files of golden vectors, apart from the product's own reader so that neither hides the other's faults.
import { readFileSync } from 'node:fs'

/** A tensor of a golden file; F16 and BF16 are widened, I64 narrowed to doubles. */
export interface GoldenTensor {
  shape: number[]
  values: Float64Array | Float32Array | Int32Array | Int16Array | Int8Array | Uint8Array | Uint16Array | Uint32Array
}

function widenHalf(half: number): number {
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  if (exponent === 31)
    return fraction ? Number.NaN : half & 0x8000 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return half & 0x8000 ? -size : size
}

function widenBfloat(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]
}

const READERS: Record<string, (raw: ArrayBuffer) => GoldenTensor['values']> = {
  F64: raw => new Float64Array(raw),
  F32: raw => new Float32Array(raw),
  F16: raw => Float32Array.from(new Uint16Array(raw), widenHalf),
  BF16: raw => Float32Array.from(new Uint16Array(raw), widenBfloat),
  I64: raw => Float64Array.from(new BigInt64Array(raw), Number),
  I32: raw => new Int32Array(raw),
  I16: raw => new Int16Array(raw),
  I8: raw => new Int8Array(raw),
  U32: raw => new Uint32Array(raw),
  U16: raw => new Uint16Array(raw),
  U8: raw => new Uint8Array(raw),
}

/** All tensors of a safetensors file by name. */
export function readSafetensors(path: string): Record<string, GoldenTensor> {
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const tensors: Record<string, GoldenTensor> = {}
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const raw = new Uint8Array(bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1])).buffer
    tensors[name] = { shape, values: READERS[dtype](raw) }
  }
  return tensors
}
