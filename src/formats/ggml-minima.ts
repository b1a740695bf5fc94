// The search for scales and minima of ggml's block types that have both (q2_k, q4_k, q5_k), for least squared error: first
// each sub-block by itself, then the small integers and the two fp16 numbers that are stored, always judged by those.
import { nearestHalf } from './ggml-bytes.ts'
import { clamp, type SuperBlock } from './ggml-scales.ts'

/** A super-block with minima. */
export interface MinimaBlock extends SuperBlock {
  dmin: number
  mins: Int16Array
}

const scratch = new Uint8Array(256)

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
export function fitMinima(v: Float64Array, n: number, top: number, limit: number): MinimaBlock {
  const count = v.length / n
  const wanted = Array.from({ length: count }, (_, b) => fitAbove(v, b * n, n, top))
  const best: MinimaBlock = {
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
