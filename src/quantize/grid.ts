// A grid is what GPTQ and AWQ need of a format: how a group of weights gets a scale (and zero point), and how one
// weight, with that scale, becomes a code and a value again. All in float64; scales are rounded as they are stored.

/** How one group of weights is rounded. Codes are indices from 0, at most 255. */
export interface Grid {
  /** Weights of a row that share a scale; null: the whole row. */
  readonly group: number | null
  /** Number of codes. */
  readonly count: number
  /** What a code is worth: steps from a zero point, or an entry of a sorted table. */
  readonly kind: 'affine' | 'book'
  /** Sorted values of a book, times scale. */
  readonly levels?: Float64Array
  /** Scale and zero point of a group; the zero point is 0 where the grid has none. */
  fit(weights: Float64Array): { scale: number; zero: number }
  /** Nearest code. */
  code(weight: number, scale: number, zero: number): number
  value(code: number, scale: number, zero: number): number
}

/** Rounds a scale to what is stored. */
export type RoundScale = (scale: number) => number

/** To the nearest integer, ties to even. */
export function roundEven(x: number): number {
  const rounded = Math.round(x)
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}

/** Largest magnitude. */
export function absmax(values: ArrayLike<number>): number {
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i])
    if (size > largest) largest = size
  }
  return largest
}

/** Index of the sorted level nearest to u; a tie within 1e-12 goes to the lower level. */
export function nearestLevel(levels: Float64Array, u: number): number {
  let low = 0
  let high = levels.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (u > (levels[middle] + levels[middle + 1]) / 2 + 1e-12) low = middle + 1
    else high = middle
  }
  return low
}

/** The GPTQ authors' grid: 2^bits steps between the least and largest weight (0 included), or symmetric about 0. */
export function affineGrid(bits: number, symmetric: boolean, group: number | null, roundScale: RoundScale): Grid {
  const last = 2 ** bits - 1
  return {
    group,
    count: last + 1,
    kind: 'affine',
    fit(weights) {
      let low = 0
      let high = 0
      for (let i = 0; i < weights.length; i++) {
        if (weights[i] < low) low = weights[i]
        if (weights[i] > high) high = weights[i]
      }
      if (symmetric) {
        high = Math.max(-low, high)
        if (low < 0) low = -high
      }
      if (low === 0 && high === 0) {
        low = -1
        high = 1
      }
      const scale = roundScale((high - low) / last)
      const zero = symmetric ? (last + 1) / 2 : Math.min(last, Math.max(0, roundEven(-low / scale)))
      return { scale, zero }
    },
    code: (weight, scale, zero) => Math.min(last, Math.max(0, (scale === 0 ? 0 : roundEven(weight / scale)) + zero)),
    value: (code, scale, zero) => scale * (code - zero),
  }
}

/** Symmetric integers with a stored step, absmax / (2^(bits-1) - 1); code 2^(bits-1) - 1 is zero. */
export function stepGrid(bits: number, group: number | null, roundScale: RoundScale): Grid {
  const largest = 2 ** (bits - 1) - 1
  return {
    group,
    count: 2 * largest + 1,
    kind: 'affine',
    fit: weights => ({ scale: roundScale(absmax(weights) / largest), zero: largest }),
    code: (weight, scale, zero) =>
      scale === 0 ? zero : Math.min(largest, Math.max(-largest, roundEven(weight / scale))) + zero,
    value: (code, scale, zero) => scale * (code - zero),
  }
}

/** A sorted table of levels, times a stored scale that `scaleOf` finds from the group's absmax. */
export function bookGrid(levels: Float64Array, group: number | null, scaleOf: RoundScale): Grid {
  return {
    group,
    count: levels.length,
    kind: 'book',
    levels,
    fit: weights => ({ scale: scaleOf(absmax(weights)), zero: 0 }),
    code: (weight, scale) => nearestLevel(levels, scale === 0 ? 0 : weight / scale),
    value: (code, scale) => (scale === 0 ? 0 : levels[code] * scale),
  }
}
