// A grid is what GPTQ and AWQ need of a format: how a group of weights gets a scale (and zero point), and how one
// weight, with that scale, becomes a code and a value again. All in float64; scales are rounded as they are stored.
import { codebook, compileCodebook, estimateQuantileLevels } from '../formats/codebook.ts'
import { parseFormat, RequestError, roundHalfEven, type ScaledFormat } from '../formats/index.ts'
import { roundScale, type SingleScale } from '../formats/scale.ts'
import { isStepped, largestStep } from '../formats/scaled.ts'
import type { Floats } from '../tensor/kernels.ts'

/** How one group of weights is rounded. Codes are indices from 0, at most 255. */
export interface Grid {
  /** Weights of a row that share a scale; null: the whole row. */
  readonly group: number | null
  /** Steps between the least and the largest weight, symmetric or not; symmetric steps from a stored step; a sorted table. */
  readonly kind: 'affine' | 'step' | 'book'
  /** affine: full symmetric grid; step and book are symmetric by themselves. */
  readonly symmetric: boolean
  /** Largest code. */
  readonly last: number
  /** Sorted values of a book, times scale. */
  readonly levels: Float64Array | null
  /** How a scale is stored. */
  readonly scale: SingleScale
  /** Scale and zero point of a group; the zero point is the code of 0, or 0 where the grid is a book. */
  fit(weights: Float64Array): { scale: number; zero: number }
  /** Nearest code. */
  code(weight: number, scale: number, zero: number): number
  value(code: number, scale: number, zero: number): number
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
function nearestLevel(levels: Float64Array, u: number): number {
  let low = 0
  let high = levels.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (u > (levels[middle] + levels[middle + 1]) / 2 + 1e-12) low = middle + 1
    else high = middle
  }
  return low
}

/** The GPTQ authors' grid: 2^bits codes between the least and largest weight (0 included), or symmetric about 0. */
export function affineGrid(bits: number, symmetric: boolean, group: number | null, scale: SingleScale = 'exact'): Grid {
  const last = 2 ** bits - 1
  return {
    group,
    kind: 'affine',
    symmetric,
    last,
    levels: null,
    scale,
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
      const step = roundScale((high - low) / last, scale)
      const zero = symmetric ? (last + 1) / 2 : step > 0 ? Math.min(last, Math.max(0, roundHalfEven(-low / step))) : 0
      return { scale: step, zero }
    },
    code: (weight, step, zero) =>
      step > 0
        ? Math.min(last, Math.max(0, roundHalfEven(Math.min(Math.max(weight / step, -last), last)) + zero))
        : zero,
    value: (code, step, zero) => step * (code - zero),
  }
}

/** Symmetric integers with a stored step, absmax / largest; code `largest` is zero. */
function stepGrid(largest: number, group: number | null, scale: SingleScale = 'exact'): Grid {
  return {
    group,
    kind: 'step',
    symmetric: true,
    last: 2 * largest,
    levels: null,
    scale,
    fit: weights => ({ scale: roundScale(absmax(weights) / largest, scale), zero: largest }),
    code: (weight, step, zero) =>
      step > 0 ? roundHalfEven(Math.min(largest, Math.max(-largest, weight / step))) + zero : zero,
    value: (code, step, zero) => step * (code - zero),
  }
}

/** A sorted table of levels, times a stored scale: the group's absmax. */
export function bookGrid(levels: Float64Array, group: number | null, scale: SingleScale = 'exact'): Grid {
  return {
    group,
    kind: 'book',
    symmetric: true,
    last: levels.length - 1,
    levels,
    scale,
    fit: weights => ({ scale: roundScale(absmax(weights), scale), zero: 0 }),
    code: (weight, size) => nearestLevel(levels, size > 0 ? weight / size : 0),
    value: (code, size) => levels[code] * size,
  }
}

/** The record of a format that can be put on a grid; throws RequestError for presets, plain types and more than 8 bits. */
export function griddable(spelling: string, method: string): ScaledFormat {
  const format = parseFormat(spelling)
  if (format.kind !== 'scaled')
    throw new RequestError(
      `method ${method} cannot round to '${spelling}', expected an element with a scale like int4@128 or nf4@64`,
    )
  if ('bits' in format.element && format.element.bits > 8)
    throw new RequestError(`method ${method} rounds to at most 8 bits, not '${spelling}'`)
  if (format.centered) throw new RequestError(`method ${method} does not combine with +centered in '${spelling}'`)
  if (format.stochastic) throw new RequestError(`method ${method} does not combine with +sr in '${spelling}'`)
  return format
}

/** Whether each group's scale is found from that group alone, so that GPTQ can find it when it gets there. */
export function scalesStandAlone({ scale, clip, shares }: ScaledFormat): boolean {
  return shares !== 'tensor' && !clip && (scale === 'exact' || scale === 'fp32' || scale === 'fp16' || scale === 'bf16')
}

/** Grid of a scaled format for one matrix (rows, columns); a group must divide the columns. `weight` is what `quantile` is estimated on. */
export function gridOf(format: ScaledFormat, weight: Floats, columns: number): Grid {
  const { element, shares } = format
  if (typeof shares === 'number' && columns % shares !== 0)
    throw new RequestError(
      `rows of ${columns} weights cannot be cut into groups of ${shares}; choose a group that divides them, or method rtn`,
    )
  const group = typeof shares === 'number' ? shares : null
  const scale = scalesStandAlone(format) ? (format.scale as SingleScale) : 'exact'
  if (element.kind === 'full' || element.kind === 'uint')
    return affineGrid(element.bits, element.kind === 'full', group, scale)
  if (isStepped(format)) return stepGrid(largestStep(element), group, scale)
  const levels =
    element.kind === 'quantile' && element.book.endsWith('_sample')
      ? compileCodebook(estimateQuantileLevels(element.bits, element.book, weight)).levels
      : codebook(element).levels
  return bookGrid(levels, group, scale)
}
