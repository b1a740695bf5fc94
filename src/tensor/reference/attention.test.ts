// Attention against the softmax of a whole matrix of scores.
import { describe, expect, test } from 'vitest'
import type { AttentionShape, Compute, Floats } from '../kernels.ts'
import { createReference } from '../reference.ts'
import { expectClose, numbers } from './testing.ts'

const kernels = createReference({ float: 'float64' })

describe('attention', () => {
  const shape = (options: Partial<AttentionShape>): AttentionShape => ({
    batch: 2,
    length: 7,
    heads: 4,
    kvHeads: 2,
    headSize: 6,
    scale: 0.3,
    window: null,
    compute: 'float',
    ...options,
  })

  /** Softmax with the whole matrix of scores. */
  function plainly(q: Floats, k: Floats, v: Floats, s: AttentionShape): Float64Array {
    const out = new Float64Array(q.length)
    for (let b = 0; b < s.batch; b++)
      for (let h = 0; h < s.heads; h++)
        for (let t = 0; t < s.length; t++) {
          const at = ((b * s.length + t) * s.heads + h) * s.headSize
          const scores: number[] = []
          for (let u = 0; u <= t; u++) {
            const from = ((b * s.length + u) * s.kvHeads + Math.floor((h * s.kvHeads) / s.heads)) * s.headSize
            let score = 0
            for (let i = 0; i < s.headSize; i++) score += q[at + i] * k[from + i] * s.scale
            if (s.softcap) score = s.softcap * Math.tanh(score / s.softcap)
            if (s.slopes) score -= s.slopes[h] * (t - u)
            scores.push(s.window !== null && t - u >= s.window ? -Infinity : score)
          }
          const sum = scores.reduce((total, score) => total + Math.exp(score), 0)
          for (let u = 0; u <= t; u++) {
            const from = ((b * s.length + u) * s.kvHeads + Math.floor((h * s.kvHeads) / s.heads)) * s.headSize
            for (let i = 0; i < s.headSize; i++) out[at + i] += (Math.exp(scores[u]) / sum) * v[from + i]
          }
        }
    return out
  }

  const variants: [string, Partial<AttentionShape>][] = [
    ['grouped queries', {}],
    ['one position', { length: 1 }],
    ['window', { window: 3 }],
    ['window of one', { window: 1 }],
    ['slopes', { slopes: Float64Array.of(0.5, 0.25, 0.1, 0) }],
    ['softcap', { softcap: 2, window: 4, slopes: Float64Array.of(0.5, 0.25, 0.1, 0) }],
  ]
  test.each(variants)('%s: forward', (_name, options) => {
    const s = shape(options)
    const [q, k, v] = [0, 1, 2].map(i => numbers(s.batch * s.length * (i ? s.kvHeads : s.heads) * s.headSize, 20 + i))
    const out = kernels.allocate(q.length)
    const logSums = kernels.allocate(s.batch * s.heads * s.length)
    kernels.attention(q, k, v, out, logSums, s)
    expectClose(out, plainly(q, k, v, s), 1e-13)
  })

  test('bf16 computing stays within the rounding of its operands', () => {
    const s = shape({ length: 40 })
    const [q, k, v] = [0, 1, 2].map(i => numbers(s.batch * s.length * (i ? s.kvHeads : s.heads) * s.headSize, 20 + i))
    const run = (compute: Compute) => {
      const out = kernels.allocate(q.length)
      const logSums = kernels.allocate(s.batch * s.heads * s.length)
      const grads = [q, k, v].map(x => kernels.allocate(x.length))
      kernels.attention(q, k, v, out, logSums, { ...s, compute })
      kernels.attentionBackward(q, k, v, out, logSums, q, grads[0], grads[1], grads[2], { ...s, compute })
      return [out, ...grads]
    }
    const exact = run('float')
    run('bf16').forEach((rounded, i) => {
      expectClose(rounded, exact[i], 0.05)
      expect(rounded).not.toEqual(exact[i])
    })
  })
})
