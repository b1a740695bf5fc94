// Searching for the best plan: one smooth variable at a time (golden section inside a coarse grid), few evaluations,
// no gradients, because laws may be any function.

const GOLDEN = (Math.sqrt(5) - 1) / 2

/** Least value of f on [low, high]: the best of `steps` + 1 grid points, refined by golden section to `tolerance` of the interval. Infinite values are infeasible. */
export function minimize(
  f: (x: number) => number,
  low: number,
  high: number,
  { steps = 24, tolerance = 1e-5 } = {},
): { x: number; value: number } {
  if (!(high > low)) return { x: low, value: f(low) }
  let best = 0
  const values: number[] = []
  for (let i = 0; i <= steps; i++) {
    values.push(f(low + ((high - low) * i) / steps))
    if (values[i] < values[best]) best = i
  }
  const gridX = low + ((high - low) * best) / steps
  let a = low + ((high - low) * Math.max(0, best - 1)) / steps
  let b = low + ((high - low) * Math.min(steps, best + 1)) / steps
  let c = b - GOLDEN * (b - a)
  let d = a + GOLDEN * (b - a)
  let fc = f(c)
  let fd = f(d)
  while (b - a > tolerance * (high - low)) {
    if (fc < fd) {
      b = d
      d = c
      fd = fc
      c = b - GOLDEN * (b - a)
      fc = f(c)
    } else {
      a = c
      c = d
      fc = fd
      d = a + GOLDEN * (b - a)
      fd = f(d)
    }
  }
  const [x, value] = fc < fd ? [c, fc] : [d, fd]
  // An optimum at a constraint lies on the grid's end; the ends are kept exactly.
  return value <= values[best] ? { x, value } : { x: gridX, value: values[best] }
}

/** The x in [low, high] where a decreasing f reaches `target`, to about 1e-12 of the interval on the side that reaches it; undefined where it does not. */
export function solveDecreasing(
  f: (x: number) => number,
  target: number,
  low: number,
  high: number,
  rounds = 80,
): number | undefined {
  if (f(low) <= target) return low
  let b = high
  let fb = f(b) - target
  if (!(fb <= 0)) return undefined
  let a = low
  let fa = f(a) - target
  // False position that halves the weight of an end that stays (Illinois); a step that is no number is a bisection.
  let side = 0
  for (let i = 0; i < rounds && b - a > 1e-12 * (high - low) && fb < 0; i++) {
    const guess = (a * fb - b * fa) / (fb - fa)
    const x = guess > a && guess < b && i % 8 < 7 ? guess : (a + b) / 2
    const value = f(x) - target
    if (value <= 0) {
      b = x
      fb = value
      if (side === -1) fa /= 2
      side = -1
    } else {
      a = x
      fa = value
      if (side === 1) fb /= 2
      side = 1
    }
  }
  return b
}
