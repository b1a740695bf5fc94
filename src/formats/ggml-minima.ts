// The search for scales and minima of ggml's block types that have both (q2_k, q4_k, q5_k), for least squared error: first
// each sub-block by itself, then the small integers and the two fp16 numbers that are stored, always judged by those.
import { nearestHalf } from './ggml-bytes.ts'
import { ALIKE, clamp, type SuperBlock } from './ggml-scales.ts'

/** A super-block with minima. */
export interface MinimaBlock extends SuperBlock {
  dmin: number
  mins: Int16Array
}

const scratch = new Uint8Array(256)

/** Chooses codes 0 … top for value = scale * code - min; returns the squared error, weighed by w. */
export function placeAbove(
  v: Float64Array,
  w: Float64Array,
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
    error += w[i] * off * off
  }
  return error
}

/** A scale and a minimum (both at least 0) for value = scale * code - min, codes 0 … top. */
export function fitAbove(
  v: Float64Array,
  w: Float64Array,
  start: number,
  n: number,
  top: number,
): { scale: number; min: number } {
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
    const error = placeAbove(v, w, start, n, scale, min, top, scratch)
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
      let mass = 0
      let codes = 0
      let squares = 0
      let sum = 0
      let product = 0
      for (let i = start; i < start + n; i++) {
        const code = scratch[i]
        mass += w[i]
        codes += w[i] * code
        squares += w[i] * code * code
        sum += w[i] * v[i]
        product += w[i] * code * v[i]
      }
      const determinant = mass * squares - codes * codes
      if (determinant <= 0) continue
      scale = (mass * product - codes * sum) / determinant
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

/** Sums over a sub-block of its codes and values, of which the error of any scale and minimum for those codes is a function. */
function sumUp(
  v: Float64Array,
  w: Float64Array,
  start: number,
  n: number,
  codes: Uint8Array,
  sums: Float64Array,
  at: number,
): void {
  let code1 = 0
  let code2 = 0
  let value1 = 0
  let product = 0
  for (let i = start; i < start + n; i++) {
    code1 += w[i] * codes[i]
    code2 += w[i] * codes[i] * codes[i]
    value1 += w[i] * v[i]
    product += w[i] * codes[i] * v[i]
  }
  sums[at] = code1
  sums[at + 1] = code2
  sums[at + 2] = value1
  sums[at + 3] = product
}

/** Fits value = d * scale * code - dmin * min, scale and min integers 0 … limit, to 256 values in sub-blocks of n; errors weighed by w. */
export function fitMinima(
  v: Float64Array,
  n: number,
  top: number,
  limit: number,
  w: Float64Array = ALIKE,
): MinimaBlock {
  const count = v.length / n
  const codes = new Uint8Array(v.length)
  const first = new Float64Array(4 * count)
  const mass = Float64Array.from({ length: count }, (_, b) => sumOf(w, b * n, n))
  let largest = 0
  let deepest = 0
  const wanted = Float64Array.from({ length: count }, (_, b) => {
    const { scale, min } = fitAbove(v, w, b * n, n, top)
    placeAbove(v, w, b * n, n, scale, min, top, codes)
    sumUp(v, w, b * n, n, codes, first, 4 * b)
    largest = Math.max(largest, scale)
    deepest = Math.max(deepest, min)
    return scale
  })
  const scales = new Int16Array(count)
  const mins = new Int16Array(count)
  const best: MinimaBlock = { d: 0, dmin: 0, scales: scales.slice(), mins: mins.slice(), codes: codes.slice() }
  let least = Infinity
  const sums = new Float64Array(4 * count)
  for (const [share, depth] of STARTS) {
    let d = nearestHalf((largest * share) / limit)
    let dmin = nearestHalf((deepest * depth) / limit)
    let previous = Infinity
    sums.set(first)
    for (let round = 0; round < 4; round++) {
      let error = 0
      for (let b = 0; b < count; b++) {
        chooseIntegers(sums, 4 * b, mass[b], d, dmin, wanted[b], limit)
        scales[b] = chosen[0]
        mins[b] = chosen[1]
        error += placeAbove(v, w, b * n, n, d * scales[b], dmin * mins[b], top, codes)
        sumUp(v, w, b * n, n, codes, sums, 4 * b)
      }
      if (!(error < previous)) break
      previous = error
      if (error < least) {
        least = error
        best.d = d
        best.dmin = dmin
        best.scales.set(scales)
        best.mins.set(mins)
      }
      ;({ d, dmin } = refitHalves(sums, mass, scales, mins))
      if (!(d > 0 && dmin >= 0)) break
    }
  }
  polish(v, w, n, top, limit, best)
  return best
}

function sumOf(w: Float64Array, start: number, n: number): number {
  let sum = 0
  for (let i = start; i < start + n; i++) sum += w[i]
  return sum
}

const chosen = new Int16Array(2)

/** Leaves in `chosen` the integers that suit a sub-block's codes best: scales near the one wanted, each with its best minimum. */
function chooseIntegers(
  sums: Float64Array,
  at: number,
  mass: number,
  d: number,
  dmin: number,
  wanted: number,
  limit: number,
): void {
  const centre = d > 0 ? Math.round(clamp(wanted / d, 0, limit)) : 0
  let least = Infinity
  for (let s = Math.max(centre - 2, 0); s <= Math.min(centre + 2, limit); s++) {
    const scale = d * s
    const m = dmin > 0 ? Math.round(clamp((scale * sums[at] - sums[at + 2]) / mass / dmin, 0, limit)) : 0
    const min = dmin * m
    const error =
      scale * (scale * sums[at + 1] - 2 * sums[at + 3] - 2 * min * sums[at]) + min * (2 * sums[at + 2] + mass * min)
    if (error < least) {
      least = error
      chosen[0] = s
      chosen[1] = m
    }
  }
}

/** Least squares of both fp16 numbers with integers and codes held; d is 0 where there is no solution. */
function refitHalves(
  sums: Float64Array,
  mass: Float64Array,
  scales: Int16Array,
  mins: Int16Array,
): { d: number; dmin: number } {
  let aa = 0
  let ab = 0
  let bb = 0
  let av = 0
  let bv = 0
  for (let b = 0; b < scales.length; b++) {
    const [s, m, at] = [scales[b], mins[b], 4 * b]
    aa += s * s * sums[at + 1]
    ab -= s * m * sums[at]
    bb += m * m * mass[b]
    av += s * sums[at + 3]
    bv -= m * sums[at + 2]
  }
  const determinant = aa * bb - ab * ab
  if (determinant <= 0) return { d: 0, dmin: 0 }
  return { d: nearestHalf((av * bb - bv * ab) / determinant), dmin: nearestHalf((bv * aa - av * ab) / determinant) }
}

/** Tries one step in each integer with codes chosen anew, and leaves the codes of the best in the block. */
function polish(v: Float64Array, w: Float64Array, n: number, top: number, limit: number, block: MinimaBlock): void {
  const { d, dmin, scales, mins, codes } = block
  for (let b = 0; b < scales.length; b++) {
    const [s0, m0] = [scales[b], mins[b]]
    let least = placeAbove(v, w, b * n, n, d * s0, dmin * m0, top, scratch)
    for (let s = Math.max(s0 - 1, 0); s <= Math.min(s0 + 1, limit); s++)
      for (let m = Math.max(m0 - 1, 0); m <= Math.min(m0 + 1, limit); m++) {
        if (s === s0 && m === m0) continue
        const error = placeAbove(v, w, b * n, n, d * s, dmin * m, top, scratch)
        if (error < least) {
          least = error
          scales[b] = s
          mins[b] = m
        }
      }
    placeAbove(v, w, b * n, n, d * scales[b], dmin * mins[b], top, codes)
  }
}
