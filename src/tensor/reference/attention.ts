// Causal attention, one query at a time: softmax(cap(scale q·k) - slope * distance) v over the window, and its gradient.
// When computing in bf16 every operand of a product is rounded: q, k, v, the softmax's numerators, and their gradients.
import type { AttentionShape, Floats } from '../kernels.ts'
import { load, toBf16, type Workspace } from './numbers.ts'

/** The first key that the query at position t sees. */
function firstKey(t: number, window: number | null): number {
  return window === null ? 0 : Math.max(0, t - window + 1)
}

/** Scores of query (b, h, t) against the keys first … t, written to `scores` from its start. */
function score(
  scores: Float64Array,
  q: Float64Array,
  k: Float64Array,
  b: number,
  h: number,
  t: number,
  shape: AttentionShape,
): void {
  const { length, heads, kvHeads, headSize, scale, slopes, softcap } = shape
  const slope = slopes === undefined ? 0 : slopes[h]
  const from = firstKey(t, shape.window)
  const at = ((b * length + t) * heads + h) * headSize
  const kvHead = Math.floor(h / (heads / kvHeads))
  for (let s = from; s <= t; s++) {
    const ks = ((b * length + s) * kvHeads + kvHead) * headSize
    let dot = 0
    for (let i = 0; i < headSize; i++) dot += q[at + i] * k[ks + i]
    dot *= scale
    if (softcap !== undefined) dot = softcap * Math.tanh(dot / softcap)
    scores[s - from] = dot - slope * (t - s)
  }
}

/** See Kernels.attention. */
export function attention(
  q: Floats,
  k: Floats,
  v: Floats,
  out: Floats,
  logSums: Floats,
  shape: AttentionShape,
  work: Workspace,
): void {
  const { batch, length, heads, kvHeads, headSize, window, compute } = shape
  const round = compute === 'bf16'
  const qs = widened('q', q, batch * length * heads * headSize, round, work)
  const ks = widened('k', k, batch * length * kvHeads * headSize, round, work)
  const vs = widened('v', v, batch * length * kvHeads * headSize, round, work)
  const scores = work.floats('scores', length)
  const sums = work.floats('attended', headSize)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h / (heads / kvHeads))
      for (let t = 0; t < length; t++) {
        score(scores, qs, ks, b, h, t, shape)
        const from = firstKey(t, window)
        let max = scores[0]
        for (let s = 1; s <= t - from; s++) if (scores[s] > max) max = scores[s]
        let denominator = 0
        sums.fill(0, 0, headSize)
        for (let s = from; s <= t; s++) {
          const p = Math.exp(scores[s - from] - max)
          denominator += p
          const weight = round ? toBf16(p) : p
          const at = ((b * length + s) * kvHeads + kvHead) * headSize
          for (let i = 0; i < headSize; i++) sums[i] += weight * vs[at + i]
        }
        logSums[(b * heads + h) * length + t] = max + Math.log(denominator)
        const at = ((b * length + t) * heads + h) * headSize
        for (let i = 0; i < headSize; i++) out[at + i] = sums[i] / denominator
      }
    }
}

/** See Kernels.attentionBackward: dScore = p (dp - out·dOut), with dp = dOut·v. */
export function attentionBackward(
  q: Floats,
  k: Floats,
  v: Floats,
  out: Floats,
  logSums: Floats,
  dOut: Floats,
  dq: Floats,
  dk: Floats,
  dv: Floats,
  shape: AttentionShape,
  work: Workspace,
): void {
  const { batch, length, heads, kvHeads, headSize, scale, window, slopes, softcap, compute } = shape
  const round = compute === 'bf16'
  const qSize = batch * length * heads * headSize
  const kvSize = batch * length * kvHeads * headSize
  const qs = widened('q', q, qSize, round, work)
  const ks = widened('k', k, kvSize, round, work)
  const vs = widened('v', v, kvSize, round, work)
  const dOuts = widened('dOut', dOut, qSize, round, work)
  const dks = work.floats('dk', kvSize).fill(0, 0, kvSize)
  const dvs = work.floats('dv', kvSize).fill(0, 0, kvSize)
  const dqRow = work.floats('attended', headSize)
  const scores = work.floats('scores', length)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h / (heads / kvHeads))
      const slope = slopes === undefined ? 0 : slopes[h]
      for (let t = 0; t < length; t++) {
        score(scores, qs, ks, b, h, t, shape)
        const from = firstKey(t, window)
        const at = ((b * length + t) * heads + h) * headSize
        const logSum = logSums[(b * heads + h) * length + t]
        let delta = 0
        for (let i = 0; i < headSize; i++) delta += out[at + i] * dOut[at + i]
        dqRow.fill(0, 0, headSize)
        for (let s = from; s <= t; s++) {
          const kvAt = ((b * length + s) * kvHeads + kvHead) * headSize
          const p = Math.exp(scores[s - from] - logSum)
          let dp = 0
          for (let i = 0; i < headSize; i++) dp += dOuts[at + i] * vs[kvAt + i]
          let ds = p * (dp - delta)
          if (softcap !== undefined) ds *= 1 - ((scores[s - from] + slope * (t - s)) / softcap) ** 2
          if (round) ds = toBf16(ds)
          const weight = round ? toBf16(p) : p
          for (let i = 0; i < headSize; i++) {
            dqRow[i] += ds * ks[kvAt + i]
            dks[kvAt + i] += ds * qs[at + i]
            dvs[kvAt + i] += weight * dOuts[at + i]
          }
        }
        for (let i = 0; i < headSize; i++) dq[at + i] = dqRow[i] * scale
      }
    }
  for (let i = 0; i < kvSize; i++) {
    dk[i] = dks[i] * scale
    dv[i] = dvs[i]
  }
}

function widened(name: string, x: Floats, length: number, round: boolean, work: Workspace): Float64Array {
  const out = work.floats(name, length)
  load(x, 0, length, round, out)
  return out
}
