import { expect, test } from 'vitest'
import { againstRivals, bySign } from './judgement.ts'
import { bitsInks, logTicks, NAME_INKS } from './plot.ts'
import { interpolate, line, meanInterval, rSquared, studentQuantile, unitMeans } from './statistics.ts'

test("Student's quantiles are those of the tables", () => {
  for (const [
    freedom,
    value,
  ] of [[1, 12.7062], [2, 4.3027], [3, 3.1824], [5, 2.5706], [10, 2.2281], [30, 2.0423]] as const) // biome-ignore format: a table
    expect(Math.abs(studentQuantile(freedom) / value - 1)).toBeLessThan(0.01)
  expect(studentQuantile(1e9)).toBeCloseTo(1.959964, 5)
  expect(Math.abs(studentQuantile(10, 0.99) / 3.1693 - 1)).toBeLessThan(0.01)
})

test('an interval of a mean widens where models are few, and has no bounds for one', () => {
  const { mean, low, high, count } = meanInterval([1, 2, 3])
  expect([mean, count]).toEqual([2, 3])
  expect(low).toBeCloseTo(2 - 4.3027 / Math.sqrt(3), 3)
  expect(high - mean).toBeCloseTo(mean - low, 12)
  expect(meanInterval([5])).toMatchObject({ mean: 5, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY })
})

test('many quantizations of one model are one observation', () => {
  const rows = [{ model: 'a', x: 1 }, { model: 'a', x: 3 }, { model: 'b', x: 5 }] // biome-ignore format: a table
  expect(
    unitMeans(
      rows,
      row => row.model,
      row => row.x,
    ),
  ).toEqual([2, 5])
})

test('a verdict needs three units and an interval on one side', () => {
  expect(bySign([-1, -1.1], 'below', 'x', 'models').verdict).toBe('not testable here')
  expect(bySign([-1, -1.1, -0.9], 'below', 'x', 'models').verdict).toBe('supported')
  expect(bySign([-1, -1.1, -0.9], 'above', 'x', 'models').verdict).toBe('contradicted')
  expect(bySign([-1, 1, 0.2], 'below', 'x', 'models').verdict).toBe('tie')
})

test('the best of several: one sure loss contradicts, level rivals tie, and the intervals widen with their number', () => {
  const sure = [0.5, 0.51, 0.49]
  const level = [-0.1, 0.1, 0.02]
  const won = sure.map(x => -x)
  const verdict = (values: number[][], standard: 'best' | 'unbeaten') =>
    againstRivals(
      values.map((one, i) => ({ name: `rival ${i}`, values: one })),
      'choice',
      'models',
      standard,
    ).verdict
  expect(verdict([won, sure], 'unbeaten')).toBe('contradicted')
  expect(verdict([won, level], 'unbeaten')).toBe('supported')
  expect(verdict([won, level], 'best')).toBe('tie')
  expect(verdict([won, won], 'best')).toBe('supported')
  expect(verdict([[1, 2]], 'best')).toBe('not testable here')
  // Alone this rival wins; among five rivals the same values are no longer sure.
  const slight = [0.3, 0.5, 0.7, 0.4]
  expect(verdict([slight], 'best')).toBe('contradicted')
  expect(verdict([slight, level, level, level, level], 'best')).toBe('tie')
})

test('lines, R² and interpolation', () => {
  expect(line([0, 1, 2], [1, 3, 5])).toMatchObject({ a: 1, b: 2, bError: 0 })
  expect(line([1, 1, 1], [1, 2, 3])).toBeNull()
  expect(rSquared([1, 2, 3], [1, 2, 3])).toBe(1)
  expect(rSquared([1, 2], [1, 2])).toBeNaN()
  const points = [{ x: 1, y: 0 }, { x: 100, y: 2 }] // biome-ignore format: a table
  expect(interpolate(points, 10)).toBeCloseTo(1, 12)
  expect(interpolate(points, 101)).toBeNull()
})

/** WCAG contrast of two #rrggbb colours. */
function contrast(a: string, b: string): number {
  const luminance = (hex: string) => {
    const [r, g, b] = [1, 3, 5].map(at => {
      const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x)
  return (high + 0.05) / (low + 0.05)
}

test('every ink is read on white and on dark ground', () => {
  const bits = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16]
  const inks = bitsInks(bits, 'bits')
  expect(inks.domain).toEqual(bits)
  for (const ink of [...inks.range, ...NAME_INKS])
    for (const ground of ['#ffffff', '#15181c']) expect([ink, contrast(ink, ground) >= 3]).toEqual([ink, true])
})

test('ticks of logarithmic axes are few and within the data', () => {
  expect(logTicks([3e5, 3e6])).toEqual([5e5, 1e6, 2e6])
  expect(logTicks([1e-5, 1])).toEqual([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1])
  expect(logTicks([3, 4])).toEqual([3, 4])
  expect(logTicks([2.8e5, 6.9e5])).toEqual([3e5, 4e5, 5e5, 6e5])
  expect(logTicks([3.1, 3.2])).toEqual([3.1, 3.2])
})
