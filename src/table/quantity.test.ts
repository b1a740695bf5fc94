import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RequestError } from '../formats/error.ts'
import { parseQuantity, printQuantity, type QuantityKind } from './quantity.ts'

test('quantities are read as people write them', () => {
  const cases: [string | number, QuantityKind, number][] = [
    ['70b', 'count', 70e9],
    ['1.5e9', 'count', 1.5e9],
    ['15T', 'count', 15e12],
    ['1.1k', 'count', 1100],
    ['2.3M', 'count', 2300000],
    ['0.07b', 'count', 70000000],
    ['1,234,567', 'count', 1234567],
    ['20_000', 'count', 20000],
    [' 8 B ', 'count', 8e9],
    ['.5m', 'count', 500000],
    [12, 'count', 12],
    [1e21, 'flops', 1e21],
    ['5.76e23', 'flops', 5.76e23],
    ['1e21 FLOP', 'flops', 1e21],
    ['3 EFLOPs', 'flops', 3e18],
    ['24GiB', 'bytes', 24 * 2 ** 30],
    ['80GB', 'bytes', 80e9],
    ['512', 'bytes', 512],
    ['$2M', 'money', 2e6],
    ['$ 1,500', 'money', 1500],
    ['1500000', 'money', 1.5e6],
    ['90s', 'seconds', 90],
    ['15m', 'seconds', 900],
    ['6h', 'seconds', 21600],
    ['2 d', 'seconds', 172800],
    ['250ms', 'seconds', 0.25],
  ]
  for (const [text, kind, value] of cases) expect(parseQuantity(text, kind), `${text} ${kind}`).toBe(value)
})

test('anything else is refused by name, with an example', () => {
  const wrong: [string, QuantityKind][] = [
    ['', 'count'],
    ['b', 'count'],
    ['70x', 'count'],
    ['70bb', 'count'],
    ['5e', 'count'],
    ['5e', 'flops'],
    ['1,5b', 'count'],
    ['1,23', 'count'],
    ['-3b', 'count'],
    ['1.2.3', 'count'],
    ['$5', 'count'],
    ['24GiB', 'count'],
    ['24 furlongs', 'bytes'],
    ['1e999', 'count'],
    ['NaN', 'count'],
    ['Infinity', 'flops'],
    ['constructor', 'count'],
    ['5constructor', 'count'],
    ['6 hours ago', 'seconds'],
  ]
  for (const [text, kind] of wrong) {
    expect(() => parseQuantity(text, kind), `'${text}' ${kind}`).toThrow(RequestError)
    expect(() => parseQuantity(text, kind, '--budget')).toThrow(
      /^--budget '.*' is not a quantity, expected something like /,
    )
  }
})

test('quantities are printed with a unit and three digits', () => {
  const cases: [number, QuantityKind, string][] = [
    [70e9, 'count', '70B'],
    [1.2345e6, 'count', '1.23M'],
    [999.7e6, 'count', '1B'],
    [512, 'count', '512'],
    [0, 'count', '0'],
    [-2500, 'count', '-2.5K'],
    [0.00123, 'count', '0.00123'],
    [24 * 2 ** 30, 'bytes', '24 GiB'],
    [100, 'bytes', '100 B'],
    [5.76e23, 'flops', '5.76e+23 FLOP'],
    [2e6, 'money', '$2M'],
    [-1500, 'money', '-$1.5K'],
    [5400, 'seconds', '1.5 h'],
    [86400 * 3, 'seconds', '3 d'],
    [45, 'seconds', '45 s'],
    [0.25, 'seconds', '250 ms'],
    [0, 'seconds', '0 s'],
    [Number.NaN, 'count', 'NaN'],
  ]
  for (const [value, kind, text] of cases) expect(printQuantity(value, kind), `${value} ${kind}`).toBe(text)
})

test('what is printed reads back to three digits', () => {
  const kinds = fc.constantFrom<QuantityKind>('count', 'bytes', 'flops', 'money', 'seconds')
  fc.assert(
    fc.property(kinds, fc.double({ min: -3, max: 20, noNaN: true }), (kind, exponent) => {
      const value = 10 ** exponent
      const back = parseQuantity(printQuantity(value, kind), kind)
      expect(Math.abs(back / value - 1)).toBeLessThan(0.0051)
    }),
  )
})
