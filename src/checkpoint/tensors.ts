// A file of named tensors, whatever its format: what each is, and its bytes when asked for. Knows no model.
import type { ByteFile } from './bytes.ts'

/** Types of numbers by their safetensors names; a ggml block type by its lower-case name (q4_0, q6_k). */
export type Dtype = string

/** What is known of a tensor before its bytes are read. */
export interface TensorInfo {
  dtype: Dtype
  /** Row major, outermost first. */
  shape: readonly number[]
  /** Bytes in the file. */
  bytes: number
  /** A matrix that is (out, in) whatever its layer's own layout is: weights that were packed. */
  oriented?: boolean
}

/** Tensors in one file or in the shards of one checkpoint; read on demand, never whole. */
export interface TensorFile {
  /** In the order of the file. */
  readonly names: readonly string[]
  /** Free text of the file's header. */
  readonly metadata: Readonly<Record<string, unknown>>
  has(name: string): boolean
  /** Throws where there is no such tensor. */
  info(name: string): TensorInfo
  /** The stored bytes in a buffer of their own (offset 0, so that any typed array can lie over it). */
  read(name: string): Uint8Array<ArrayBuffer>
  close(): void
}

/** Product of a shape, checked: each size a whole number, the product no more than `limit`; `where` begins the error. */
export function checkedCount(shape: readonly unknown[], where: string, limit = Number.MAX_SAFE_INTEGER): number {
  let count = 1
  if (shape.length > 64) throw new Error(`${where} has ${shape.length} dimensions, expected at most 64`)
  for (const size of shape) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
      throw new Error(`${where} has shape [${shape.slice(0, 8).join(', ')}], expected whole numbers`)
    count *= size
    if (count > limit)
      throw new Error(`${where} has shape [${shape.slice(0, 8).join(', ')}], more numbers than the file can hold`)
  }
  return count
}

/** A TensorFile over a table of ranges in one file; the ranges were checked by the reader that made them. */
export function tensorsAt(
  file: ByteFile,
  table: ReadonlyMap<string, TensorInfo & { offset: number }>,
  metadata: Readonly<Record<string, unknown>>,
): TensorFile {
  const entry = (name: string) => {
    const found = table.get(name)
    if (!found) throw new Error(`no tensor '${name}' in '${file.path}'`)
    return found
  }
  return {
    names: [...table.keys()],
    metadata,
    has: name => table.has(name),
    info: entry,
    read: name => file.read(entry(name).offset, entry(name).bytes),
    close: file.close,
  }
}

/** Several files as one: the shards of a checkpoint. */
export function joinTensors(files: readonly TensorFile[]): TensorFile {
  const owner = new Map<string, TensorFile>()
  for (const file of files)
    for (const name of file.names) {
      if (owner.has(name)) throw new Error(`tensor '${name}' is in two shards`)
      owner.set(name, file)
    }
  const of = (name: string) => {
    const found = owner.get(name)
    if (!found) throw new Error(`no tensor '${name}' in the checkpoint`)
    return found
  }
  return {
    names: [...owner.keys()],
    metadata: files[0]?.metadata ?? {},
    has: name => owner.has(name),
    info: name => of(name).info(name),
    read: name => of(name).read(name),
    close: () => {
      for (const file of files) file.close()
    },
  }
}
