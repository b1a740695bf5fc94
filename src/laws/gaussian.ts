// The least mean squared error of rounding N(0,1) to a set of levels times the best scale, by closed integrals: what the
// Gaussian-MSE law knows of a format. Values are kept, since every row of a table asks again.
import { gaussianMse } from '../formats/index.ts'

/** Gauss error function to double precision: its series for small x, a continued fraction for large. */
function erf(x: number): number {
  const z = Math.abs(x)
  if (z < 2.5) {
    let term = z
    let sum = z
    for (let k = 1; k < 80; k++) {
      term *= (-z * z) / k
      const next = term / (2 * k + 1)
      sum += next
      if (Math.abs(next) < 1e-17 * Math.abs(sum)) break
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  let fraction = 0
  for (let k = 60; k >= 1; k--) fraction = k / 2 / (z + fraction)
  return Math.sign(x) * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * (z + fraction)))
}

const density = (x: number): number => (Number.isFinite(x) ? Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) : 0)
const cumulative = (x: number): number => (1 + erf(x / Math.SQRT2)) / 2

/** Mean squared error of rounding N(0,1) to the nearest of sorted levels times scale. */
function errorAt(levels: readonly number[], scale: number): number {
  let sum = 0
  let low = Number.NEGATIVE_INFINITY
  for (let i = 0; i < levels.length; i++) {
    const level = levels[i] * scale
    const high = i + 1 < levels.length ? ((levels[i] + levels[i + 1]) / 2) * scale : Number.POSITIVE_INFINITY
    // integral of (x − level)² φ(x) over (low, high)
    const edge = (x: number) => (Number.isFinite(x) ? (x - 2 * level) * density(x) : 0)
    sum += edge(low) - edge(high) + (1 + level * level) * (cumulative(high) - cumulative(low))
    low = high
  }
  return sum
}

/** Least error over all scales, for sorted levels. */
function leastGaussianError(levels: readonly number[]): number {
  const top = Math.max(Math.abs(levels[0]), Math.abs(levels[levels.length - 1]))
  const golden = (Math.sqrt(5) - 1) / 2
  let low = 0.2 / top
  let high = 8 / top
  let a = high - golden * (high - low)
  let b = low + golden * (high - low)
  let atA = errorAt(levels, a)
  let atB = errorAt(levels, b)
  while (high - low > 1e-9 * high) {
    if (atA < atB) {
      high = b
      b = a
      atB = atA
      a = high - golden * (high - low)
      atA = errorAt(levels, a)
    } else {
      low = a
      a = b
      atA = atB
      b = low + golden * (high - low)
      atB = errorAt(levels, b)
    }
  }
  return Math.min(atA, atB)
}

/** Sorted levels of a name: midrise<k> (2^k, none at 0), int<k> (2^k − 1), uint<k> as midrise, ternary, fp<k>e<X>m<Y>; else undefined. */
function levelsOf(name: string): number[] | undefined {
  const midrise = /^(?:midrise|uint)(\d+)$/.exec(name)
  if (midrise)
    return Array.from({ length: 2 ** Number(midrise[1]) }, (_, i, n = 2 ** Number(midrise[1])) => 2 * i - n + 1)
  const integer = name === 'ternary' ? ['', '2'] : /^int(\d+)$/.exec(name)
  if (integer && Number(integer[1]) >= 2) {
    const top = 2 ** (Number(integer[1]) - 1) - 1
    return Array.from({ length: 2 * top + 1 }, (_, i) => i - top)
  }
  const float = /^(?:mx|nv)?fp\d+e(\d+)m(\d+)/.exec(/^(mx|nv)?fp4$/.test(name) ? 'fp4e2m1' : name)
  if (!float) return undefined
  const [exponents, mantissas] = [Number(float[1]), Number(float[2])]
  const bias = exponents === 0 ? 0 : 2 ** (exponents - 1) - 1
  const values = new Set([0])
  for (let e = 0; e < 2 ** exponents; e++)
    for (let m = 0; m < 2 ** mantissas; m++) {
      const v = e === 0 ? (m / 2 ** mantissas) * 2 ** (1 - bias) : (1 + m / 2 ** mantissas) * 2 ** (e - bias)
      values.add(v).add(-v)
    }
  return [...values].sort((a, b) => a - b)
}

const known = new Map<string, number>()

/** Least mean squared error of a format on N(0,1), by the name of its element (what follows @, / or + does not matter). */
export function gaussianError(name: string): number {
  const element = name.toLowerCase().split(/[@/+:]/)[0]
  const found = known.get(element) ?? known.get(name)
  if (found !== undefined) return found
  const levels = levelsOf(element)
  // formats with code books and scales of their own know their error themselves
  const error = levels === undefined ? gaussianMse(name) : leastGaussianError(levels)
  known.set(levels === undefined ? name : element, error)
  return error
}
