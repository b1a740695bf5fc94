// The stored (not compressed) entries of a zip archive, as PyTorch writes them: name, place, size.
import type { ByteFile } from './bytes.ts'

/** Where an entry's bytes lie in the file. */
export interface ZipEntry {
  offset: number
  size: number
}

const END = 0x06054b50
const END64 = 0x06064b50
const LOCATOR64 = 0x07064b50
const CENTRAL = 0x02014b50
const LOCAL = 0x04034b50

/** The most entries: one a tensor, and a few. */
const MOST_ENTRIES = 200_000

/** A 64-bit number that must lie in the file. */
function place(view: DataView, at: number, file: ByteFile): number {
  const value = view.getBigUint64(at, true)
  if (value > BigInt(file.size))
    throw new Error(`'${file.path}' has a zip directory that points to byte ${value} of ${file.size}`)
  return Number(value)
}

/** Place, size and number of entries of the central directory. */
function findDirectory(file: ByteFile): { offset: number; size: number; entries: number } {
  const tail = Math.min(file.size, 22 + 0xffff)
  const view = new DataView(file.read(file.size - tail, tail).buffer)
  for (let at = tail - 22; at >= 0; at--) {
    if (view.getUint32(at, true) !== END) continue
    const found = {
      offset: view.getUint32(at + 16, true),
      size: view.getUint32(at + 12, true),
      entries: view.getUint16(at + 10, true),
    }
    if (found.offset !== 0xffffffff && found.size !== 0xffffffff && found.entries !== 0xffff) return found
    if (at < 20 || view.getUint32(at - 20, true) !== LOCATOR64) return found
    const end = place(view, at - 12, file)
    if (end + 56 > file.size) break
    const wide = new DataView(file.read(end, 56).buffer)
    if (wide.getUint32(0, true) !== END64) break
    return { offset: place(wide, 48, file), size: place(wide, 40, file), entries: place(wide, 32, file) }
  }
  throw new Error(`'${file.path}' is no zip archive`)
}

/** Sizes and offset of an entry that does not fit 32 bits: they stand in the extra field 1, in this order. */
function widen(view: DataView, from: number, to: number, values: number[], file: ByteFile): number[] {
  for (let at = from; at + 4 <= to; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue
    let field = at + 4
    const end = Math.min(to, field + view.getUint16(at + 2, true))
    return values.map(value => {
      if (value !== 0xffffffff || field + 8 > end) return value
      field += 8
      return place(view, field - 8, file)
    })
  }
  return values
}

/** All entries by name; throws where one is compressed, encrypted, twice, or outside the file. */
export function zipEntries(file: ByteFile): Map<string, ZipEntry> {
  const directory = findDirectory(file)
  if (directory.offset + directory.size > file.size)
    throw new Error(`'${file.path}' has a zip directory outside the file`)
  if (directory.entries > MOST_ENTRIES)
    throw new Error(`'${file.path}' has a zip directory of ${directory.entries} entries`)
  const view = new DataView(file.read(directory.offset, directory.size).buffer)
  const entries = new Map<string, ZipEntry>()
  let at = 0
  for (let i = 0; i < directory.entries; i++) {
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== CENTRAL)
      throw new Error(`'${file.path}' has a broken zip directory`)
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map(field => view.getUint16(at + field, true))
    const end = at + 46 + nameLength + extraLength + commentLength
    if (end > view.byteLength) throw new Error(`'${file.path}' has a broken zip directory`)
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, nameLength))
    const stored = [24, 20, 42].map(field => view.getUint32(at + field, true))
    const [size, packed, header] = widen(view, at + 46 + nameLength, end - commentLength, stored, file)
    if (view.getUint16(at + 10, true) !== 0 || size !== packed || (view.getUint16(at + 8, true) & 1) !== 0)
      throw new Error(`'${file.path}' has a compressed entry '${name.slice(0, 100)}', expected stored ones`)
    if (entries.has(name)) throw new Error(`'${file.path}' has the entry '${name.slice(0, 100)}' twice`)
    if (header + 30 > file.size)
      throw new Error(`'${file.path}' has the entry '${name.slice(0, 100)}' outside the file`)
    const local = new DataView(file.read(header, 30).buffer)
    if (local.getUint32(0, true) !== LOCAL)
      throw new Error(`'${file.path}' has no entry where its directory has '${name.slice(0, 100)}'`)
    const offset = header + 30 + local.getUint16(26, true) + local.getUint16(28, true)
    if (offset + size > file.size)
      throw new Error(`'${file.path}' has the entry '${name.slice(0, 100)}' outside the file`)
    entries.set(name, { offset, size })
    at = end
  }
  return entries
}
