import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { TokenStream } from '../text/shards.ts'
import { createBatches, scoredWindows } from './batches.ts'
import { openData } from './data.ts'

const root = mkdtempSync(join(tmpdir(), 'bitlaw-data-'))
afterAll(() => rmSync(root, { recursive: true }))
const cache = join(root, 'cache')

function write(folder: string, name: string, text: string): string {
  mkdirSync(join(root, folder), { recursive: true })
  writeFileSync(join(root, folder, name), text)
  return join(root, folder)
}

function tokens(stream: TokenStream): number[] {
  const out = new Int32Array(stream.length)
  stream.read(0, out)
  return [...out]
}

/** Documents of a byte stream. */
function texts(stream: TokenStream): string[] {
  return String.fromCharCode(...tokens(stream))
    .split('\u0100')
    .slice(0, -1)
}

for (let i = 0; i < 20; i++) write('docs', `${i}.txt`, `document ${i}`)

test('a share of documents is held out by the seed, and nothing of it is trained on', async () => {
  const data = { train: join(root, 'docs'), valid: { share: 0.1 }, tokenizer: { kind: 'bytes' as const } }
  const splits = new Set<string>()
  for (const seed of [0, 0, 1, 2, 3]) {
    const { train, valid, documents } = await openData(data, seed, { cache })
    expect(documents).toEqual({ train: 18, valid: 2 })
    expect([...texts(train), ...texts(valid)].sort()).toEqual(
      Array.from({ length: 20 }, (_, i) => `document ${i}`).sort(),
    )
    splits.add(texts(valid).join())
  }
  expect(splits.size).toBeGreaterThan(1)
  expect(splits.size).toBeLessThan(5)
  for (const [share, valid] of [
    [0.001, 1],
    [0.999, 19],
  ])
    expect((await openData({ ...data, valid: { share } }, 0, { cache })).documents.valid).toBe(valid)
})

test('a held-out document that also stands in the training folder is left out of training, and said', async () => {
  write('held', 'copy.txt', 'document 7')
  const said: string[] = []
  const data = { train: join(root, 'docs'), valid: join(root, 'held'), tokenizer: { kind: 'bytes' as const } }
  const { train, valid, notices } = await openData(data, 0, { cache, onNotice: text => said.push(text) })
  expect(texts(valid)).toEqual(['document 7'])
  expect(texts(train)).toHaveLength(19)
  expect(texts(train)).not.toContain('document 7')
  expect(notices).toEqual(['1 of 20 training documents are held out too and were left out of training'])
  expect(said).toEqual([...notices, expect.stringMatching(/^tokenizing .*B of text/)])
  await expect(openData({ ...data, train: join(root, 'held') }, 0, { cache })).rejects.toThrow(
    /only documents that are held out/,
  )
  await expect(openData({ ...data, train: join(root, 'held'), valid: { share: 0.5 } }, 0, { cache })).rejects.toThrow(
    /expected at least 2/,
  )
})

test('a BPE vocabulary is trained on training documents alone', async () => {
  write('words', 'a.txt', 'aaaa bbbb aaaa bbbb')
  write('unseen', 'b.txt', 'zzzz zzzz zzzz zzzz')
  const said: string[] = []
  const { tokenizer, valid } = await openData(
    { train: join(root, 'words'), valid: join(root, 'unseen'), tokenizer: { kind: 'bpe', vocab: 300 } },
    0,
    { cache, onNotice: text => said.push(text) },
  )
  expect((await tokenizer.encode('zzzz')).length).toBe(4)
  expect((await tokenizer.encode('aaaa')).length).toBe(1)
  expect(valid.length).toBe(4 + 15 + 1)
  expect(said[0]).toMatch(/gives a vocabulary of \d+ tokens, not 300/)
})

test('each epoch reads every window once, in another order; a batch depends on seed and step alone', () => {
  const length = 1000
  const stream: TokenStream = {
    length,
    read(start, out) {
      if (start < 0 || start + out.length > length) throw new Error('outside')
      for (let i = 0; i < out.length; i++) out[i] = start + i
    },
    close() {},
  }
  const context = 16
  const starts = (seed: number, steps: number[]) => {
    const batches = createBatches(stream, context, 3, seed)
    return steps.map(step => {
      const inputs = new Int32Array(3 * context)
      const targets = new Int32Array(3 * context)
      batches.fill(step, inputs, targets)
      expect([...targets]).toEqual([...inputs].map(token => token + 1))
      return [0, 1, 2].map(i => inputs[i * context])
    })
  }
  const { windows } = createBatches(stream, context, 3, 0)
  expect(windows).toBe(61)
  const steps = Array.from({ length: 61 }, (_, i) => i + 1)
  const seen = starts(5, steps).flat() // three epochs
  const epochs = [0, 1, 2].map(e => seen.slice(e * 61, (e + 1) * 61))
  for (const epoch of epochs) {
    expect(new Set(epoch).size).toBe(61)
    expect(new Set(epoch.map(start => start % context)).size).toBe(1)
  }
  expect(epochs[0].map(start => start >> 4)).not.toEqual(epochs[1].map(start => start >> 4))
  expect(starts(5, [40])).toEqual([seen.slice(117, 120)])
  expect(starts(6, [1])).not.toEqual([seen.slice(0, 3)])
  expect(createBatches({ ...stream, length: 17 }, context, 3, 0).windows).toBe(1)
})

test('scored windows are spread evenly', () => {
  expect(scoredWindows(1001, 10, 50)).toEqual([0, 200, 400, 600, 800])
  expect(scoredWindows(35, 10, 1e6)).toEqual([0, 10, 20])
  expect(scoredWindows(11, 10, 1)).toEqual([0])
})
