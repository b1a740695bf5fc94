// Orders of rows against what they are for, computed plainly: rotated scores, and the heads of fused matrices.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ModelConfig } from '../config.ts'
import { fusedByHead, interleavedPairs } from './rows.ts'

/** A head's numbers with neighbours (2i, 2i+1) rotated by angle(i) * position, for the first `rotated` of them. */
function rotateNeighbours(head: readonly number[], position: number, rotated: number): number[] {
  const out = [...head]
  for (let i = 0; i < rotated / 2; i++) {
    const angle = position * 100 ** ((-2 * i) / rotated)
    out[2 * i] = head[2 * i] * Math.cos(angle) - head[2 * i + 1] * Math.sin(angle)
    out[2 * i + 1] = head[2 * i] * Math.sin(angle) + head[2 * i + 1] * Math.cos(angle)
  }
  return out
}

/** The same with halves (i, i + rotated / 2) as pairs. */
function rotateHalves(head: readonly number[], position: number, rotated: number): number[] {
  const out = [...head]
  const pairs = rotated / 2
  for (let i = 0; i < pairs; i++) {
    const angle = position * 100 ** ((-2 * i) / rotated)
    out[i] = head[i] * Math.cos(angle) - head[i + pairs] * Math.sin(angle)
    out[i + pairs] = head[i] * Math.sin(angle) + head[i + pairs] * Math.cos(angle)
  }
  return out
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0)

test('scores are the same whether neighbours or halves are rotated', () => {
  const number = fc.double({ min: -2, max: 2, noNaN: true })
  const vectors = fc.array(number, { minLength: 24, maxLength: 24 })
  fc.assert(
    fc.property(vectors, vectors, fc.nat(9), fc.nat(9), fc.constantFrom(2, 4, 6, 8), (q, k, at, to, rotated) => {
      const rows = interleavedPairs(3, 8, rotated)
      const pick = (x: readonly number[]) => Array.from(rows, row => x[row])
      for (let head = 0; head < 3; head++) {
        const slice = (x: readonly number[]) => x.slice(8 * head, 8 * head + 8)
        const expected = dot(rotateNeighbours(slice(q), at, rotated), rotateNeighbours(slice(k), to, rotated))
        const found = dot(rotateHalves(slice(pick(q)), at, rotated), rotateHalves(slice(pick(k)), to, rotated))
        expect(found).toBeCloseTo(expected, 9)
      }
    }),
  )
})

test('heads of a fused matrix: each group its queries, then a key, then a value', () => {
  for (const [heads, kvHeads] of [
    [4, 4],
    [6, 2],
    [5, 1],
  ]) {
    const headSize = 3
    // what the file stores, row by row, as names
    const file: string[] = []
    for (let group = 0; group < kvHeads; group++) {
      for (let q = 0; q < heads / kvHeads; q++)
        for (let i = 0; i < headSize; i++) file.push(`q${(group * heads) / kvHeads + q}.${i}`)
      for (const part of ['k', 'v']) for (let i = 0; i < headSize; i++) file.push(`${part}${group}.${i}`)
    }
    const names = (part: string, count: number) =>
      Array.from({ length: count * headSize }, (_, i) => `${part}${Math.floor(i / headSize)}.${i % headSize}`)
    const rows = fusedByHead({ heads, kvHeads, headSize } as ModelConfig)
    expect(Array.from(rows, row => file[row])).toEqual([
      ...names('q', heads),
      ...names('k', kvHeads),
      ...names('v', kvHeads),
    ])
  }
})
