// The search for a clipping ratio: the error as a function of the scale has many small valleys, so a grid, then a finer one.

/** The factor (at most 1) on a scale that gives the least error; 1 where none is better. Tried from 1 down to 0.1. */
export function searchRatio(error: (factor: number) => number): number {
  let best = 1
  let least = error(1)
  const attempt = (factor: number) => {
    const found = error(factor)
    if (found < least) {
      least = found
      best = factor
    }
  }
  for (let factor = 0.96; factor > 0.1; factor *= 0.96) attempt(factor)
  const centre = best
  for (let i = -7; i <= 7; i++) if (i !== 0) attempt(Math.min(centre * (1 + i * 0.005), 1))
  return best
}
