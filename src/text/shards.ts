// Token shards: a corpus as one flat file of ids (uint16 where the vocabulary fits, else uint32), made once and read by
// position, so that neither a long corpus nor its tokens need memory. A document is written as [bos] ids [eos], each
// where the tokenizer has it; where the two are one token it stands once, behind the document.
import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hashOf, type TokenizerTraits, temporaryName, tokenizerTraits, writeWhole } from './cache.ts'
import { type CorpusSource, listFiles, loadDocuments } from './corpus.ts'
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

/** Characters after which a document is cut into pieces for the tokenizer: short ones are encoded several times faster. */
const WORD_PIECE = 2 ** 9
/** The same where a cut may add a token. */
const LONG_PIECE = 2 ** 20
/** Characters that are encoded in one batch. */
const BATCH = 2 ** 22

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

/**
 * A text in pieces of about `size` characters, cut before the last white space of a gap between words (a line end where
 * there is one near). Byte-level tokenizers give the same ids for the pieces as for the whole; one that puts a space
 * before each text (SentencePiece's way) gives one more token for each cut.
 */
export function cutText(text: string, size: number): string[] {
  const pieces: string[] = []
  let start = 0
  while (text.length - start > size) {
    const from = start + size
    const line = text.slice(from, from + size).search(/\n[\p{L}\p{N}\p{P}]/u)
    const at = line >= 0 ? line : text.slice(from).search(/[ \n][\p{L}\p{N}\p{P}]/u)
    if (at < 0) break
    pieces.push(text.slice(start, from + at))
    start = from + at
  }
  pieces.push(text.slice(start))
  return pieces
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
  const { key: tokenizerKey, splitsAtWords } = traits ?? (await tokenizerTraits(tokenizer))
  const key = hashOf('shard 1', tokenizerKey, ...documents.map(document => document.hash))
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
  try {
    let waiting: string[] = []
    let waitingSize = 0
    const encode = async () => {
      signal?.throwIfAborted()
      const pieces = waiting.map(text => cutText(text, splitsAtWords ? WORD_PIECE : LONG_PIECE))
      waiting = []
      waitingSize = 0
      const ids = await tokenizer.encodeBatch(pieces.flat())
      let at = 0
      for (const parts of pieces) {
        const mine = ids.slice(at, at + parts.length)
        at += parts.length
        const length = mine.reduce((sum, part) => sum + part.length, 0)
        const extra = (bos !== null && bos !== eos ? 1 : 0) + (eos !== null ? 1 : 0)
        const out = bytesPerToken === 2 ? new Uint16Array(length + extra) : new Uint32Array(length + extra)
        let to = 0
        if (bos !== null && bos !== eos) out[to++] = bos
        for (const part of mine) {
          out.set(part, to)
          to += part.length
        }
        if (eos !== null) out[to] = eos
        await file.writeFile(new Uint8Array(out.buffer))
        written += out.length
        ends.push(written)
      }
    }
    // documents are read while the batch before them is encoded
    let running: Promise<void> = Promise.resolve()
    for await (const { text } of loadDocuments(source)) {
      waiting.push(text)
      waitingSize += text.length
      if (waitingSize < BATCH) continue
      await running
      running = encode()
      running.catch(() => {}) // it is awaited later
    }
    await running
    await encode()
    if (ends.length !== documents.length)
      throw new Error(`corpus changed while it was read: ${ends.length} documents, expected ${documents.length}`)
    await file.sync()
    await file.close()
    await rename(partial, path)
  } catch (error) {
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
