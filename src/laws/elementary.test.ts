import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fastExp, logRatio } from './elementary.ts'

test('e^x is right to two units in the last place', () => {
  fc.assert(
    fc.property(fc.double({ min: -699, max: 699, noNaN: true }), x => {
      expect(Math.abs(fastExp(x) / Math.exp(x) - 1)).toBeLessThan(5e-16)
    }),
    { numRuns: 5000 },
  )
  for (const x of [-1e9, -750, -701, 0, 701, 710, 1e9]) expect(fastExp(x)).toBe(Math.exp(x))
  expect(fastExp(Number.NaN)).toBeNaN()
})

test('ln of a ratio is right near 1 and far from it', () => {
  fc.assert(
    fc.property(fc.double({ min: -0.2, max: 0.2, noNaN: true }), d => {
      const wanted = Math.log1p(d)
      expect(Math.abs(logRatio(3 * (1 + d), 3, Math.log(3)) - wanted)).toBeLessThan(4e-16)
    }),
    { numRuns: 5000 },
  )
  expect(logRatio(50, 2, Math.log(2))).toBeCloseTo(Math.log(25), 14)
  expect(logRatio(-1, 2, Math.log(2))).toBeNaN()
})
