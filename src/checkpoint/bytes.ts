// A file that is read by position: no more of it in memory than was asked for, and no range outside it.
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'

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
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new RequestError(`no file '${path}'`)
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
