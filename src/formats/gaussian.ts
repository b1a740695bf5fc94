// Expected squared error of rounding N(0,1) to levels in blocks scaled by their absmax, by numerical integration. The
// absmax m of n values has the distribution P(|x| < m)^n; given m, one value is m or -m and the others are normals within.
import { normalBetween, normalDensity, normalTail, normalWithin } from './normal.ts'

/** Nodes and weights of Gauss-Legendre quadrature on [-1, 1], found by Newton's method on the Legendre polynomial. */
function legendre(count: number): { nodes: Float64Array; weights: Float64Array } {
  const nodes = new Float64Array(count)
  const weights = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5))
    let slope = 1
    for (let step = 0; step < 50; step++) {
      let p = 1
      let before = 0
      for (let k = 1; k <= count; k++) {
        const next = ((2 * k - 1) * x * p - (k - 1) * before) / k
        before = p
        p = next
      }
      slope = (count * (x * p - before)) / (x * x - 1)
      const change = p / slope
      x -= change
      if (Math.abs(change) < 1e-15) break
    }
    nodes[i] = x
    weights[i] = 2 / ((1 - x * x) * slope * slope)
  }
  return { nodes, weights }
}

const RULES = Array.from({ length: 13 }, (_, count) => legendre(Math.max(count, 1)))

/** Integral of f over [a, b] with that many nodes (1 to 12). */
export function integrate(f: (x: number) => number, a: number, b: number, count: number): number {
  const { nodes, weights } = RULES[count]
  const half = (b - a) / 2
  const middle = (a + b) / 2
  let sum = 0
  for (let i = 0; i < count; i++) sum += weights[i] * f(middle + half * nodes[i])
  return sum * half
}

const NORMALISER = 1 / Math.sqrt(2 * Math.PI)

/** Integral over [a, b] of (x - low)(x - high) times the normal density; low = high is a squared error. */
function quadratic(low: number, high: number, a: number, b: number): number {
  const order = b - a < 1e-3 ? 2 : b - a < 0.05 ? 3 : 6
  const { nodes, weights } = RULES[order]
  const pieces = Math.ceil((b - a) / 0.7)
  const half = (b - a) / (2 * pieces)
  let sum = 0
  for (let piece = 0; piece < pieces; piece++) {
    const middle = a + half * (2 * piece + 1)
    for (let i = 0; i < order; i++) {
      const x = middle + half * nodes[i]
      sum += weights[i] * (x - low) * (x - high) * Math.exp((-x * x) / 2)
    }
  }
  return sum * half * NORMALISER
}

/** Books with more levels are integers, whose even steps are so small that the normal density is flat over one. */
const FINE = 1024

/** As errorWithin, for evenly spaced levels so fine that an error is spread evenly over a step; beyond them values are clipped. */
function errorWithinFine(levels: Float64Array, scale: number, a: number, b: number, stochastic: boolean): number {
  const step = (levels[1] - levels[0]) * scale
  const [low, high] = [levels[0] * scale, levels[levels.length - 1] * scale]
  const inside = Math.max(normalBetween(Math.max(a, low), Math.min(b, high)), 0)
  let sum = (inside * step * step) / (stochastic ? 6 : 12)
  if (a < low) sum += quadratic(low, low, Math.max(a, -14), Math.min(b, low))
  if (b > high) sum += quadratic(high, high, Math.max(a, high), Math.min(b, 14))
  return sum
}

/** Integral over a < x < b of the squared error of rounding x to the nearest of scale * levels (or by chance to one of the two around it) times the normal density. */
export function errorWithin(levels: Float64Array, scale: number, a: number, b: number, stochastic = false): number {
  const count = levels.length
  if (count > FINE) return errorWithinFine(levels, scale, a, b, stochastic)
  const far = Math.min(b, 14)
  let left = Math.max(a, -14)
  let sum = 0
  if (stochastic) {
    for (let i = 0; i <= count && left < far; i++) {
      const right = i < count ? Math.min(levels[i] * scale, far) : far
      if (right <= left) continue
      if (i === 0 || i === count) {
        const end = levels[i === 0 ? 0 : count - 1] * scale
        sum += quadratic(end, end, left, right)
      } else sum -= quadratic(levels[i - 1] * scale, levels[i] * scale, left, right)
      left = right
    }
    return sum
  }
  for (let i = 0; i < count && left < far; i++) {
    const right = i + 1 < count ? Math.min(((levels[i] + levels[i + 1]) / 2) * scale, far) : far
    if (right <= left) continue
    sum += quadratic(levels[i] * scale, levels[i] * scale, left, right)
    left = right
  }
  return sum
}

/** Squared error of one number, rounded to the nearest (or by chance) of scale * levels. */
export function errorOf(levels: Float64Array, scale: number, x: number, stochastic = false): number {
  let low = 0
  let high = levels.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (levels[middle] * scale <= x) low = middle + 1
    else high = middle
  }
  // levels[low - 1] * scale <= x < levels[low] * scale
  const below = low === 0 ? levels[0] * scale : levels[low - 1] * scale
  const above = low === levels.length ? below : levels[low] * scale
  if (stochastic && low > 0 && low < levels.length) return (x - below) * (above - x)
  return Math.min(Math.abs(x - below), Math.abs(above - x)) ** 2
}

/** The m between which and 0 a share `p` of the absmaxes of n normals lies, by bisection. */
export function absmaxQuantile(n: number, p: number): number {
  let low = 0
  let high = 40
  const below = (m: number) =>
    p < 0.5 ? normalWithin(m) ** n < p : -Math.expm1(n * Math.log1p(-2 * normalTail(m))) > 1 - p
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    if (below(middle)) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** What the quadrature over absmaxes needs to know. */
export interface AbsmaxProblem {
  readonly block: number
  readonly levels: Float64Array
  /** The scale that is stored for an absmax. */
  readonly scaleOf: (absmax: number) => number
  /** Where scaleOf jumps. */
  readonly jumps?: readonly number[]
  /** All values are known to be smaller than this (a tensor's absmax). */
  readonly limit?: number
  readonly stochastic?: boolean
  /** The scale has the extreme value's sign: seen so, that value is always positive. */
  readonly signed?: boolean
}

/** Mean squared error a value. */
export function absmaxError({
  block: n,
  levels,
  scaleOf,
  jumps = [],
  limit = Infinity,
  stochastic,
  signed,
}: AbsmaxProblem): number {
  const all = limit === Infinity ? 1 : normalWithin(limit)
  const low = absmaxQuantile(n, 1e-16)
  const high = Math.min(absmaxQuantile(n, 1 - 1e-16), limit)
  const panel = (high - low) / 8
  const cuts = [...new Set([low, ...jumps.filter(jump => jump > low && jump < high), high])].sort((a, b) => a - b)
  // Density of the absmax, and the errors of one extreme value and of the n - 1 others, all over n.
  const density = (m: number) => ((2 * normalDensity(m)) / all) * (normalWithin(m) / all) ** (n - 1)
  const extreme = (m: number) => {
    const above = errorOf(levels, scaleOf(m), m, stochastic)
    return density(m) * (signed ? above : (above + errorOf(levels, scaleOf(m), -m, stochastic)) / 2)
  }
  const others = (m: number) =>
    (density(m) * (n - 1) * errorWithin(levels, scaleOf(m), -m, m, stochastic)) / normalWithin(m)
  let sum = 0
  for (let i = 0; i + 1 < cuts.length; i++) {
    const width = cuts[i + 1] - cuts[i]
    const pieces = Math.ceil(width / panel - 1e-9)
    const nodes = width < panel / 3 ? 3 : 8
    for (let k = 0; k < pieces; k++)
      sum += integrate(others, cuts[i] + (k * width) / pieces, cuts[i] + ((k + 1) * width) / pieces, nodes)
    // While a scale stands still the extreme value passes over levels, and its error has a kink at each.
    const small = jumps.length > 0 ? Math.ceil(1024 / cuts.length) : pieces
    for (let k = 0; k < small; k++)
      sum += integrate(
        extreme,
        cuts[i] + (k * width) / small,
        cuts[i] + ((k + 1) * width) / small,
        jumps.length > 0 ? 2 : nodes,
      )
  }
  return sum
}

/** Golden section search for a minimum of f in [low, high]. */
function minimise(f: (x: number) => number, low: number, high: number): number {
  const golden = (Math.sqrt(5) - 1) / 2
  let a = high - golden * (high - low)
  let b = low + golden * (high - low)
  let atA = f(a)
  let atB = f(b)
  while (high - low > 1e-8 * high) {
    if (atA < atB) {
      high = b
      b = a
      atB = atA
      a = high - golden * (high - low)
      atA = f(a)
    } else {
      low = a
      a = b
      atA = atB
      b = low + golden * (high - low)
      atB = f(b)
    }
  }
  return (low + high) / 2
}

/** The one scale of least error without blocks, and that error: a scan of all scales, then a search in its three lowest valleys. */
export function bestScale(levels: Float64Array, stochastic = false): { scale: number; mse: number } {
  const error = (scale: number) => errorWithin(levels, scale, -Infinity, Infinity, stochastic)
  // From where all levels are needed to where the smallest ones alone span the normal.
  let finest = 1
  for (const level of levels) if (level !== 0) finest = Math.min(finest, Math.abs(level))
  const scales: number[] = []
  for (let scale = 0.4; scale < 5 / finest; scale *= 1.06) scales.push(scale)
  const errors = scales.map(error)
  const valleys = scales
    .map((scale, i) => ({ scale, mse: errors[i], i }))
    .filter(({ i }) => i > 0 && i + 1 < scales.length && errors[i] <= errors[i - 1] && errors[i] <= errors[i + 1])
    .sort((a, b) => a.mse - b.mse)
  return valleys.slice(0, 3).reduce(
    (best, { scale }) => {
      const found = minimise(error, scale / 1.06, scale * 1.06)
      const mse = error(found)
      return mse < best.mse ? { scale: found, mse } : best
    },
    { scale: 1, mse: Infinity },
  )
}
