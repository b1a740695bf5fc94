// Reads the golden vectors of golden/ptq: float64 tensors and codes of 2 to 8 bits.
import { readFileSync } from 'node:fs'

/** A tensor of a golden file, widened to an array that JavaScript has. */
export interface GoldenTensor {
  shape: number[]
  data: Float32Array | Float64Array | Uint8Array | Int32Array | Uint16Array
}

function halfToNumber(half: number): number {
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return half & 0x8000 ? -size : size
}

/** All tensors of a safetensors file; F16 becomes Float32Array. */
export function readTensors(path: string): Map<string, GoldenTensor> {
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const tensors = new Map<string, GoldenTensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const [start, end] = entry.data_offsets
    const raw = new Uint8Array(bytes.subarray(8 + length + start, 8 + length + end)).buffer
    const data =
      entry.dtype === 'F64' ? new Float64Array(raw)
      : entry.dtype === 'F32' ? new Float32Array(raw)
      : entry.dtype === 'I32' ? new Int32Array(raw)
      : entry.dtype === 'U16' ? new Uint16Array(raw)
      : entry.dtype === 'F16' ? Float32Array.from(new Uint16Array(raw), halfToNumber)
      : new Uint8Array(raw) // biome-ignore format: a table
    tensors.set(name, { shape: entry.shape, data })
  }
  return tensors
}

/** Codes of `count` weights: one a byte, or two a byte with the first in the low half. */
export function unpackCodes(packed: Uint8Array, count: number): Uint8Array {
  if (packed.length === count) return packed
  const codes = new Uint8Array(count)
  for (let i = 0; i < count; i++) codes[i] = i % 2 ? packed[i >> 1] >> 4 : packed[i >> 1] & 15
  return codes
}
