import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { trainBpe } from './bpe.ts'
import { bytesTokenizer } from './bytes.ts'
import { fromJson } from './huggingface.ts'
import { cutText, openStream, scanDocuments, tokenizeCorpus } from './shards.ts'
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

test('a long text is cut where byte-level words end, so the ids stay the same', async () => {
  const text = "One  two\n\n three's  \n\tfour. five,six\r\nseven \u00a0 eight\n".repeat(40)
  const tokenizer = fromJson((await trainBpe([{ text }], 300)).json, '', 'test')
  const whole = [...(await tokenizer.encode(text))]
  for (const size of [1, 7, 50, 333]) {
    const pieces = cutText(text, size)
    expect(pieces.join('')).toBe(text)
    expect(pieces.length).toBeGreaterThan(1)
    expect((await tokenizer.encodeBatch(pieces)).flatMap(ids => [...ids])).toEqual(whole)
  }
})
