// Writes GGUF version 3: metadata, then tensors at offsets of 32 bytes, one tensor in memory at a time.
import { closeSync, openSync } from 'node:fs'
import { ggmlTypeNamed } from './ggml-types.ts'
import { writeAll } from './safetensors.ts'

/** A metadata value with the type it is written in. */
export type GgufEntry =
  | { type: 'u32' | 'i32' | 'f32' | 'u64'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'i32s' | 'f32s'; value: ArrayLike<number> }

export const u32 = (value: number): GgufEntry => ({ type: 'u32', value })
export const f32 = (value: number): GgufEntry => ({ type: 'f32', value })
export const bool = (value: boolean): GgufEntry => ({ type: 'bool', value })
export const text = (value: string): GgufEntry => ({ type: 'string', value })
export const texts = (value: readonly string[]): GgufEntry => ({ type: 'strings', value })
export const i32s = (value: ArrayLike<number>): GgufEntry => ({ type: 'i32s', value })
export const f32s = (value: ArrayLike<number>): GgufEntry => ({ type: 'f32s', value })

/** A tensor to be written; shape row major; dtype by ggml-types.ts (F32, BF16, q4_k); `data` is called when its turn comes. */
export interface GgufTensor {
  name: string
  dtype: string
  shape: readonly number[]
  data: () => Uint8Array | Float32Array | Uint16Array
}

/** Numbers of the metadata types. */
const TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, u64: 10 } as const

const ALIGNMENT = 32

const padded = (length: number) => Math.ceil(length / ALIGNMENT) * ALIGNMENT

/** Bytes that grow. */
function createBytes() {
  let bytes = new Uint8Array(1 << 16)
  let view = new DataView(bytes.buffer)
  let length = 0
  /** Makes room for `extra` bytes, and gives their place; `view` may be another one afterwards. */
  const room = (extra: number) => {
    if (length + extra > bytes.length) {
      const larger = new Uint8Array(Math.max(2 * bytes.length, length + extra))
      larger.set(bytes)
      bytes = larger
      view = new DataView(bytes.buffer)
    }
    length += extra
    return length - extra
  }
  const put = (size: number, write: (at: number) => void) => write(room(size))
  const writer = {
    result: () => bytes.subarray(0, length),
    u32: (value: number) => put(4, at => view.setUint32(at, value, true)),
    i32: (value: number) => put(4, at => view.setInt32(at, value, true)),
    f32: (value: number) => put(4, at => view.setFloat32(at, value, true)),
    u64: (value: number) => put(8, at => view.setBigUint64(at, BigInt(value), true)),
    bool: (value: boolean) => put(1, at => view.setUint8(at, value ? 1 : 0)),
    string(value: string) {
      const encoded = new TextEncoder().encode(value)
      writer.u64(encoded.length)
      const at = room(encoded.length)
      bytes.set(encoded, at)
    },
  }
  return writer
}

/** Writes a .gguf file; throws where a tensor's type does not fit its rows or its data has another length. */
export function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufEntry>>,
  tensors: readonly GgufTensor[],
): void {
  const header = createBytes()
  header.u32(0x46554747) // 'GGUF'
  header.u32(3)
  header.u64(tensors.length)
  header.u64(Object.keys(metadata).length)
  for (const [key, entry] of Object.entries(metadata)) {
    header.string(key)
    writeEntry(header, entry)
  }
  let offset = 0
  const sizes = tensors.map(tensor => {
    const type = ggmlTypeNamed(tensor.dtype)
    const row = tensor.shape[tensor.shape.length - 1] ?? 1
    if (!type) throw new Error(`tensor '${tensor.name}' has type '${tensor.dtype}', which ggml has not`)
    if (row % type.block !== 0)
      throw new Error(
        `tensor '${tensor.name}' has rows of ${row}, expected a multiple of ${type.block} for ${type.name}`,
      )
    header.string(tensor.name)
    header.u32(tensor.shape.length)
    for (const size of [...tensor.shape].reverse()) header.u64(size)
    header.u32(type.id)
    header.u64(offset)
    const bytes = (tensor.shape.reduce((a, b) => a * b, 1) / type.block) * type.bytes
    offset += padded(bytes)
    return bytes
  })
  const descriptor = openSync(path, 'w')
  try {
    writePadded(descriptor, header.result())
    tensors.forEach((tensor, i) => {
      const data = tensor.data()
      if (data.byteLength !== sizes[i])
        throw new Error(`tensor '${tensor.name}' has ${data.byteLength} bytes, expected ${sizes[i]}`)
      writePadded(descriptor, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    })
  } finally {
    closeSync(descriptor)
  }
}

/** Writes bytes and zeros up to the alignment. */
function writePadded(descriptor: number, bytes: Uint8Array): void {
  writeAll(descriptor, bytes)
  writeAll(descriptor, new Uint8Array(padded(bytes.length) - bytes.length))
}

function writeEntry(out: ReturnType<typeof createBytes>, entry: GgufEntry): void {
  switch (entry.type) {
    case 'bool':
      out.u32(TYPES.bool)
      out.bool(entry.value)
      return
    case 'string':
      out.u32(TYPES.string)
      out.string(entry.value)
      return
    case 'strings':
      out.u32(9)
      out.u32(TYPES.string)
      out.u64(entry.value.length)
      for (const value of entry.value) out.string(value)
      return
    case 'i32s':
    case 'f32s': {
      const kind = entry.type === 'i32s' ? 'i32' : 'f32'
      out.u32(9)
      out.u32(TYPES[kind])
      out.u64(entry.value.length)
      for (let i = 0; i < entry.value.length; i++) out[kind](entry.value[i])
      return
    }
    default:
      out.u32(TYPES[entry.type])
      out[entry.type](entry.value)
  }
}
