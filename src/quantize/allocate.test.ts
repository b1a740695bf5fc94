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

const LOSSES = {
  'with many ties': fc.integer({ min: 0, max: 4 }),
  'of one size': fc.integer({ min: 1, max: 1e6 }).map(millionths => millionths / 1e6),
  'of all sizes': fc.double({ min: -12, max: 12, noNaN: true }).map(exponent => 10 ** exponent),
}

test.each(Object.entries(LOSSES))(
  'an allocation is optimal or within the gap that it states: losses %s',
  (_, losses) => {
    const choice = fc.record({ format: fc.constant('f'), bits: fc.integer({ min: 1, max: 40 }), loss: losses })
    const tensors = fc.array(fc.array(choice, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(
        tensors,
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 0, max: 12 }),
        (tensors, budget, nodes) => {
          const wanted = exhaustive(tensors, budget)
          const whole = allocate(tensors, budget)
          const short = allocate(tensors, budget, { nodes })
          expect(whole !== undefined && short !== undefined).toBe(Number.isFinite(wanted))
          if (!whole || !short) return
          for (const { chosen, bits, loss, bound, gap } of [whole, short]) {
            const sum = (key: 'bits' | 'loss') => chosen.reduce((all, i, t) => all + tensors[t][i][key], 0)
            expect(bits).toBeLessThanOrEqual(budget)
            expect(bits).toBe(sum('bits'))
            expect(Math.abs(loss - sum('loss'))).toBeLessThanOrEqual(1e-12 * loss)
            expect(loss).toBeGreaterThanOrEqual(wanted * (1 - 1e-12))
            expect(bound).toBeLessThanOrEqual(wanted * (1 + 1e-12))
            expect(loss * (1 - gap)).toBeLessThanOrEqual(wanted * (1 + 1e-12))
          }
          expect(whole.gap).toBe(0)
        },
      ),
      { numRuns: 500 },
    )
  },
)

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
