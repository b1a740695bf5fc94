import { expect, test } from 'vitest'
import { clusteredError, estimate, interval, isTie, mcnemar, pairedEstimate, quantile } from './statistics.ts'

test('mean and standard error', () => {
  const { mean, standardError } = estimate([1, 2, 3, 4])
  expect(mean).toBe(2.5)
  expect(standardError).toBeCloseTo(Math.sqrt(5 / 3 / 4), 14)
  expect(estimate([]).mean).toBeNaN()
  expect(estimate([3]).standardError).toBeNaN()
})

test('paired differences take away what both share', () => {
  const shared = [1, 5, 9, 2]
  expect(
    pairedEstimate(
      shared.map(x => x + 0.5),
      shared,
    ),
  ).toMatchObject({ mean: 0.5, standardError: 0 })
  expect(() => pairedEstimate([1], [1, 2])).toThrow('cannot pair')
})

test('clusters of one give nearly the plain error, clusters of copies more', () => {
  const values = [1, 2, 3, 4, 5, 9]
  expect(clusteredError(values, [1, 1, 1, 1, 1, 1])).toBeCloseTo(estimate(values).standardError, 12)
  const copies = values.flatMap(x => [x, x])
  expect(clusteredError(copies, [2, 2, 2, 2, 2, 2])).toBeCloseTo(estimate(values).standardError, 12)
})

test('intervals and ties', () => {
  expect(isTie({ mean: 0.1, standardError: 0.1 })).toBe(true)
  expect(isTie({ mean: 0.3, standardError: 0.1 })).toBe(false)
  expect(interval({ mean: 0, standardError: 1 })[1]).toBeCloseTo(1.96, 3)
})

test('quantiles interpolate', () => {
  expect(quantile([3, 1, 2], 0.5)).toBe(2)
  expect(quantile([0, 10], 0.99)).toBeCloseTo(9.9, 12)
})

test('the exact test of discordant pairs', () => {
  expect(mcnemar(0, 0)).toBe(1)
  expect(mcnemar(0, 5)).toBeCloseTo(2 / 32, 12)
  expect(mcnemar(5, 5)).toBe(1)
  expect(mcnemar(1, 9)).toBeCloseTo((2 * 11) / 1024, 12)
})
