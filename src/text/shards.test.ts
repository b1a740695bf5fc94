import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { bytesTokenizer } from './bytes.ts'
import { openStream, scanDocuments, tokenizeCorpus } from './shards.ts'
import type { Tokenizer } from './tokenizer.ts'

const root = mkdtempSync(join(tmpdir(), 'bitlaw-shards-'))
afterAll(() => rmSync(root, { recursive: true }))

const TEXTS = ['first document', 'zwei\n', 'третий', 'x']

function corpus(): string[] {
  return TEXTS.map((text, i) => {
    const path = join(root, `${i}.txt`)
    writeFileSync(path, text)
    return path
  })
}

test('documents are written one after the other, separated, and found again', async () => {
  const source = corpus()
  const documents = await scanDocuments(source)
  expect(documents.map(document => document.bytes)).toEqual(TEXTS.map(text => Buffer.byteLength(text)))
  let encoded = 0
  const counted: Tokenizer = {
    ...bytesTokenizer(),
    encodeBatch: texts => {
      encoded += texts.length
      return bytesTokenizer().encodeBatch(texts)
    },
  }
  const shard = await tokenizeCorpus(source, documents, counted, { cache: root })
  const expected = TEXTS.map(text => [...Buffer.from(text), 256])
  const read = (chosen: number[]) => {
    const stream = openStream(shard, chosen)
    const out = new Int32Array(stream.length)
    stream.read(0, out)
    stream.close()
    return [...out]
  }
  expect(read([0, 1, 2, 3])).toEqual(expected.flat())
  expect(read([0, 2, 3])).toEqual([0, 2, 3].flatMap(i => expected[i]))
  expect(await tokenizeCorpus(source, documents, counted, { cache: root })).toEqual(shard)
  expect(encoded).toBe(TEXTS.length)
  // A damaged shard is made again; nothing of a temporary name is left.
  truncateSync(shard.path, 4)
  await tokenizeCorpus(source, documents, counted, { cache: root })
  expect(encoded).toBe(2 * TEXTS.length)
  expect(statSync(shard.path).size).toBe(2 * expected.flat().length)
  expect(readdirSync(join(root, 'tokens')).filter(name => name.includes('partial'))).toEqual([])
})

test('any range of any choice of documents', async () => {
  const source = corpus()
  const shard = await tokenizeCorpus(source, await scanDocuments(source), bytesTokenizer(), { cache: root })
  const tokens = TEXTS.map(text => [...Buffer.from(text), 256])
  fc.assert(
    fc.property(fc.subarray([0, 1, 2, 3], { minLength: 1 }), fc.nat(), fc.nat(), (chosen, a, b) => {
      const all = chosen.flatMap(i => tokens[i])
      const start = a % all.length
      const out = new Int32Array(b % (all.length - start + 1))
      const stream = openStream(shard, chosen)
      stream.read(start, out)
      stream.close()
      expect([...out]).toEqual(all.slice(start, start + out.length))
    }),
  )
})

test('a vocabulary of more than 65536 tokens takes four bytes; begin and end are written where both exist', async () => {
  const source = corpus()
  const wide: Tokenizer = {
    ...bytesTokenizer(),
    kind: 'wide',
    vocab: 70000,
    bos: 69998,
    eos: 69999,
    encodeBatch: async texts => texts.map(text => Int32Array.of(65536 + text.length)),
  }
  const shard = await tokenizeCorpus(source, await scanDocuments(source), wide, { cache: root })
  expect(shard.bytesPerToken).toBe(4)
  const out = new Int32Array(6)
  openStream(shard, [1, 3]).read(0, out)
  expect([...out]).toEqual([69998, 65541, 69999, 69998, 65537, 69999])
})

test('a document of many batches is one run of tokens, whatever is cut where', async () => {
  const text = 'one two three, four. '.repeat(160_000)
  const path = join(root, 'long.txt')
  writeFileSync(path, text)
  const documents = await scanDocuments([path])
  let batches = 0
  const tokenizer: Tokenizer = {
    ...bytesTokenizer(),
    encodeBatch: texts => {
      batches++
      return bytesTokenizer().encodeBatch(texts)
    },
  }
  const traits = { key: 'long', cut: 'before-space' } as const
  const shard = await tokenizeCorpus([path], documents, tokenizer, { cache: root, traits })
  expect(batches).toBeGreaterThan(2)
  expect(shard.ends).toEqual([text.length + 1])
  const out = new Int32Array(text.length + 1)
  openStream(shard, [0]).read(0, out)
  expect(Buffer.from(out.subarray(0, -1)).toString()).toBe(text)
  expect(out.at(-1)).toBe(256)
})

test('a tokenizer that fails in any batch leaves no file', async () => {
  const path = join(root, 'failing.txt')
  writeFileSync(path, 'word after word '.repeat(240_000))
  const documents = await scanDocuments([path])
  for (const failing of [1, 2, 3]) {
    let batches = 0
    const tokenizer: Tokenizer = {
      ...bytesTokenizer(),
      encodeBatch: async texts => {
        if (++batches === failing) throw new Error(`batch ${failing}`)
        return bytesTokenizer().encodeBatch(texts)
      },
    }
    const traits = { key: `failing ${failing}`, cut: 'before-space' } as const
    await expect(tokenizeCorpus([path], documents, tokenizer, { cache: root, traits })).rejects.toThrow(
      `batch ${failing}`,
    )
    expect(readdirSync(join(root, 'tokens')).filter(name => name.includes('partial'))).toEqual([])
  }
})
