// The search for scales of ggml's larger block types, for least squared error. A sub-block gets a scale (and a minimum) by
// trying ranges, each followed by least squares and a new choice of codes; a super-block then stores them as small integers
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

/** Chooses codes of v[start … start+n-1] for value = scale * level; returns the squared error. */
function place(
  v: Float64Array,
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
    error += off * off
  }
  return error
}

/** The scale of least squared error for given codes. */
function refit(v: Float64Array, start: number, n: number, { levels }: Ladder, codes: Uint8Array): number {
  let product = 0
  let square = 0
  for (let i = start; i < start + n; i++) {
    const level = levels[codes[i]]
    product += level * v[i]
    square += level * level
  }
  return square === 0 ? 0 : product / square
}

const scratch = new Uint8Array(256)

/** Shares of the ladder's end that the extreme value is put at: all of it first, so that an exact fit is found exactly. */
const REACHES = [1, 0.76, 0.82, 0.88, 0.94, 1.06] as const

/** A scale (either sign) for value = scale * level. */
export function fitScale(v: Float64Array, start: number, n: number, steps: Ladder): number {
  let extreme = 0
  for (let i = start; i < start + n; i++) if (Math.abs(v[i]) > Math.abs(extreme)) extreme = v[i]
  if (extreme === 0) return 0
  const { levels } = steps
  let best = 0
  let least = Infinity
  for (const end of [levels[0], levels[levels.length - 1]])
    for (const reach of REACHES) {
      let scale = extreme / (end * reach)
      place(v, start, n, scale, steps, scratch)
      scale = refit(v, start, n, steps, scratch)
      const error = place(v, start, n, scale, steps, scratch)
      if (error < least) {
        least = error
        best = scale
      }
    }
  return best
}

/** A super-block: fp16 numbers, small integers, one code a value. */
export interface SuperBlock {
  d: number
  dmin: number
  scales: Int16Array
  mins: Int16Array
  codes: Uint8Array
}

const clamp = (x: number, low: number, high: number) => (x < low ? low : x > high ? high : x)

/** Fits value = d * scale * level, scale an integer from low to high, to 256 values in sub-blocks of n. */
export function fitScales(v: Float64Array, n: number, steps: Ladder, low: number, high: number): SuperBlock {
  const count = v.length / n
  const best: SuperBlock = {
    d: 0,
    dmin: 0,
    scales: new Int16Array(count),
    mins: new Int16Array(0),
    codes: new Uint8Array(v.length),
  }
  const wanted = Float64Array.from({ length: count }, (_, b) => fitScale(v, b * n, n, steps))
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
          const found = place(v, b * n, n, d * scale, steps, codes)
          if (found < nearest) {
            nearest = found
            scales[b] = scale
          }
        }
        place(v, b * n, n, d * scales[b], steps, codes)
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
        product += unit * v[i]
        square += unit * unit
      }
      d = nearestHalf(square === 0 ? 0 : product / square)
    }
  }
  return best
}

/** Chooses codes 0 … top for value = scale * code - min; returns the squared error. */
function placeAbove(
  v: Float64Array,
  start: number,
  n: number,
  scale: number,
  min: number,
  top: number,
  codes: Uint8Array,
): number {
  let error = 0
  const inverse = scale > 0 ? 1 / scale : 0
  for (let i = start; i < start + n; i++) {
    const place = (v[i] + min) * inverse + 0.5
    const code = place <= 0 ? 0 : place >= top ? top : place | 0
    codes[i] = code
    const off = v[i] - scale * code + min
    error += off * off
  }
  return error
}

/** A scale and a minimum (both at least 0) for value = scale * code - min, codes 0 … top. */
function fitAbove(v: Float64Array, start: number, n: number, top: number): { scale: number; min: number } {
  let low = 0
  let high = v[start]
  for (let i = start; i < start + n; i++) {
    if (v[i] < low) low = v[i]
    if (v[i] > high) high = v[i]
  }
  if (high <= low) return { scale: 0, min: -low }
  const best = { scale: 0, min: 0 }
  let least = Infinity
  const attempt = (scale: number, min: number) => {
    const error = placeAbove(v, start, n, scale, min, top, scratch)
    if (error < least) {
      least = error
      best.scale = scale
      best.min = min
    }
  }
  const spread = top < 8 ? 0.35 : 0.12
  for (const lower of [0, 2, 4])
    for (const upper of [0, 2, 4]) {
      let min = -low * (1 - (lower * spread) / 4)
      let scale = (high * (1 - (upper * spread) / 6) + min) / top
      attempt(scale, min)
      let codes = 0
      let squares = 0
      let sum = 0
      let product = 0
      for (let i = start; i < start + n; i++) {
        const code = scratch[i]
        codes += code
        squares += code * code
        sum += v[i]
        product += code * v[i]
      }
      const determinant = n * squares - codes * codes
      if (determinant <= 0) continue
      scale = (n * product - codes * sum) / determinant
      min = (codes * product - squares * sum) / determinant
      if (min < 0) {
        min = 0
        scale = product / squares
      }
      if (scale > 0) attempt(scale, min)
    }
  return best
}

/** Shares of the largest scale and the largest minimum that the greatest integers are first given. */
const STARTS = [
  [1, 1],
  [0.96, 1],
  [1, 0.96],
  [0.96, 0.96],
  [1.03, 1.03],
] as const

/** Fits value = d * scale * code - dmin * min, scale and min integers 0 … limit, to 256 values in sub-blocks of n. */
export function fitMinima(v: Float64Array, n: number, top: number, limit: number): SuperBlock {
  const count = v.length / n
  const wanted = Array.from({ length: count }, (_, b) => fitAbove(v, b * n, n, top))
  const best: SuperBlock = {
    d: 0,
    dmin: 0,
    scales: new Int16Array(count),
    mins: new Int16Array(count),
    codes: new Uint8Array(v.length),
  }
  const codes = new Uint8Array(v.length)
  const scales = new Int16Array(count)
  const mins = new Int16Array(count)
  let least = Infinity
  const largest = Math.max(...wanted.map(({ scale }) => scale)) / limit
  const deepest = Math.max(...wanted.map(({ min }) => min)) / limit
  for (const [share, depth] of STARTS) {
    let d = nearestHalf(largest * share)
    let dmin = nearestHalf(deepest * depth)
    let previous = Infinity
    for (let round = 0; round < 3; round++) {
      let error = 0
      for (let b = 0; b < count; b++) {
        const scale = d > 0 ? Math.round(clamp(wanted[b].scale / d, 0, limit)) : 0
        const min = dmin > 0 ? Math.round(clamp(wanted[b].min / dmin, 0, limit)) : 0
        let nearest = Infinity
        const attempt = (s: number, m: number) => {
          const found = placeAbove(v, b * n, n, d * s, dmin * m, top, codes)
          if (found < nearest) {
            nearest = found
            scales[b] = s
            mins[b] = m
          }
        }
        for (let s = Math.max(scale - 1, 0); s <= Math.min(scale + 1, limit); s++) {
          attempt(s, min)
          // The minimum that suits these codes best, and its neighbours.
          let sum = 0
          for (let i = b * n; i < (b + 1) * n; i++) sum += d * s * codes[i] - v[i]
          const suited = dmin > 0 ? Math.round(clamp(sum / n / dmin, 0, limit)) : 0
          for (let m = Math.max(suited - 1, 0); m <= Math.min(suited + 1, limit); m++) if (m !== min) attempt(s, m)
        }
        placeAbove(v, b * n, n, d * scales[b], dmin * mins[b], top, codes)
        error += nearest
      }
      if (!(error < previous)) break
      previous = error
      if (error < least) {
        least = error
        best.d = d
        best.dmin = dmin
        best.scales.set(scales)
        best.mins.set(mins)
        best.codes.set(codes)
      }
      // Least squares of both fp16 numbers with everything else held.
      let aa = 0
      let ab = 0
      let bb = 0
      let av = 0
      let bv = 0
      for (let i = 0; i < v.length; i++) {
        const b = Math.floor(i / n)
        const up = scales[b] * codes[i]
        const down = -mins[b]
        aa += up * up
        ab += up * down
        bb += down * down
        av += up * v[i]
        bv += down * v[i]
      }
      const determinant = aa * bb - ab * ab
      if (determinant <= 0) break
      const nextD = nearestHalf((av * bb - bv * ab) / determinant)
      const nextMin = nearestHalf((bv * aa - av * ab) / determinant)
      if (!(nextD > 0 && nextMin >= 0)) break
      d = nextD
      dmin = nextMin
    }
  }
  return best
}
