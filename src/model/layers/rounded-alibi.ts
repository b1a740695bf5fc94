// ALiBi as Falcon has it: what is added is slope * position of the key, rounded to bf16 (and so is the slope), not the
// slope times the distance; the two differ as soon as that product has more than 8 bits. It becomes one more number of
// each head: 1 in the queries, what is added in the keys, 0 in the values.
import type { AttentionShape, Floats, Kernels } from '../../tensor/kernels.ts'
import { toBf16 } from '../../tensor/reference/numbers.ts'
import type { Scope } from './scope.ts'

/** `kernels.attention` and its gradient with rounded biases; `shape` has no slopes. */
export function createRoundedAlibi(
  scope: Scope,
  shape: AttentionShape,
  slopes: Float64Array,
): Pick<Kernels, 'attention' | 'attentionBackward'> {
  const { kernels } = scope
  const { batch, length, heads, kvHeads, headSize } = shape
  const rows = batch * length
  const wide = headSize + 1
  // every head has biases of its own, and so keys of its own
  const wideShape: AttentionShape = { ...shape, kvHeads: heads, headSize: wide }
  const make = (name: string) => scope.keep(`alibi ${name}`, rows * heads * wide)
  const [q, k, v, out] = ['q', 'k', 'v', 'out'].map(make)
  const [dq, dk, dv, dOut] = ['dq', 'dk', 'dv', 'dOut'].map(name =>
    scope.backwardScratch(`alibi ${name}`, rows * heads * wide),
  )
  const place = (row: number, h: number, of: number) => (row * of + Math.floor((h * of) / heads)) * headSize
  const widen = (from: Floats, of: number, to: Floats, last: (position: number, h: number) => number) => {
    for (let row = 0; row < rows; row++)
      for (let h = 0; h < heads; h++) {
        const at = place(row, h, of)
        const into = (row * heads + h) * wide
        for (let i = 0; i < headSize; i++) to[into + i] = from[at + i]
        to[into + headSize] = last(scope.first + (row % length), h)
      }
  }
  const narrow = (from: Floats, to: Floats, of: number) => {
    to.fill(0, 0, rows * of * headSize)
    for (let row = 0; row < rows; row++)
      for (let h = 0; h < heads; h++) {
        const at = place(row, h, of)
        for (let i = 0; i < headSize; i++) to[at + i] += from[(row * heads + h) * wide + i]
      }
  }
  return {
    attention(fromQ, fromK, fromV, to, logSums) {
      widen(fromQ, heads, q, () => 1)
      widen(fromK, kvHeads, k, (position, h) => toBf16(toBf16(slopes[h]) * position))
      widen(fromV, kvHeads, v, () => 0)
      kernels.attention(q, k, v, out, logSums, wideShape)
      narrow(out, to, heads)
    },
    attentionBackward(_q, _k, _v, _out, logSums, dTo, toQ, toK, toV) {
      widen(dTo, heads, dOut, () => 0)
      kernels.attentionBackward(q, k, v, out, logSums, dOut, dq, dk, dv, wideShape)
      narrow(dq, toQ, heads)
      narrow(dk, toK, kvHeads)
      narrow(dv, toV, kvHeads)
    },
  }
}
