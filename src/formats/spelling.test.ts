import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RequestError } from './error.ts'
import { type Element, type Format, PRESETS, type ScaledFormat } from './format.ts'
import { formatOfBits, parseFormat, printFormat } from './spelling.ts'

const width = (low: number, high: number) => fc.integer({ min: low, max: high })

const element: fc.Arbitrary<Element> = fc.oneof(
  width(2, 16).map(bits => ({ kind: 'int', bits, book: 'exact' }) as const),
  width(2, 8).map(bits => ({ kind: 'int', bits, book: 'bnb' }) as const),
  width(2, 8).map(bits => ({ kind: 'full', bits }) as const),
  width(2, 8).map(bits => ({ kind: 'uint', bits }) as const),
  fc.constant({ kind: 'ternary' } as const),
  fc
    .tuple(width(2, 8), width(1, 7), fc.constantFrom('ieee', 'bnb', 'paper'))
    .filter(([bits, exponent]) => exponent < bits)
    .map(([bits, exponent, book]) => ({ kind: 'fp', bits, exponent, mantissa: bits - 1 - exponent, book }) as const),
  fc.constant({ kind: 'fp', bits: 8, exponent: 4, mantissa: 3, book: 'ocp' } as const),
  fc.constant({ kind: 'fp', bits: 4, exponent: 2, mantissa: 1, book: 'bnb_table' } as const),
  fc
    .tuple(width(2, 8), width(1, 7))
    .filter(([bits, exponent]) => exponent < bits)
    .map(([bits, exponent]) => ({ kind: 'dyn', bits, exponent }) as const),
  fc
    .tuple(width(2, 8), fc.constantFrom('midpoint_sample', 'midpoint_normal', 'paper_sample', 'paper_normal'))
    .map(([bits, book]) => ({ kind: 'quantile', bits, book }) as const),
  width(2, 8).map(bits => ({ kind: 'nf', bits, book: 'exact' }) as const),
  fc.constantFrom('bnb', 'bnb_table').map(book => ({ kind: 'nf', bits: 4, book }) as const),
)

const scaled: fc.Arbitrary<ScaledFormat> = fc.record({
  kind: fc.constant('scaled' as const),
  element,
  shares: fc.oneof(fc.integer({ min: 2, max: 1e9 }), fc.constantFrom('channel', 'token', 'tensor')),
  scale: fc.constantFrom('fp16', 'bf16', 'fp32', 'e8m0', 'e4m3', 'dyn8x256', 'exact'),
  centered: fc.boolean(),
  proxy: fc.constantFrom(0, 0.5, 1, 2, 12.25),
  hadamard: fc.boolean(),
  stochastic: fc.boolean(),
  clip: fc.boolean(),
})

const format: fc.Arbitrary<Format> = fc.oneof(
  scaled,
  fc.constantFrom('bf16', 'fp16', 'fp32').map(name => ({ kind: 'plain', name }) as const),
  fc.constantFrom(...PRESETS).map(name => ({ kind: 'preset', name }) as const),
)

test('parse of print is the record, and print of parse the spelling', () => {
  fc.assert(
    fc.property(format, record => {
      const spelling = printFormat(record)
      expect(parseFormat(spelling)).toEqual(record)
      expect(printFormat(spelling)).toBe(spelling)
    }),
    { numRuns: 1000 },
  )
})

test('other ways to spell the same are printed in the one way', () => {
  expect(printFormat('int4@64/fp16')).toBe('int4@64')
  expect(printFormat('dyn8.bnb@256')).toBe('dyn8@256')
  expect(printFormat('fp4e2m1.ieee@32/exact')).toBe('fp4e2m1@32/exact')
  expect(printFormat('quantile4.midpoint_sample@64')).toBe('quantile4@64')
  expect(printFormat('int3@64+clip+proxy2.0%+centered')).toBe('int3@64+centered+proxy2%+clip')
})

test('a wrong spelling names the part that is wrong, and a near one', () => {
  const wrong: [string, RegExp][] = [
    ['', /unknown format ''/],
    ['int9x', /unknown format 'int9x' \(did you mean int9\?\)/],
    ['int17@64', /int has 2 to 16 bits, not 17 \(did you mean int16\?\)/],
    ['nf9@64', /nf has 2 to 8 bits, not 9/],
    ['int4', /says not what shares a scale, expected for example int4@64/],
    ['int4@1', /bad shares '@1'/],
    ['int4@chanel', /bad shares '@chanel' .*did you mean channel\?/],
    ['int4@', /bad shares '@'/],
    ['int4@64/fp61', /unknown scale '\/fp61' .*did you mean fp16\?/],
    ['int4@64+centred', /unknown extra '\+centred' .*did you mean centered\?/],
    ['int4@64+clip+clip', /extra '\+clip' comes twice/],
    ['int4@64+proxy1%+proxy2%', /comes twice/],
    ['int4@64+proxy0%', /bad extra '\+proxy0%'/],
    ['int4@64+proxy100%', /bad extra/],
    ['int4@64+', /unknown extra '\+'/],
    ['fp4e3m1@64', /add up to 3 \(did you mean fp4e3m0\?\)/],
    ['fp8e4m3.ocq@64', /unknown code book '\.ocq' .*did you mean ocp\?/],
    ['fp4e2m1.ocp@64', /unknown code book '\.ocp'/],
    ['ternary.bnb@64', /unknown code book '\.bnb' .*no other/],
    ['mxfp4@32', /mxfp4 takes no @32/],
    ['bf16@64', /bf16 takes no @64/],
    ['int4/fp16@64', /is not spelled/],
    ['int4@64@64', /is not spelled/],
    ['Q4_K', /did you mean q4_k\?/],
    ['uint4full@64', /unknown format/],
  ]
  for (const [spelling, message] of wrong) {
    expect(() => parseFormat(spelling), spelling).toThrow(RequestError)
    expect(() => parseFormat(spelling), spelling).toThrow(message)
  }
})

test('no text makes the parser throw anything but a RequestError', () => {
  const pieces = fc.constantFrom(
    'int',
    'fp',
    'nf',
    '4',
    '16',
    'e2',
    'm1',
    '@',
    '/',
    '+',
    '.',
    'bnb',
    '64',
    'sr',
    'proxy',
    '%',
    ' ',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces).map(words => words.join('')),
      ),
      text => {
        try {
          parseFormat(text)
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError)
        }
      },
    ),
  )
})

test('n bits in a run configuration', () => {
  expect(printFormat(formatOfBits(4, 'weights')!)).toBe('int4@channel/exact')
  expect(printFormat(formatOfBits(8, 'kv')!)).toBe('int8@tensor/exact')
  expect(formatOfBits(16, 'activations')).toBeNull()
  expect(() => formatOfBits(1, 'weights')).toThrow(/precision of weights '1'/)
  expect(() => formatOfBits(4.5, 'kv')).toThrow(RequestError)
})
