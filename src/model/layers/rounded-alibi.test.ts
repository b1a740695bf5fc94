// The biases of each head against softmax written out, where slopes and products have more than bf16's 8 bits.
import { expect, test } from 'vitest'
import type { AttentionShape } from '../../tensor/kernels.ts'
import { toBf16 } from '../../tensor/reference/numbers.ts'
import { createReference } from '../../tensor/reference.ts'
import { createNormal } from '../random.ts'
import { alibiSlopes } from '../rope.ts'
import { createRoundedAlibi } from './rounded-alibi.ts'
import type { Scope } from './scope.ts'

test('slope * position is rounded before it is added to unscaled scores', () => {
  const kernels = createReference({ float: 'float64' })
  const [length, heads, kvHeads, headSize, scale] = [29, 16, 4, 3, 0.6]
  const shape: AttentionShape = { batch: 1, length, heads, kvHeads, headSize, scale, window: null, compute: 'float' }
  const fresh = (_name: string, size: number) => kernels.allocate(size)
  const scope = { kernels, first: 0, keep: fresh, backwardScratch: fresh } as unknown as Scope
  const slopes = alibiSlopes(heads)
  const random = (name: string, of: number) => {
    const normal = createNormal(3, name)
    return Float64Array.from({ length: length * of * headSize }, (_, i) => normal(i))
  }
  const [q, k, v] = [random('q', heads), random('k', kvHeads), random('v', kvHeads)]
  const out = kernels.allocate(q.length)
  createRoundedAlibi(scope, shape, slopes).attention(q, k, v, out, kernels.allocate(heads * length), shape)
  for (let h = 0; h < heads; h++)
    for (let t = 0; t < length; t++) {
      const keyAt = (s: number) => (s * kvHeads + Math.floor(h / 4)) * headSize
      const weights = Array.from({ length: t + 1 }, (_, s) => {
        let score = toBf16(toBf16(slopes[h]) * s)
        for (let i = 0; i < headSize; i++) score += q[(t * heads + h) * headSize + i] * k[keyAt(s) + i]
        return Math.exp(score * scale)
      })
      const sum = weights.reduce((a, b) => a + b)
      for (let i = 0; i < headSize; i++) {
        const expected = weights.reduce((all, weight, s) => all + (weight / sum) * v[keyAt(s) + i], 0)
        expect(out[(t * heads + h) * headSize + i]).toBeCloseTo(expected, 10)
      }
    }
})
