// Token shards: a corpus as one flat file of ids (uint16 where the vocabulary fits, else uint32), made once and read by
// position, so that neither a long corpus nor its tokens need memory. A document is written as [bos] ids [eos], each
// where the tokenizer has it; where the two are one token it stands once, behind the document.
import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hashOf, type TokenizerTraits, temporaryName, tokenizerTraits, writeWhole } from './cache.ts'
import { type CorpusSource, listFiles, loadDocuments } from './corpus.ts'
import { cutText, PIECE } from './cut.ts'
import type { Tokenizer } from './tokenizer.ts'

/** A document as far as it is known without its text. */
export interface DocumentInfo {
  name: string
  /** Length in UTF-8. */
  bytes: number
  /** SHA-256 of the text. */
  hash: string
}

/** A tokenized corpus on disk. */
export interface Shard {
  path: string
  /** 2 or 4. */
  bytesPerToken: number
  /** Where each document ends in the file, in tokens. */
  ends: number[]
}

/** Part of a shard as one run of tokens. */
export interface TokenStream {
  readonly length: number
  /** Fills `out` with the tokens from `start` on. */
  read(start: number, out: Int32Array): void
  close(): void
}

/** Characters that are encoded in one batch. */
const BATCH = 2 ** 20

/** Part of a document; whether the document begins and ends with it. */
interface Part {
  text: string
  first: boolean
  last: boolean
}

/** What this process has read, by the files' names, sizes and times: a study's child trains many runs on one corpus. */
const scanned = new Map<string, readonly DocumentInfo[]>()

/** Names, sizes and hashes of a source's documents, in order; reads everything once, and again where a file has changed. */
export async function scanDocuments(source: CorpusSource): Promise<readonly DocumentInfo[]> {
  const id = hashOf(
    ...listFiles(source).map(({ name, path }) => {
      const { size, mtimeMs, ctimeMs, ino } = statSync(path)
      return JSON.stringify([name, path, size, mtimeMs, ctimeMs, ino])
    }),
  )
  const before = scanned.get(id)
  if (before) return before
  const found: DocumentInfo[] = []
  for await (const { name, text } of loadDocuments(source)) {
    const hash = createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 32)
    found.push({ name, bytes: Buffer.byteLength(text), hash })
  }
  scanned.set(id, found)
  return found
}

/** Where shards are kept, and what is told while one is made. */
export interface ShardOptions {
  cache: string
  /** tokenizerTraits' answer, where it is known. */
  traits?: TokenizerTraits
  /** Called with the bytes of text before a shard is made that the cache has not. */
  onStart?: ((bytes: number) => void) | undefined
  /** Stops the work between batches; nothing is kept. */
  signal?: AbortSignal | undefined
}

/** Where a shard that the cache holds whole would be read from, or undefined. */
function readShard(path: string): Shard | undefined {
  if (!existsSync(`${path}.json`) || !existsSync(path)) return undefined
  const { bytesPerToken, ends } = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as Omit<Shard, 'path'>
  if (statSync(path).size !== (ends.at(-1) ?? 0) * bytesPerToken) return undefined
  return { path, bytesPerToken, ends }
}

/** The shard of a source: from the cache, else tokenized and put there. `documents` is scanDocuments' answer for the source. */
export async function tokenizeCorpus(
  source: CorpusSource,
  documents: readonly DocumentInfo[],
  tokenizer: Tokenizer,
  { cache, traits, onStart, signal }: ShardOptions,
): Promise<Shard> {
  const { key: tokenizerKey, cut } = traits ?? (await tokenizerTraits(tokenizer))
  const key = hashOf('shard 2', tokenizerKey, ...documents.map(document => document.hash))
  const path = join(cache, 'tokens', `${key}.bin`)
  const found = readShard(path)
  if (found !== undefined) return found
  onStart?.(documents.reduce((sum, document) => sum + document.bytes, 0))
  await mkdir(join(cache, 'tokens'), { recursive: true })
  const bytesPerToken = tokenizer.vocab <= 65536 ? 2 : 4
  const { bos, eos } = tokenizer
  const partial = temporaryName(path)
  const file = await open(partial, 'w')
  const ends: number[] = []
  let written = 0
  const lead = bos === eos ? null : bos
  const write = async (pieces: readonly Part[], ids: readonly Int32Array[]) => {
    const length = ids.reduce((sum, part) => sum + part.length, 0)
    const Ids = bytesPerToken === 2 ? Uint16Array : Uint32Array
    const out = new Ids(length + 2 * pieces.length)
    let to = 0
    for (const [i, { first, last }] of pieces.entries()) {
      if (first && lead !== null) out[to++] = lead
      out.set(ids[i], to)
      to += ids[i].length
      if (last && eos !== null) out[to++] = eos
      if (last) ends.push(written + to)
    }
    await file.writeFile(new Uint8Array(out.buffer, 0, to * bytesPerToken))
    written += to
  }
  // While a batch is encoded the next one is read and cut, and the one before is written: at most two are held.
  let before: Promise<void> = Promise.resolve()
  try {
    let waiting: Part[] = []
    let size = 0
    const encode = async () => {
      signal?.throwIfAborted()
      const pieces = waiting
      waiting = []
      size = 0
      const ids = tokenizer.encodeBatch(pieces.map(({ text }) => text))
      ids.catch(() => {}) // awaited below, or not where the batch before it fails
      await before
      before = ids.then(found => write(pieces, found))
      before.catch(() => {}) // the same
    }
    for await (const { text } of loadDocuments(source)) {
      const parts = cutText(text, PIECE, cut)
      for (const [i, part] of parts.entries()) {
        waiting.push({ text: part, first: i === 0, last: i === parts.length - 1 })
        size += part.length
        if (size >= BATCH) await encode()
      }
    }
    await encode()
    await before
    if (ends.length !== documents.length)
      throw new Error(`corpus changed while it was read: ${ends.length} documents, expected ${documents.length}`)
    await file.sync()
    await file.close()
    await rename(partial, path)
  } catch (error) {
    await before.catch(() => {}) // it may still write
    await file.close().catch(() => {})
    await rm(partial, { force: true })
    throw error
  }
  await writeWhole(`${path}.json`, JSON.stringify({ bytesPerToken, ends }))
  return { path, bytesPerToken, ends }
}

/** The chosen documents of a shard (by number, in the shard's order) as one stream. */
export function openStream(shard: Shard, chosen: readonly number[]): TokenStream {
  const { path, bytesPerToken, ends } = shard
  const starts: number[] = [] // in the file, of each run of neighbouring documents
  const befores: number[] = [] // tokens of the stream before that run
  let length = 0
  let last = -1
  for (const document of chosen) {
    const start = document === 0 ? 0 : ends[document - 1]
    if (start !== last) {
      starts.push(start)
      befores.push(length)
    }
    length += ends[document] - start
    last = ends[document]
  }
  const descriptor = openSync(path, 'r')
  let buffer = bytesPerToken === 2 ? new Uint16Array(1024) : new Uint32Array(1024)
  return {
    length,
    read(start, out) {
      if (start < 0 || start + out.length > length)
        throw new Error(`tokens ${start} to ${start + out.length} of a stream of ${length}`)
      if (buffer.length < out.length)
        buffer = bytesPerToken === 2 ? new Uint16Array(out.length) : new Uint32Array(out.length)
      let low = 0
      let high = starts.length - 1
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if (befores[middle] <= start) low = middle
        else high = middle - 1
      }
      for (let done = 0; done < out.length; low++) {
        const at = start + done
        const count = Math.min(out.length - done, (befores[low + 1] ?? length) - at)
        const bytes = count * bytesPerToken
        for (let got = 0; got < bytes; ) {
          const step = readSync(
            descriptor,
            new Uint8Array(buffer.buffer),
            got,
            bytes - got,
            (starts[low] + at - befores[low]) * bytesPerToken + got,
          )
          if (step === 0) throw new Error(`'${path}' became shorter while it was read`)
          got += step
        }
        for (let i = 0; i < count; i++) out[done + i] = buffer[i]
        done += count
      }
    },
    close: () => closeSync(descriptor),
  }
}
