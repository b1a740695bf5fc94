import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { trainBpe } from './bpe.ts'
import { type CutRule, cutRule, cutText, encodeText } from './cut.ts'
import { byteLevelJson, fromJson } from './huggingface.ts'
import { openTokenizer, type Tokenizer } from './tokenizer.ts'
import { PRE_TOKENIZERS } from './words.ts'

const FRAGMENTS =
  "a|the|house|I'll|we'|s|'S|12|3|4567|.|,|?!|(|)|\"|$|/|é|e\u0301|\u0301|ß|д|слово|漢字|。|مرحبا|😀|<|endoftext|>|\t|\n|\n\n|\r\n|\u00a0|\u0085|\u200b|\ufeff|\u3000|_|▁|  |   ".split(
    '|',
  )
const WORDS = ['a', 'the', 'house.', "we'll", 'é', 'слово', '漢字', '12', '(x)', 'e\u0301', 'a,'].flatMap(word => [
  ` ${word}`,
  `${word} `,
])
const texts = fc
  .array(fc.oneof(fc.constantFrom(...FRAGMENTS, '<|endoftext|>'), fc.constantFrom(...WORDS)), {
    minLength: 20,
    maxLength: 80,
  })
  .map(parts => parts.join(''))

async function expectSameIds(tokenizer: Tokenizer, rule: CutRule, runs: number): Promise<void> {
  let cuts = 0
  await fc.assert(
    fc.asyncProperty(texts, fc.integer({ min: 1, max: 30 }), async (text, size) => {
      const pieces = cutText(text, size, rule)
      expect(pieces.join(rule === 'for-space' ? ' ' : '')).toBe(text)
      cuts += pieces.length - 1
      const [whole] = await tokenizer.encodeBatch([text])
      expect((await tokenizer.encodeBatch(pieces)).flatMap(ids => [...ids])).toEqual([...whole])
    }),
    { numRuns: runs },
  )
  expect(cuts).toBeGreaterThan(runs)
}

test('every known way of cutting words gives the ids of the whole text', async () => {
  const sample = fc.sample(texts, { numRuns: 200, seed: 1 }).join(' ')
  const { vocab, merges } = (
    JSON.parse((await trainBpe([{ text: sample }], 600)).json) as {
      model: { vocab: Record<string, number>; merges: (string | [string, string])[] }
    }
  ).model
  const written = merges.map(merge => (typeof merge === 'string' ? merge : merge.join(' ')))
  const specials = [{ id: Object.keys(vocab).length, text: '<|endoftext|>' }]
  const alternatives = new Set(Object.values(PRE_TOKENIZERS))
  for (const patterns of alternatives) {
    const json = byteLevelJson({ vocab, merges: written, specials, patterns })
    expect(cutRule(json)).toBe('before-space')
    await expectSameIds(fromJson(json, '', 'test'), 'before-space', 100)
  }
})

const real = { gpt2: 'before-space', 'gpt-neox/20B_tokenizer.json': 'before-space', llama: 'for-space' } as const
const folder = shared('tokenizers')
test.skipIf(folder === undefined)('real vocabularies give the ids of the whole text', async () => {
  for (const [name, rule] of Object.entries(real)) {
    const path = join(folder as string, name)
    const tokenizer = await openTokenizer(path)
    expect(cutRule(tokenizer.json!)).toBe(rule)
    await expectSameIds(tokenizer, rule, 100)
    const long = fc.sample(texts, { numRuns: 1000, seed: 2 }).join('\n')
    expect(long.length).toBeGreaterThan(2 ** 16)
    expect(await encodeText(tokenizer, long)).toEqual(await tokenizer.encode(long))
  }
})

test('a tokenizer that is not known to end words at spaces is given whole texts', () => {
  const base = JSON.parse(
    byteLevelJson({ vocab: { a: 0 }, merges: [], specials: [], patterns: PRE_TOKENIZERS['gpt-2'] }),
  )
  const rule = (change: object) => cutRule(JSON.stringify({ ...base, ...change }))
  expect(rule({})).toBe('before-space')
  const split = (Regex: string, behavior = 'Isolated') => ({
    type: 'Split',
    pattern: { Regex },
    behavior,
    invert: false,
  })
  expect(rule({ pre_tokenizer: split('.{3}') })).toBe('nowhere')
  expect(rule({ pre_tokenizer: split(PRE_TOKENIZERS['gpt-2'][0], 'MergedWithNext') })).toBe('nowhere')
  expect(rule({ pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } })).toBe('nowhere')
  expect(rule({ pre_tokenizer: null })).toBe('nowhere')
  expect(rule({ normalizer: { type: 'Lowercase' } })).toBe('nowhere')
  expect(rule({ model: { ...base.model, type: 'Unigram' } })).toBe('nowhere')
  expect(rule({ model: { ...base.model, dropout: 0.1 } })).toBe('nowhere')
  expect(rule({ added_tokens: [{ content: 'a b' }] })).toBe('nowhere')
  expect(rule({ added_tokens: [{ content: '<mask>', lstrip: true }] })).toBe('nowhere')
  expect(rule({ added_tokens: [{ content: '    ' }] })).toBe('before-space')

  const normalizers = [
    { type: 'Prepend', prepend: '▁' },
    { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
  ]
  const spaced = { normalizer: { type: 'Sequence', normalizers }, pre_tokenizer: null }
  const model = { type: 'BPE', vocab: { '▁': 0, '▁a': 1 } }
  expect(rule({ ...spaced, model })).toBe('for-space')
  expect(rule({ ...spaced, model: { ...model, vocab: { ...model.vocab, 'a▁b': 2 } } })).toBe('nowhere')
  expect(rule({ ...spaced, model: { ...model, ignore_merges: true } })).toBe('nowhere')
  expect(rule({ ...spaced, model, normalizer: { type: 'Sequence', normalizers: normalizers.slice(1) } })).toBe(
    'nowhere',
  )
  expect(rule({ ...spaced, model, added_tokens: [{ content: '  ' }] })).toBe('nowhere')
})
