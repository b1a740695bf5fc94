import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { bpeFromCounts, splitWords, trainBpe } from './bpe.ts'
import { byteCharacters, bytesTokenizer, SEPARATOR } from './bytes.ts'
import { loadDocuments } from './corpus.ts'
import { fromJson } from './huggingface.ts'

/** The definition: count every pair anew for each merge. */
function slowMerges(counts: Map<string, number>, merges: number): [string, string][] {
  const names = byteCharacters()
  const rank = new Map(names.map((name, i) => [name, i + 1]))
  let words = [...counts].map(([word, count]) => ({ parts: [...Buffer.from(word)].map(byte => names[byte]), count }))
  const found: [string, string][] = []
  while (rank.size < 256 + merges) {
    const pairs = new Map<string, { pair: [string, string]; count: number }>()
    for (const { parts, count } of words)
      for (let i = 0; i + 1 < parts.length; i++) {
        const key = `${parts[i]} ${parts[i + 1]}`
        const entry = pairs.get(key) ?? { pair: [parts[i], parts[i + 1]], count: 0 }
        entry.count += count
        pairs.set(key, entry)
      }
    const order = ([a, b]: [string, string]) => rank.get(a)! * 2 ** 26 + rank.get(b)!
    const best = [...pairs.values()].sort((a, b) => b.count - a.count || order(a.pair) - order(b.pair))[0]
    if (best === undefined || best.count < 2) break
    const [left, right] = best.pair
    found.push(best.pair)
    if (!rank.has(left + right)) rank.set(left + right, rank.size + 1)
    words = words.map(({ parts, count }) => {
      const out: string[] = []
      for (let i = 0; i < parts.length; i++)
        if (parts[i] === left && parts[i + 1] === right) {
          out.push(left + right)
          i++
        } else out.push(parts[i])
      return { parts: out, count }
    })
  }
  return found
}

test('the merges are those of counting every pair anew', () => {
  const word = fc.stringMatching(/^[abc]{1,9}$/)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(word, fc.integer({ min: 1, max: 4 })), { maxLength: 12 }),
      fc.integer({ min: 0, max: 25 }),
      (words, n) => {
        const counts = new Map(words)
        expect(bpeFromCounts(counts, 257 + n).merges).toEqual(slowMerges(counts, n))
      },
    ),
    { numRuns: 100 },
  )
})

test('the library loads the vocabulary, splits as the trainer does, and returns every text', async () => {
  const texts = [
    "It's the 1st of many — naïve café,\r\n\n  indented\ttext; 東京 🙂 don't.",
    'a\u0085b\ufeffc  d\u3000e',
    '   ',
  ]
  const { json, vocab } = await trainBpe(
    texts.map(text => ({ text: text.repeat(3) })),
    400,
  )
  const tokenizer = fromJson(json, '', 'test')
  expect(tokenizer.vocab).toBe(Object.keys(vocab).length)
  for (const text of texts) expect(await tokenizer.decode(await tokenizer.encode(text))).toBe(text)
  for (const text of texts) {
    const apart = await tokenizer.encodeBatch(splitWords(text))
    expect([...(await tokenizer.encode(text))]).toEqual(apart.flatMap(ids => [...ids]))
  }
  expect(await tokenizer.encode(SEPARATOR)).toEqual(Int32Array.of(0))
})

test('the ids are those of the merges applied one after the other, on real text', async () => {
  const path = shared('corpora', 'tinystories_sample_2MiB.txt')
  if (path === undefined) return
  const documents: { text: string }[] = []
  for await (const document of loadDocuments(path)) documents.push(document)
  const { json, merges, vocab } = await trainBpe(documents, 1024)
  expect(Object.keys(vocab).length).toBe(1024)
  expect((await trainBpe([...documents].reverse(), 1024)).json).toBe(json)
  const tokenizer = fromJson(json, '', 'test')
  const names = byteCharacters()
  const text = documents
    .slice(0, 20)
    .map(document => document.text)
    .join('\n')
  const expected: number[] = []
  for (const word of splitWords(text)) {
    let parts = [...Buffer.from(word)].map(byte => names[byte])
    for (const [left, right] of merges) {
      const out: string[] = []
      for (let i = 0; i < parts.length; i++)
        if (parts[i] === left && parts[i + 1] === right) {
          out.push(left + right)
          i++
        } else out.push(parts[i])
      parts = out
    }
    expected.push(...parts.map(part => vocab[part]))
  }
  expect([...(await tokenizer.encode(text))]).toEqual(expected)
})

test('bytes: ids are bytes, and the saved tokenizer.json gives the same', async () => {
  const tokenizer = bytesTokenizer()
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-bytes-'))
  try {
    await tokenizer.save(folder)
    const same = fromJson(readFileSync(join(folder, 'tokenizer.json'), 'utf8'), folder, 'bytes')
    expect([same.vocab, same.bos, same.eos]).toEqual([257, 256, 256])
    for (const text of ['naïve — 東京 🙂\r\n', `one${SEPARATOR}two`, '']) {
      const ids = await tokenizer.encode(text)
      expect(await same.encode(text)).toEqual(ids)
      expect(await tokenizer.decode(ids)).toBe(text)
      expect(await tokenizer.decode(ids, { skipSpecial: true })).toBe(text.replace(SEPARATOR, ''))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
