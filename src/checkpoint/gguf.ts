// GGUF versions 2 and 3: typed metadata (the model's sizes and its tokenizer), then tensors at aligned offsets.
// The header is read through a moving window; every count is checked against what is left of the file before it is used.
import { type ByteFile, openBytes } from './bytes.ts'
import { ggmlTypeOf } from './ggml-types.ts'
import { checkedCount, type TensorFile, type TensorInfo, tensorsAt } from './tensors.ts'

/** A metadata value: 64-bit integers are numbers where they fit, else bigint. */
export type GgufValue = number | bigint | boolean | string | GgufValue[] | Float32Array | Int32Array | Uint32Array

/** Bytes of the metadata types 0 to 12: u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64 (0: no fixed width). */
const WIDTHS = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]

const STRING = 8
const ARRAY = 9

/** The most entries of an array, tensors, or keys; vocabularies have less than a million tokens. */
const MOST_ENTRIES = 1 << 24

/** The longest text: a chat template, a licence. */
const LONGEST_TEXT = 1 << 26

/** How much of the file is read at a time. */
const WINDOW = 1 << 20

/** A place in a file that moves on as numbers are read. */
function createCursor(file: ByteFile) {
  let window = new Uint8Array(0)
  let view = new DataView(window.buffer)
  let start = 0
  let at = 0
  /** Makes `length` bytes from the present place available. */
  const need = (length: number) => {
    if (at + length > file.size) throw new Error(`'${file.path}' ends at byte ${file.size}, within its header`)
    if (at < start || at + length > start + window.length) {
      start = at
      window = file.read(at, Math.min(file.size - at, Math.max(length, WINDOW)))
      view = new DataView(window.buffer)
    }
    const place = at - start
    at += length
    return place
  }
  const cursor = {
    place: () => at,
    left: () => file.size - at,
    u32() {
      const place = need(4)
      return view.getUint32(place, true)
    },
    bytes(length: number) {
      const place = need(length)
      return window.subarray(place, place + length)
    },
    /** A count or offset of 64 bits; more than 2^53 is an error. */
    count(what: string) {
      const place = need(8)
      const value = view.getBigUint64(place, true)
      if (value > BigInt(Number.MAX_SAFE_INTEGER))
        throw new Error(`'${file.path}' has ${what} ${value}, more than any file holds`)
      return Number(value)
    },
    text(what: string) {
      const length = cursor.count(`the length of ${what}`)
      if (length > Math.min(cursor.left(), LONGEST_TEXT))
        throw new Error(`'${file.path}' has ${what} of ${length} bytes, but ${cursor.left()} are left`)
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(cursor.bytes(length))
    },
    scalar(type: number): number | bigint | boolean {
      const place = need(WIDTHS[type])
      if (type === 0) return view.getUint8(place)
      if (type === 1) return view.getInt8(place)
      if (type === 2) return view.getUint16(place, true)
      if (type === 3) return view.getInt16(place, true)
      if (type === 4) return view.getUint32(place, true)
      if (type === 5) return view.getInt32(place, true)
      if (type === 6) return view.getFloat32(place, true)
      if (type === 7) return view.getUint8(place) !== 0
      if (type === 12) return view.getFloat64(place, true)
      const value = type === 10 ? view.getBigUint64(place, true) : view.getBigInt64(place, true)
      return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(value)
        : value
    },
  }
  return cursor
}

type Cursor = ReturnType<typeof createCursor>

/** A metadata value of a type; arrays of numbers as typed arrays. */
function readValue(cursor: Cursor, type: number, key: string, path: string, depth = 0): GgufValue {
  if (type === STRING) return cursor.text(`'${key}'`)
  if (type !== ARRAY) {
    if (!WIDTHS[type]) throw new Error(`'${path}' has '${key}' of metadata type ${type}, expected 0 to 12`)
    return cursor.scalar(type)
  }
  const inner = cursor.u32()
  const count = cursor.count(`the length of '${key}'`)
  if (inner > 12 || depth > 3) throw new Error(`'${path}' has '${key}', an array of metadata type ${inner}`)
  const least = inner === STRING ? 8 : inner === ARRAY ? 12 : WIDTHS[inner]
  if (count * least > cursor.left() || count > MOST_ENTRIES)
    throw new Error(`'${path}' has '${key}' with ${count} entries, but ${cursor.left()} bytes are left`)
  if (inner === 4 || inner === 5 || inner === 6) {
    const kind = inner === 6 ? Float32Array : inner === 5 ? Int32Array : Uint32Array
    return new kind(cursor.bytes(4 * count).slice().buffer)
  }
  const values: GgufValue[] = []
  for (let i = 0; i < count; i++) values.push(readValue(cursor, inner, key, path, depth + 1))
  return values
}

/** One tensor's entry; its offset counts from the start of the data. */
function readEntry(cursor: Cursor, path: string): [string, TensorInfo & { offset: number }] {
  const name = cursor.text("a tensor's name")
  const where = `tensor '${name.slice(0, 200)}' of '${path}'`
  const dimensions = cursor.u32()
  if (dimensions > 8) throw new Error(`${where} has ${dimensions} dimensions, expected at most 8`)
  const shape = Array.from({ length: dimensions }, () => cursor.count(`a size of ${where}`)).reverse()
  const id = cursor.u32()
  const type = ggmlTypeOf(id)
  if (!type) throw new Error(`${where} has ggml type ${id}, which is unknown`)
  const count = checkedCount(shape, where)
  const row = shape[shape.length - 1] ?? 1
  if (row % type.block !== 0)
    throw new Error(`${where} has rows of ${row}, expected a multiple of ${type.block} for ${type.name}`)
  const offset = cursor.count(`the offset of ${where}`)
  return [name, { dtype: type.name, shape, bytes: (count / type.block) * type.bytes, offset }]
}

/** Opens a .gguf file: metadata and tensor entries are read and checked, tensors when asked for. */
export function openGguf(path: string): TensorFile & { metadata: Readonly<Record<string, GgufValue>> } {
  const file = openBytes(path)
  try {
    return readGguf(file)
  } catch (error) {
    file.close()
    throw error
  }
}

function readGguf(file: ByteFile) {
  const { path } = file
  const cursor = createCursor(file)
  if (file.size < 24 || new TextDecoder().decode(cursor.bytes(4)) !== 'GGUF')
    throw new Error(`'${path}' is no GGUF file`)
  const version = cursor.u32()
  if (version !== 2 && version !== 3)
    throw new Error(`'${path}' has GGUF version ${version}, expected 2 or 3 (little endian)`)
  const tensorCount = cursor.count('the number of tensors')
  const keyCount = cursor.count('the number of metadata keys')
  if (tensorCount * 24 + keyCount * 13 > cursor.left() || tensorCount + keyCount > MOST_ENTRIES)
    throw new Error(`'${path}' claims ${tensorCount} tensors and ${keyCount} keys, more than it can hold`)
  const metadata: Record<string, GgufValue> = Object.create(null)
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.text('a metadata key')
    if (key in metadata) throw new Error(`'${path}' has the metadata key '${key.slice(0, 200)}' twice`)
    metadata[key] = readValue(cursor, cursor.u32(), key.slice(0, 200), path)
  }
  const table = new Map<string, TensorInfo & { offset: number }>()
  for (let i = 0; i < tensorCount; i++) {
    const [name, entry] = readEntry(cursor, path)
    if (table.has(name)) throw new Error(`tensor '${name.slice(0, 200)}' is twice in '${path}'`)
    table.set(name, entry)
  }
  const alignment = metadata['general.alignment'] ?? 32
  if (typeof alignment !== 'number' || alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) !== 0)
    throw new Error(`'${path}' has general.alignment ${String(alignment)}, expected a power of two`)
  const data = Math.ceil(cursor.place() / alignment) * alignment
  let end = 0
  for (const [name, entry] of [...table].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)) {
    const where = `tensor '${name.slice(0, 200)}' of '${path}'`
    if (entry.offset % alignment !== 0)
      throw new Error(`${where} is at ${entry.offset}, expected a multiple of ${alignment}`)
    if (entry.offset < end) throw new Error(`${where} overlaps another`)
    end = entry.offset + entry.bytes
    if (data + end > file.size) throw new Error(`${where} ends at byte ${data + end}, but the file has ${file.size}`)
    entry.offset += data
  }
  return { ...tensorsAt(file, table, metadata), metadata }
}
