// Files that are there whole or not at all, and the errors of a disk, told apart from the errors of the work.
import {
  appendFileSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'

/** Codes that speak of the machine, never of a run: no space, no permission, no descriptors, a broken disk. */
const MACHINE = new Set([
  'ENOSPC',
  'EDQUOT',
  'EIO',
  'EROFS',
  'EACCES',
  'EPERM',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'EFBIG',
  'ENODEV',
  'ESTALE',
])

const SENTENCES: Record<string, string> = {
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
  EIO: 'the disk reports an error',
  EROFS: 'the file system is read-only',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  EFBIG: 'the file would be larger than is allowed',
}

/** Numbers by which the embedded database's file system (WASI) names errors. */
const WASI: Record<number, string> = {
  2: 'EACCES',
  19: 'EDQUOT',
  22: 'EFBIG',
  29: 'EIO',
  33: 'EMFILE',
  41: 'ENFILE',
  48: 'ENOMEM',
  51: 'ENOSPC',
  63: 'EPERM',
  69: 'EROFS',
}

/** The code of a system error, or undefined: also of one that another error names as its cause. */
export function machineErrorCode(error: unknown): string | undefined {
  let at = error as { code?: unknown; name?: unknown; errno?: unknown; cause?: unknown } | null | undefined
  for (let depth = 0; at && typeof at === 'object' && depth < 6; depth++) {
    const code = at.name === 'ErrnoError' ? WASI[Number(at.errno)] : at.code
    if (typeof code === 'string' && MACHINE.has(code)) return code
    at = at.cause as typeof at
  }
  return undefined
}

/** The work could not go on because of this machine: the study stops, the run waits, nothing is recorded of it. */
export class MachineError extends Error {
  override name = 'MachineError'
}

/** One sentence about a system error: what could not be done, where, why. */
export function machineError(what: string, error: unknown): MachineError {
  const code = machineErrorCode(error)
  const path = error instanceof Error ? (error as NodeJS.ErrnoException).path : undefined
  const message = error instanceof Error ? error.message.trim().split('\n')[0] : 'it stopped'
  const why = code === undefined ? message : (SENTENCES[code] ?? code)
  return new MachineError(`${what}${path ? ` ('${path}')` : ''}: ${why}`, { cause: error })
}

/** Makes a folder and those above it. */
export function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true })
}

/** Writes a file under another name, flushes it to the disk (unless told not to), renames it: readers see the old text or the new, never a part. */
export function writeWhole(path: string, content: string | Uint8Array, { flush = true } = {}): void {
  makeFolder(dirname(path))
  const temporary = `${path}.${process.pid}.part`
  const file = openSync(temporary, 'w')
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
    if (flush) fsyncSync(file)
  } catch (error) {
    closeSync(file)
    rmSync(temporary, { force: true })
    throw error
  }
  closeSync(file)
  renameSync(temporary, path)
}

/** Adds one line; a crash may leave the last line short, which readLines drops. */
export function appendLine(path: string, record: unknown): void {
  appendFileSync(path, `${JSON.stringify(record)}\n`)
}

/** The records of a file of JSON lines, a torn last line left out (and cut off, so that the next one starts clean); none where there is no file. */
export function readLines<T>(path: string): T[] {
  if (!existsSync(path)) return []
  const text = readFileSync(path, 'utf8')
  const records: T[] = []
  let whole = 0
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    if (end < 0) break
    try {
      records.push(JSON.parse(text.slice(at, end)) as T)
    } catch {
      break
    }
    at = end + 1
    whole = at
  }
  if (whole < text.length) writeWhole(path, text.slice(0, whole))
  return records
}

/** A JSON document, or undefined where there is no file. */
export function readJson<T>(path: string): T | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined
}
