// Log-probabilities of a reference model on a text, written once and read for every model that is compared with it:
// a JSON line that says what they are of, then float32 rows (scored tokens, vocab) in the order of scoring.
import { createHash } from 'node:crypto'
import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'
import type { ReferenceSource } from './divergence.ts'
import type { TokenizedText } from './loss.ts'
import type { Window } from './windows.ts'

/** What a file's rows belong to; another text, window plan or vocabulary is refused. */
interface Header {
  format: 'bitlaw-reference-1'
  vocab: number
  rows: number
  /** Hash of the token ids and windows. */
  text: string
}

function describe({ ids, start }: TokenizedText, windows: readonly Window[], vocab: number): Header {
  const hash = createHash('sha256')
  hash.update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
  hash.update(
    JSON.stringify([
      start,
      windows.map(window => [window.first, window.inputs, window.firstTarget, window.targets, window.startToken]),
    ]),
  )
  return {
    format: 'bitlaw-reference-1',
    vocab,
    rows: windows.reduce((sum, window) => sum + window.targets, 0),
    text: hash.digest('hex'),
  }
}

/** Longest header line that is read. */
const LONGEST_HEADER = 4096

/** A source that reads `path` where it exists, and otherwise asks `make` and writes what it gives; call `close` when the whole text was scored (true) or not (false: nothing is kept). */
export function referenceFile(
  path: string,
  text: TokenizedText,
  windows: readonly Window[],
  vocab: number,
  make: (() => ReferenceSource) | undefined,
): { source: ReferenceSource; close(whole: boolean): void } {
  const header = describe(text, windows, vocab)
  return existsSync(path) ? readFrom(path, header) : writeTo(path, header, make)
}

function readFrom(path: string, expected: Header): { source: ReferenceSource; close(whole: boolean): void } {
  const file = openSync(path, 'r')
  try {
    const head = Buffer.alloc(LONGEST_HEADER)
    const line = head
      .subarray(0, readSync(file, head, 0, LONGEST_HEADER, 0))
      .toString('utf8')
      .split('\n')[0]
    let header: Partial<Header>
    try {
      header = JSON.parse(line)
    } catch {
      throw new RequestError(`'${path}' is not a file of reference log-probabilities`)
    }
    if (header.format !== expected.format)
      throw new RequestError(`'${path}' is not a file of reference log-probabilities`)
    if (header.vocab !== expected.vocab)
      throw new RequestError(`'${path}' is of a vocabulary of ${header.vocab}, expected the model's ${expected.vocab}`)
    if (header.text !== expected.text)
      throw new RequestError(`'${path}' was written for another text, context, stride or limit`)
    let place = Buffer.byteLength(line) + 1
    const size = place + expected.rows * expected.vocab * 4
    if (fstatSync(file).size !== size)
      throw new RequestError(`'${path}' has ${fstatSync(file).size} bytes, expected ${size}`)
    return {
      source: (_inputs, _batch, _length, rows) => {
        const values = new Float32Array(rows.length * expected.vocab)
        const bytes = new Uint8Array(values.buffer)
        for (let at = 0; at < bytes.length; ) {
          const count = readSync(file, bytes, at, bytes.length - at, place + at)
          if (count === 0) throw new Error(`'${path}' ended early`)
          at += count
        }
        place += bytes.length
        return values
      },
      close: () => closeSync(file),
    }
  } catch (error) {
    closeSync(file)
    throw error
  }
}

function writeTo(
  path: string,
  header: Header,
  make: (() => ReferenceSource) | undefined,
): { source: ReferenceSource; close(whole: boolean): void } {
  if (!make) throw new RequestError(`no reference at '${path}' yet, give --reference MODEL to write it`)
  const inner = make()
  const temporary = `${path}.${process.pid}.tmp`
  const file = openSync(temporary, 'w')
  writeSync(file, `${JSON.stringify(header)}\n`)
  return {
    source: (inputs, batch, length, rows) => {
      const values = Float32Array.from(inner(inputs, batch, length, rows))
      writeSync(file, new Uint8Array(values.buffer))
      return values
    },
    close: whole => {
      closeSync(file)
      if (whole) renameSync(temporary, path)
      else rmSync(temporary, { force: true })
    },
  }
}
