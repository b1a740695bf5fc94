// Expected squared error on N(0,1) of grids that follow the least and the largest value of a block: two-dimensional
// quadrature over how far apart they are and where zero lies between them.
import { absmaxError, absmaxQuantile, errorOf, errorWithin, integrate } from './gaussian.ts'
import { normalBetween, normalDensity } from './normal.ts'

/** A grid's levels, times their scale, for a block whose values lie from low to high. */
type GridOf = (low: number, high: number) => { levels: Float64Array; scale: number }

/** Mean error of a block given its least and largest value. */
function blockError(n: number, low: number, high: number, grid: GridOf, stochastic: boolean): number {
  const { levels, scale } = grid(low, high)
  const ends = errorOf(levels, scale, low, stochastic) + errorOf(levels, scale, high, stochastic)
  return (ends + ((n - 2) * errorWithin(levels, scale, low, high, stochastic)) / normalBetween(low, high)) / n
}

/** Density of least and largest of n normals. */
function rangeDensity(n: number, low: number, high: number): number {
  return n * (n - 1) * normalDensity(low) * normalDensity(high) * normalBetween(low, high) ** (n - 2)
}

/** Cuts [a, b] into pieces no longer than `width` and sums their integrals. */
function piecewise(f: (x: number) => number, a: number, b: number, width: number, nodes: number): number {
  const pieces = Math.max(Math.ceil((b - a) / width), 1)
  let sum = 0
  for (let i = 0; i < pieces; i++)
    sum += integrate(f, a + ((b - a) * i) / pieces, a + ((b - a) * (i + 1)) / pieces, nodes)
  return sum
}

/** Mean squared error where a block's levels run from its least to its largest value (q4_1, q5_1); `stored` is what becomes of a scale. */
export function rangeMse(top: number, n: number, stored: (d: number) => number): number {
  const steps = Float64Array.from({ length: top + 1 }, (_, i) => i)
  const far = absmaxQuantile(n, 1 - 1e-13)
  // Seen from the middle of the two, in which the error is even.
  return piecewise(
    middle =>
      2 *
      piecewise(
        half => {
          const low = middle - half
          const high = middle + half
          const scale = stored((high - low) / top)
          const levels = steps.map(step => step + low / scale)
          return 2 * rangeDensity(n, low, high) * blockError(n, low, high, () => ({ levels, scale }), false)
        },
        1e-3,
        far,
        far / 6,
        6,
      ),
    0,
    far,
    far / 6,
    6,
  )
}

/** Mean squared error of `uint<bits>` (a zero point on the grid) or `int<bits>full` in blocks of n. */
export function gridMse(kind: 'uint' | 'full', bits: number, n: number, stochastic: boolean): number {
  const top = 2 ** bits - 1
  const full = 2 ** (bits - 1)
  const codes = Float64Array.from({ length: top + 1 }, (_, code) => code)
  // A block without a negative value: its grid begins at 0, and a full one loses its upper half.
  const positive = (m: number) => {
    const scale = m / top
    const levels = kind === 'full' ? codes.map(code => code - full) : codes
    const others = errorWithin(levels, scale, 0, m, stochastic) / normalBetween(0, m)
    return (errorOf(levels, scale, m, stochastic) + (n - 1) * others) / n
  }
  const far = absmaxQuantile(n, 1 - 1e-13)
  const oneSided = (error: (m: number) => number) =>
    piecewise(m => n * normalDensity(m) * normalBetween(0, m) ** (n - 1) * error(m), 0, far, far / 8, 8)
  if (kind === 'full') {
    const levels = codes.map(code => (code - full) / (full - 0.5))
    const symmetric = (m: number) => {
      const others = errorWithin(levels, m, 0, m, stochastic) / normalBetween(0, m)
      return (errorOf(levels, m, m, stochastic) + (n - 1) * others) / n
    }
    // All blocks as if symmetric, then those without a negative value as they are.
    return absmaxError({ block: n, levels, scaleOf: m => m, stochastic }) + oneSided(positive) - oneSided(symmetric)
  }
  // Zero at share r of the range: the zero point jumps where r * top passes a half.
  let sum = 2 * oneSided(positive)
  for (let zero = 0; zero <= top; zero++) {
    const from = Math.max((zero - 0.5) / top, 0)
    const to = Math.min((zero + 0.5) / top, 1)
    const levels = codes.map(code => code - zero)
    const grid: GridOf = (low, high) => ({ levels, scale: (high - low) / top })
    sum += piecewise(
      r =>
        piecewise(
          range => {
            const density = rangeDensity(n, -r * range, (1 - r) * range) * range
            return density < 1e-12 ? 0 : density * blockError(n, -r * range, (1 - r) * range, grid, stochastic)
          },
          0,
          2 * far,
          far / 4,
          6,
        ),
      from,
      to,
      0.04,
      top > 32 ? 2 : 4,
    )
  }
  return sum
}
