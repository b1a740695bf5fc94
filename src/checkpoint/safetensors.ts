// safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes. Read by position, every claim checked;
// written tensor by tensor.
import { closeSync, openSync, writeSync } from 'node:fs'
import { openBytes } from './bytes.ts'
import { DTYPE_BITS } from './numbers.ts'
import { checkedCount, type Dtype, type TensorFile, type TensorInfo, tensorsAt } from './tensors.ts'

/** The longest header, as in the library of the format's authors. */
const LONGEST_HEADER = 100_000_000

/** Keys of the outermost object of a JSON text that parses, repeated ones repeated: JSON.parse would hide them. */
export function outermostKeys(json: string): string[] {
  const keys: string[] = []
  let depth = 0
  let isKey = false
  for (let i = 0; i < json.length; i++) {
    const char = json[i]
    if (char === '"') {
      const start = i++
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1
      if (depth === 1 && isKey) keys.push(JSON.parse(json.slice(start, i + 1)))
      isKey = false
    } else if (char === '{' || char === '[') isKey = ++depth === 1
    else if (char === '}' || char === ']') depth--
    else if (char === ',') isKey = depth === 1
  }
  return keys
}

/** One entry of the header as a tensor's range, checked against the bytes behind the header. */
function checkEntry(name: string, entry: unknown, dataBytes: number, path: string): TensorInfo & { offset: number } {
  const where = `tensor '${name.slice(0, 200)}' of '${path}'`
  if (typeof entry !== 'object' || entry === null) throw new Error(`${where} is no object in the header`)
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BITS, dtype))
    throw new Error(
      `${where} has dtype '${String(dtype).slice(0, 50)}', expected one of ${Object.keys(DTYPE_BITS).join(', ')}`,
    )
  if (!Array.isArray(shape)) throw new Error(`${where} has no shape`)
  const count = checkedCount(shape, where, (dataBytes * 8) / DTYPE_BITS[dtype])
  const [begin, end] = Array.isArray(offsets) && offsets.length === 2 ? offsets : []
  if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin < 0 || end < begin || end > dataBytes)
    throw new Error(
      `${where} has data_offsets ${JSON.stringify(offsets)?.slice(0, 80)}, expected a range within ${dataBytes} bytes`,
    )
  if ((count * DTYPE_BITS[dtype]) % 8 !== 0 || end - begin !== (count * DTYPE_BITS[dtype]) / 8)
    throw new Error(
      `${where} has ${end - begin} bytes, expected ${(count * DTYPE_BITS[dtype]) / 8} for ${dtype} [${shape.join(', ')}]`,
    )
  return { dtype, shape, bytes: end - begin, offset: begin }
}

/** Opens a .safetensors file: its header is read and checked (lengths, types, shapes, overlaps, holes, repeated names), the tensors when asked for. */
export function openSafetensors(path: string): TensorFile {
  const file = openBytes(path)
  try {
    if (file.size < 8) throw new Error(`'${path}' has ${file.size} bytes, too few for safetensors`)
    const length = Number(new DataView(file.read(0, 8).buffer).getBigUint64(0, true))
    if (length > LONGEST_HEADER || length > file.size - 8)
      throw new Error(
        `'${path}' claims a header of ${length} bytes, expected at most ${Math.min(LONGEST_HEADER, file.size - 8)}`,
      )
    const { table, metadata } = readHeader(file.read(8, length), file.size - 8 - length, path)
    for (const entry of table.values()) entry.offset += 8 + length
    return tensorsAt(file, table, metadata)
  } catch (error) {
    file.close()
    throw error
  }
}

/** Table and metadata of a header; offsets count from the end of the header. */
function readHeader(bytes: Uint8Array, dataBytes: number, path: string) {
  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    header = JSON.parse(text)
  } catch {
    throw new Error(`the header of '${path}' is not JSON`)
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header) || !text.startsWith('{'))
    throw new Error(`the header of '${path}' is no JSON object`)
  const keys = outermostKeys(text)
  const seen = new Set<string>()
  for (const key of keys) {
    if (seen.has(key)) throw new Error(`tensor '${key.slice(0, 200)}' is twice in '${path}'`)
    seen.add(key)
  }
  let metadata: Record<string, unknown> = {}
  const table = new Map<string, TensorInfo & { offset: number }>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (typeof entry !== 'object' || entry === null || Object.values(entry).some(value => typeof value !== 'string'))
        throw new Error(`__metadata__ of '${path}' is no object of strings`)
      metadata = entry
    } else table.set(name, checkEntry(name, entry, dataBytes, path))
  }
  let end = 0
  for (const [name, entry] of [...table].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (entry.offset < end) throw new Error(`tensor '${name.slice(0, 200)}' of '${path}' overlaps another`)
    if (entry.offset > end)
      throw new Error(
        `'${path}' has ${entry.offset - end} bytes before tensor '${name.slice(0, 200)}' that belong to none`,
      )
    end = entry.offset + entry.bytes
  }
  if (end !== dataBytes) throw new Error(`'${path}' has ${dataBytes} bytes of tensors, expected ${end}`)
  return { table, metadata }
}

/** A tensor to be written; `data` is called when its turn comes, so that no more than one need be in memory. */
export interface TensorToWrite {
  name: string
  dtype: Dtype
  shape: readonly number[]
  data: () => Uint8Array | Float32Array | Uint16Array | Int32Array
}

/** Bytes of a tensor to be written. */
export function bytesToWrite({ name, dtype, shape }: TensorToWrite): number {
  const bits = DTYPE_BITS[dtype]
  if (bits === undefined) throw new Error(`tensor '${name}' has dtype '${dtype}', which safetensors has not`)
  return (shape.reduce((a, b) => a * b, 1) * bits) / 8
}

/** Writes one .safetensors file, wide types first (so each begins where its numbers are aligned), then by name. */
export function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Record<string, string> = { format: 'pt' },
): void {
  const order = [...tensors].sort(
    (a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  )
  const entries: [string, unknown][] = [['__metadata__', metadata]]
  let end = 0
  for (const tensor of order) {
    const begin = end
    end += bytesToWrite(tensor)
    entries.push([tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }])
  }
  if (new Set(entries.map(([name]) => name)).size !== entries.length)
    throw new Error(`two tensors of '${path}' have one name`)
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)))
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true)
  header.set(json, 8)
  const descriptor = openSync(path, 'w')
  try {
    writeAll(descriptor, header)
    for (const tensor of order) {
      const data = tensor.data()
      if (data.byteLength !== bytesToWrite(tensor))
        throw new Error(`tensor '${tensor.name}' has ${data.byteLength} bytes, expected ${bytesToWrite(tensor)}`)
      writeAll(descriptor, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    }
  } finally {
    closeSync(descriptor)
  }
}

/** Writes all bytes at the file's end; one system call may take fewer. */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(descriptor, bytes, done, Math.min(bytes.length - done, 1 << 30))
}
