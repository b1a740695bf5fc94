// The search for scales of ggml's block types without a minimum, for least squared error. A sub-block gets a scale by trying
// ranges, each followed by least squares and a new choice of codes; a super-block then stores the scales as small integers
// times one fp16 number, and that number and the integers are fitted in turn, always judged by the stored values.
import { nearestHalf } from './ggml-bytes.ts'

/** Sorted levels that codes stand for; `even` where they are consecutive integers. */
export interface Ladder {
  readonly levels: Float64Array
  readonly middles: Float64Array
  readonly even: boolean
}

/** A ladder of the given sorted levels. */
export function ladder(levels: readonly number[]): Ladder {
  const middles = Float64Array.from(levels.slice(1), (level, i) => (level + levels[i]) / 2)
  return { levels: Float64Array.from(levels), middles, even: levels.every((level, i) => level === levels[0] + i) }
}

/** Weights of a search in which all values matter alike. */
export const ALIKE = new Float64Array(256).fill(1)

/** Chooses codes of v[start … start+n-1] for value = scale * level; returns the squared error, weighed by w. */
function place(
  v: Float64Array,
  w: Float64Array,
  start: number,
  n: number,
  scale: number,
  { levels, middles, even }: Ladder,
  codes: Uint8Array,
): number {
  const inverse = scale === 0 ? 0 : 1 / scale
  const first = levels[0]
  const last = middles.length
  let error = 0
  for (let i = start; i < start + n; i++) {
    const u = v[i] * inverse
    let code: number
    if (even) {
      const place = u - first + 0.5
      code = place <= 0 ? 0 : place >= last ? last : place | 0
    } else {
      code = 0
      let top = last
      while (code < top) {
        const middle = (code + top) >> 1
        if (u > middles[middle]) code = middle + 1
        else top = middle
      }
    }
    codes[i] = code
    const off = v[i] - scale * levels[code]
    error += w[i] * off * off
  }
  return error
}

/** The scale of least squared error for given codes. */
function refit(
  v: Float64Array,
  w: Float64Array,
  start: number,
  n: number,
  { levels }: Ladder,
  codes: Uint8Array,
): number {
  let product = 0
  let square = 0
  for (let i = start; i < start + n; i++) {
    const level = levels[codes[i]]
    product += w[i] * level * v[i]
    square += w[i] * level * level
  }
  return square === 0 ? 0 : product / square
}

const scratch = new Uint8Array(256)

/** Shares of the ladder's end that the extreme value is put at: all of it first, so that an exact fit is found exactly. */
const REACHES = [1, 0.76, 0.82, 0.88, 0.94, 1.06] as const

/** A scale (either sign) for value = scale * level. */
function fitScale(v: Float64Array, w: Float64Array, start: number, n: number, steps: Ladder): number {
  let extreme = 0
  for (let i = start; i < start + n; i++) if (Math.abs(v[i]) > Math.abs(extreme)) extreme = v[i]
  if (extreme === 0) return 0
  const { levels } = steps
  let best = 0
  let least = Infinity
  for (const end of [levels[0], levels[levels.length - 1]])
    for (const reach of REACHES) {
      let scale = extreme / (end * reach)
      place(v, w, start, n, scale, steps, scratch)
      scale = refit(v, w, start, n, steps, scratch)
      const error = place(v, w, start, n, scale, steps, scratch)
      if (error < least) {
        least = error
        best = scale
      }
    }
  return best
}

/** A super-block: an fp16 number, small integers, one code a value. */
export interface SuperBlock {
  d: number
  scales: Int16Array
  codes: Uint8Array
}

/** x, but at least low and at most high. */
export const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high)

/** Fits value = d * scale * level, scale an integer from low to high, to 256 values in sub-blocks of n; errors weighed by w. */
export function fitScales(
  v: Float64Array,
  n: number,
  steps: Ladder,
  low: number,
  high: number,
  w: Float64Array = ALIKE,
): SuperBlock {
  const count = v.length / n
  const best: SuperBlock = { d: 0, scales: new Int16Array(count), codes: new Uint8Array(v.length) }
  const wanted = Float64Array.from({ length: count }, (_, b) => fitScale(v, w, b * n, n, steps))
  let extreme = 0
  for (const scale of wanted) if (Math.abs(scale) > Math.abs(extreme)) extreme = scale
  const codes = new Uint8Array(v.length)
  const scales = new Int16Array(count)
  let least = Infinity
  for (const start of [extreme / low, (extreme / low) * 1.04, extreme / high]) {
    let d = nearestHalf(start)
    for (let round = 0; round < 3; round++) {
      let error = 0
      for (let b = 0; b < count; b++) {
        const centre = d === 0 ? 0 : Math.round(clamp(wanted[b] / d, low, high))
        let nearest = Infinity
        for (let scale = Math.max(centre - 1, low); scale <= Math.min(centre + 1, high); scale++) {
          const found = place(v, w, b * n, n, d * scale, steps, codes)
          if (found < nearest) {
            nearest = found
            scales[b] = scale
          }
        }
        place(v, w, b * n, n, d * scales[b], steps, codes)
        error += nearest
      }
      if (!(error < least)) break
      least = error
      best.d = d
      best.scales.set(scales)
      best.codes.set(codes)
      let product = 0
      let square = 0
      for (let i = 0; i < v.length; i++) {
        const unit = scales[Math.floor(i / n)] * steps.levels[codes[i]]
        product += w[i] * unit * v[i]
        square += w[i] * unit * unit
      }
      d = nearestHalf(square === 0 ? 0 : product / square)
    }
  }
  return best
}
