import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sortedFinite } from './sort.ts'

test('values are in the order of a comparison sort, without what is not finite', () => {
  fc.assert(
    fc.property(fc.float32Array(), x => {
      const wanted = Float32Array.from(x.filter(Number.isFinite)).sort()
      expect(sortedFinite(x)).toEqual(wanted)
      expect(Array.from(sortedFinite(Array.from(x)))).toEqual(Array.from(wanted))
    }),
  )
  const many = Float32Array.from({ length: 70001 }, (_, i) => Math.sin(i * i) * 10 ** ((i % 90) - 45))
  many.set([Number.NaN, -0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
  expect(sortedFinite(many.subarray(1))).toEqual(many.slice(1).filter(Number.isFinite).sort())
})
