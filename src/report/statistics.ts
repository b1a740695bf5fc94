// The report's statistics. Quantizations of one model share its noise, so what counts as one observation is a model
// (or one size at one amount of data): values are averaged within such a unit first, and intervals run over units.
import { normalQuantile } from '../formats/normal.ts'

/** A mean with its 95% interval, and over how many units it runs. */
export interface MeanInterval {
  mean: number
  low: number
  high: number
  count: number
}

/** Two-sided quantile of Student's t: exact for 1 and 2 degrees of freedom, else its expansion about the normal (within 1% at 95%, 4% at 99%). */
export function studentQuantile(freedom: number, confidence = 0.95): number {
  if (freedom <= 1) return Math.tan((confidence * Math.PI) / 2)
  if (freedom === 2) return confidence * Math.sqrt(2 / (1 - confidence ** 2))
  const z = normalQuantile((1 + confidence) / 2)
  const [z3, z5, z7] = [z ** 3, z ** 5, z ** 7]
  return (
    z +
    (z3 + z) / (4 * freedom) +
    (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom ** 2) +
    (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * freedom ** 3)
  )
}

/** The arithmetic mean; NaN of nothing. */
export const meanOf = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length

/** Mean and Student's interval over independent units; one unit has an interval without bounds. */
export function meanInterval(values: readonly number[], confidence = 0.95): MeanInterval {
  const mean = meanOf(values)
  const count = values.length
  if (count < 2) return { mean, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY, count }
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (count - 1)
  const half = studentQuantile(count - 1, confidence) * Math.sqrt(variance / count)
  return { mean, low: mean - half, high: mean + half, count }
}

/** Groups items by a key, in order of first appearance. */
export function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}

/** One value a unit: the mean of its items. */
export function unitMeans<T>(items: readonly T[], unitOf: (item: T) => string, measure: (item: T) => number): number[] {
  return [...groupBy(items, unitOf).values()].map(group => meanOf(group.map(measure)))
}

/** 1 - residual over total sum of squares; NaN for fewer than 3 pairs. */
export function rSquared(measured: readonly number[], predicted: readonly number[]): number {
  if (measured.length < 3) return Number.NaN
  const mean = meanOf(measured)
  let residual = 0
  let total = 0
  measured.forEach((value, i) => {
    residual += (value - predicted[i]) ** 2
    total += (value - mean) ** 2
  })
  return 1 - residual / total
}

/** Least-squares line y = a + b x with the standard error of b; null for fewer than 3 points. */
export function line(x: readonly number[], y: readonly number[]): { a: number; b: number; bError: number } | null {
  const count = x.length
  if (count < 3) return null
  const [mx, my] = [meanOf(x), meanOf(y)]
  let xx = 0
  let xy = 0
  for (let i = 0; i < count; i++) {
    xx += (x[i] - mx) ** 2
    xy += (x[i] - mx) * (y[i] - my)
  }
  if (xx === 0) return null
  const b = xy / xx
  const a = my - b * mx
  const residual = y.reduce((sum, v, i) => sum + (v - a - b * x[i]) ** 2, 0)
  return { a, b, bError: Math.sqrt(residual / (count - 2) / xx) }
}

/** y at x on the broken line through points that are sorted by x, straight in ln x; null outside them. */
export function interpolate(points: readonly { x: number; y: number }[], x: number): number | null {
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1], points[i]]
    if (x < a.x || x > b.x || a.x === b.x) continue
    const share = Math.log(x / a.x) / Math.log(b.x / a.x)
    return a.y + share * (b.y - a.y)
  }
  return null
}

/** A number with its sign. */
export const signed = (x: number, digits = 4): string => `${x >= 0 ? '+' : ''}${x.toFixed(digits)}`

/** `+0.0103 nats [+0.0061, +0.0144]`. */
export const printInterval = ({ mean, low, high }: MeanInterval, unit = 'nats'): string =>
  `${signed(mean)}${unit ? ` ${unit}` : ''} [${signed(low)}, ${signed(high)}]`
