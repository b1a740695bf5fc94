// A file of named tensors, whatever its format: what each is, and its bytes when asked for. Knows no model.
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'

/** Types of numbers by their safetensors names; a ggml block type by its lower-case name (q4_0, q6_k). */
export type Dtype = string

/** What is known of a tensor before its bytes are read. */
export interface TensorInfo {
  dtype: Dtype
  /** Row major, outermost first. */
  shape: readonly number[]
  /** Bytes in the file. */
  bytes: number
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

/** An open file that is read by position and checks every range against its size. */
export interface ByteFile {
  readonly path: string
  readonly size: number
  /** `length` bytes from `offset`, into `target` where one is given. */
  read(offset: number, length: number, target?: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>
  close(): void
}

/** The most bytes that one system call is asked for. */
const READ_STEP = 1 << 30

/** Opens a file for reading by position; a range outside the file is an error that names the file. */
export function openBytes(path: string): ByteFile {
  if (!existsSync(path)) throw new RequestError(`no file '${path}'`)
  const descriptor = openSync(path, 'r')
  const size = fstatSync(descriptor).size
  return {
    path,
    size,
    read(offset, length, target = new Uint8Array(checkedLength(length, size, path))) {
      if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > size)
        throw new Error(`'${path}' ends at byte ${size}, expected ${length} bytes at ${offset}`)
      for (let done = 0; done < length; ) {
        const got = readSync(descriptor, target, done, Math.min(READ_STEP, length - done), offset + done)
        if (got === 0) throw new Error(`'${path}' became shorter while it was read`)
        done += got
      }
      return target
    },
    close: () => closeSync(descriptor),
  }
}

/** A length that may be allocated: no more than the file holds. */
function checkedLength(length: number, size: number, path: string): number {
  if (!Number.isSafeInteger(length) || length < 0 || length > size)
    throw new Error(`'${path}' has ${size} bytes, expected ${length}`)
  return length
}
