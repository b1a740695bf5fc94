import fc from 'fast-check'
import { expect, test } from 'vitest'
import { allocate, type Choice } from './allocate.ts'

/** The least loss by trying everything. */
function exhaustive(tensors: Choice[][], budget: number): number {
  let best = Number.POSITIVE_INFINITY
  const descend = (t: number, bits: number, loss: number): void => {
    if (bits > budget) return
    if (t === tensors.length) best = Math.min(best, loss)
    else for (const choice of tensors[t]) descend(t + 1, bits + choice.bits, loss + choice.loss)
  }
  descend(0, 0, 0)
  return best
}

test('an allocation is optimal and within the budget', () => {
  const choice = fc.record({
    format: fc.constant('f'),
    bits: fc.integer({ min: 1, max: 40 }),
    loss: fc.double({ min: 0, max: 10, noNaN: true }),
  })
  fc.assert(
    fc.property(
      fc.array(fc.array(choice, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 200 }),
      (tensors, budget) => {
        const found = allocate(tensors, budget)
        const wanted = exhaustive(tensors, budget)
        if (!found) {
          expect(wanted).toBe(Number.POSITIVE_INFINITY)
          return
        }
        expect(found.bits).toBeLessThanOrEqual(budget)
        expect(found.gap).toBe(0)
        expect(found.loss).toBeCloseTo(wanted, 9)
        expect(found.bits).toBe(found.chosen.reduce((sum, i, t) => sum + tensors[t][i].bits, 0))
      },
    ),
    { numRuns: 300 },
  )
})

test('a search that is cut short states its gap', () => {
  const tensors = Array.from({ length: 40 }, (_, t) =>
    [2, 3, 4, 5, 8].map(bits => ({ format: `int${bits}`, bits: bits * (t + 7), loss: ((t % 5) + 1) * 4 ** -bits })),
  )
  const full = allocate(tensors, 4000)!
  const short = allocate(tensors, 4000, { nodes: 10 })!
  expect(short.loss).toBeGreaterThanOrEqual(full.loss)
  expect(short.bound).toBeLessThanOrEqual(full.loss * (1 + 1e-12))
  expect(short.gap).toBeGreaterThanOrEqual(0)
})
