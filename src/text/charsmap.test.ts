// Compiled normalization on a trie made by hand: A to b, and A with a combining grave to nothing but x.
import { expect, test } from 'vitest'
import { compileCharsmap } from './charsmap.ts'
import { decodePieces, prepareText } from './pieces.ts'

/** Rules of a trie (units by index) and replacements. */
function rulesOf(units: Record<number, number>, replacements: string): Uint8Array {
  const length = Math.max(...Object.keys(units).map(Number)) + 1
  const text = new TextEncoder().encode(replacements)
  const rules = new Uint8Array(4 + 4 * length + text.length)
  const view = new DataView(rules.buffer)
  view.setUint32(0, 4 * length, true)
  for (const [index, unit] of Object.entries(units)) view.setUint32(4 + 4 * Number(index), unit >>> 0, true)
  rules.set(text, 4 + 4 * length)
  return rules
}

const LEAF = 0x100
const VALUE = 0x80000000
const offset = (n: number) => n << 10

// root -> 'A' (0x41) at 0x41, its children at 0x200 ^ byte, its value at 0x241; 'A' 0xcc at 0x2cc … 0x80 with value
const place = 0x41 ^ 0x200
const second = place ^ 0xcc
const third = second ^ 0x400 ^ 0x80
const rules = rulesOf(
  {
    0: 0,
    [0x41]: 0x41 | LEAF | offset(0x200),
    [place]: VALUE | 0,
    [second]: 0xcc | offset(0x400),
    [third]: 0x80 | LEAF | offset(0x800),
    [third ^ 0x800]: VALUE | 2,
  },
  'b\0x\0',
)

test('the longest string is replaced, what is unknown stays', () => {
  const normalize = compileCharsmap(rules, 'x')
  expect(normalize('AB\u00e9A')).toBe('bB\u00e9b')
  expect(normalize('A\u0300A\u0301')).toBe('xb\u0301')
  expect(normalize('')).toBe('')
})

test('rules that are cut off are refused', () => {
  expect(() => compileCharsmap(rules.subarray(0, 100), 'x')).toThrow("'x' has normalization rules that are cut off")
  expect(() => compileCharsmap(new Uint8Array(2), 'x')).toThrow('cut off')
})

test('spaces: put in front, taken away, kept', () => {
  expect(prepareText(' a  b ', { addPrefix: true, removeExtraSpaces: true })).toBe('\u2581a\u2581b')
  expect(prepareText(' a  b ', { addPrefix: false, removeExtraSpaces: false })).toBe('\u2581a\u2581\u2581b\u2581')
  expect(prepareText('  ', { addPrefix: true, removeExtraSpaces: true })).toBe('')
  const pieces = {
    model: 'bpe' as const,
    texts: ['\u2581', '\u2581a'],
    scores: new Float32Array(2),
    types: Uint8Array.of(1, 1),
    unknown: -1,
  }
  expect(decodePieces(pieces, [0, 1], { dropPrefix: true, unknownText: '' })).toBe(' a')
  expect(decodePieces(pieces, [0, 1], { dropPrefix: true, dropAll: true, unknownText: '' })).toBe('a')
})
