// Every tokenizer against the golden ids, and through a saved copy.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { golden, resolveGoldenPath, shared } from '../../test/shared.ts'
import { writeGguf } from '../checkpoint/gguf-write.ts'
import { vocabularyMetadata } from './gguf-vocabulary-write.ts'
import { createPieceEncoder, decodePieces, PIECE, type Pieces, prepareText } from './pieces.ts'
import { readSentencepiece } from './sentencepiece.ts'
import { openTokenizer, type Tokenizer } from './tokenizer.ts'

interface Case {
  ids: number[]
  ids_special: number[]
  decoded: string
  decoded_skip_special?: string
  'tokenizers_0.23.3'?: Partial<Omit<Case, 'tokenizers_0.23.3'>>
}

/** The tokenizer's file in a `source` such as `shared/tokenizers/gpt2/{vocab.json,merges.txt}; more words`. */
function sourcePath(source: string): string {
  const first = source.split(/[;,] |;/)[0].trim()
  return resolveGoldenPath(first.replace(/\{([^,}]+)[^}]*\}/, '$1'))
}

/** A saved copy of a tokenizer, opened again. */
async function reopened(tokenizer: Tokenizer): Promise<Tokenizer> {
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-tokenizer-'))
  try {
    await tokenizer.save(folder)
    return await openTokenizer(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const folder = golden('tokenizers')
const files = folder ? readdirSync(folder) : []

describe.each(files.filter(name => name.endsWith('.json') && name !== 'strings.json'))('%s', name => {
  const { source, strings, cases } = JSON.parse(readFileSync(join(folder as string, name), 'utf8')) as {
    source: string
    strings: string
    cases: Case[]
  }
  const texts = JSON.parse(readFileSync(join(folder as string, strings), 'utf8')) as string[]

  test('ids and texts', async () => {
    const tokenizer = await openTokenizer(sourcePath(source))
    const batch = await tokenizer.encodeBatch(texts, { special: true })
    for (let i = 0; i < texts.length; i++) {
      const expected = cases[i]
      const other = expected['tokenizers_0.23.3'] ?? {}
      const either = <T>(a: T, b: T | undefined) => (b === undefined ? [a] : [a, b])
      expect(either(expected.ids, other.ids)).toContainEqual([...(await tokenizer.encode(texts[i]))])
      expect(either(expected.ids_special, other.ids_special)).toContainEqual([...batch[i]])
      expect(either(expected.decoded, other.decoded)).toContain(await tokenizer.decode(expected.ids))
      if (expected.decoded_skip_special !== undefined)
        expect(either(expected.decoded_skip_special, other.decoded_skip_special)).toContain(
          await tokenizer.decode(expected.ids_special, { skipSpecial: true }),
        )
    }
  })

  test('a saved copy gives the same ids', async () => {
    const tokenizer = await openTokenizer(sourcePath(source))
    const copy = await reopened(tokenizer)
    expect(copy.vocab).toBe(tokenizer.vocab)
    expect([copy.bos, copy.eos]).toEqual([tokenizer.bos, tokenizer.eos])
    expect(await copy.encodeBatch(texts)).toEqual(await tokenizer.encodeBatch(texts))
  })
})

test.each(files.filter(name => name.endsWith('.json') && name !== 'strings.json'))('%s: through GGUF', async name => {
  const { source, strings } = JSON.parse(readFileSync(join(folder as string, name), 'utf8'))
  const texts = (JSON.parse(readFileSync(join(folder as string, strings), 'utf8')) as string[]).filter(
    // llama.cpp has no normalization, and reads no special tokens in text of a SentencePiece vocabulary
    text => text === text.normalize('NFC') && !/<\/?\w+>|<\|\w+\|>/.test(text),
  )
  const tokenizer = await openTokenizer(sourcePath(source))
  const dir = mkdtempSync(join(tmpdir(), 'bitlaw-tokenizer-'))
  try {
    const vocabulary = vocabularyMetadata(tokenizer, tokenizer.vocab + 3)
    writeGguf(join(dir, 'v.gguf'), vocabulary, [])
    const copy = await openTokenizer(join(dir, 'v.gguf'))
    expect(copy.vocab).toBe(tokenizer.vocab + 3)
    for (const special of [false, true])
      expect(await copy.encodeBatch(texts, { special })).toEqual(await tokenizer.encodeBatch(texts, { special }))
  } finally {
    rmSync(dir, { recursive: true })
  }
})

describe.each(files.filter(name => name.endsWith('.gguf') && files.includes(`${name}.inp`)))('%s', name => {
  test("llama.cpp's own strings", async () => {
    const path = join(folder as string, name)
    const texts = readFileSync(`${path}.inp`, 'utf8').split('\n__ggml_vocab_test__\n')
    const ids = readFileSync(`${path}.out`, 'utf8').split('\n')
    const tokenizer = await openTokenizer(path)
    const copy = await reopened(tokenizer)
    expect([copy.vocab, copy.bos, copy.eos]).toEqual([tokenizer.vocab, tokenizer.bos, tokenizer.eos])
    for (let i = 0; i < texts.length; i++) {
      const expected = ids[i].trim() === '' ? [] : ids[i].trim().split(' ').map(Number)
      expect([...(await tokenizer.encode(texts[i]))]).toEqual(expected)
      expect([...(await copy.encode(texts[i]))]).toEqual(expected)
    }
  })
})

const llama2c = shared('models', 'stories260k', 'tok512.bin')
test.skipIf(!llama2c)('llama2.c pieces give what the SentencePiece model beside them gives', async () => {
  const [a, b] = await Promise.all([
    openTokenizer(llama2c as string),
    openTokenizer((llama2c as string).replace('.bin', '.model')),
  ])
  const text = readFileSync(shared('corpora', 'tinystories_sample_2MiB.txt') as string, 'utf8')
    .slice(0, 50_000)
    .replace(/ +/g, ' ')
    .trim()
  expect(await a.encode(text)).toEqual(await b.encode(text))
  expect((await reopened(a)).kind).toBe('sentencepiece')
})

/** A small vocabulary of words over a, b and space, with bytes, scored at random. */
function smallPieces(model: 'bpe' | 'unigram', words: readonly string[], scores: readonly number[]): Pieces {
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`)
  const texts = ['<unk>', ...bytes, ...words]
  const types = texts.map((_, i) => (i === 0 ? PIECE.unknown : i <= 256 ? PIECE.byte : PIECE.normal))
  return {
    model,
    texts,
    types: Uint8Array.from(types),
    scores: Float32Array.from(texts, (_, i) => (i <= 256 ? 0 : scores[i - 257])),
    unknown: 0,
  }
}

const vocabulary = fc
  .uniqueArray(fc.stringMatching(/^[ab\u2581]{1,4}$/), { minLength: 1, maxLength: 30 })
  .chain(words =>
    fc.tuple(
      fc.constant(words),
      fc.array(fc.integer({ min: -20, max: -1 }), { minLength: words.length, maxLength: words.length }),
    ),
  )

/** BPE by the letter of its definition: the best-scored neighbours merge, the leftmost first, over the whole text. */
function slowBpe(pieces: Pieces, text: string): string[] {
  const symbols = [...text]
  const scoreOf = (word: string) => {
    const id = pieces.texts.indexOf(word)
    return id > 256 ? pieces.scores[id] : Number.NEGATIVE_INFINITY
  }
  for (;;) {
    let best = -1
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = scoreOf(symbols[i] + symbols[i + 1])
      if (score > Number.NEGATIVE_INFINITY && (best < 0 || score > scoreOf(symbols[best] + symbols[best + 1]))) best = i
    }
    if (best < 0) return symbols
    symbols.splice(best, 2, symbols[best] + symbols[best + 1])
  }
}

test('BPE by score equals its definition, and text comes back', () => {
  fc.assert(
    fc.property(vocabulary, fc.stringMatching(/^[ab \u00e9]{0,24}$/), ([words, scores], text) => {
      const pieces = smallPieces('bpe', [...new Set([...words, '\u2581'])], [...scores, -30])
      const prepared = prepareText(text, { addPrefix: true, removeExtraSpaces: false })
      const ids = createPieceEncoder(pieces)(prepared)
      const expected = slowBpe(pieces, prepared).flatMap(symbol => {
        const id = pieces.texts.indexOf(symbol)
        return id > 256 ? [id] : [...new TextEncoder().encode(symbol)].map(byte => byte + 1)
      })
      expect([...ids]).toEqual(expected)
      expect(decodePieces(pieces, ids, { dropPrefix: true, unknownText: '' })).toBe(text)
    }),
    { numRuns: 300 },
  )
})

test('the unigram split has the best score of all splits', () => {
  fc.assert(
    fc.property(vocabulary, fc.stringMatching(/^[ab]{1,8}$/), ([words, scores], text) => {
      const pieces = smallPieces('unigram', [...new Set([...words, 'a', 'b'])], [...scores, -30, -30])
      const scoreOf = new Map(pieces.texts.map((word, id) => [word, pieces.scores[id]] as const))
      const all = (rest: string): number =>
        rest === ''
          ? 0
          : Math.max(
              ...Array.from(
                rest,
                (_, i) => (scoreOf.get(rest.slice(0, i + 1)) ?? Number.NEGATIVE_INFINITY) + all(rest.slice(i + 1)),
              ),
            )
      const ids = createPieceEncoder(pieces)(text)
      expect([...ids].reduce((sum, id) => sum + pieces.scores[id], 0)).toBeCloseTo(all(text), 3)
    }),
    { numRuns: 200 },
  )
})

test('broken tokenizer files are refused', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'bitlaw-tokenizer-'))
  await expect(openTokenizer(dir)).rejects.toThrow('no tokenizer in')
  await expect(openTokenizer(join(dir, 'x.json'))).rejects.toThrow('no tokenizer at')
  rmSync(dir, { recursive: true })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
      try {
        readSentencepiece(bytes, 'x')
      } catch (error) {
        expect((error as Error).message).toMatch(/'x'/)
      }
    }),
  )
})
