// The standard normal distribution to double precision: density, distribution, quantile.

const SQRT_TWO_PI = Math.sqrt(2 * Math.PI)

/** Density at x. */
export function normalDensity(x: number): number {
  return Math.exp((-x * x) / 2) / SQRT_TWO_PI
}

/** P(X > x) for x >= 0, to about 1e-15 relative: the power series near 0, the continued fraction of Mills' ratio beyond. */
export function normalTail(x: number): number {
  if (x < 0) return 1 - normalTail(-x)
  if (x < 3) {
    let term = x
    let sum = x
    for (let n = 3; term > sum * 1e-17; n += 2) {
      term *= (x * x) / n
      sum += term
    }
    return 0.5 - normalDensity(x) * sum
  }
  let ratio = x
  for (let n = Math.ceil(60 + 300 / (x * x)); n >= 1; n--) ratio = x + n / ratio
  return normalDensity(x) / ratio
}

/** P(-x < X < x). */
export function normalWithin(x: number): number {
  if (!(x < 3)) return 1 - 2 * normalTail(x)
  let term = x
  let sum = x
  for (let n = 3; term > sum * 1e-17; n += 2) {
    term *= (x * x) / n
    sum += term
  }
  return 2 * normalDensity(x) * sum
}

/** P(low < X < high). */
export function normalBetween(low: number, high: number): number {
  if (low >= 0) return normalTail(low) - normalTail(high)
  if (high <= 0) return normalTail(-high) - normalTail(-low)
  return 1 - normalTail(-low) - normalTail(high)
}

/** The x with P(X < x) = p: a rational start, then Halley's steps on the tail. */
export function normalQuantile(p: number): number {
  if (p <= 0) return -Infinity
  if (p >= 1) return Infinity
  if (p === 0.5) return 0
  const tail = Math.min(p, 1 - p)
  const t = Math.sqrt(-2 * Math.log(tail))
  let x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
  for (let step = 0; step < 4; step++) {
    const error = (normalTail(x) - tail) / normalDensity(x)
    x += error / (1 - (x * error) / 2)
  }
  return p < 0.5 ? -x : x
}
