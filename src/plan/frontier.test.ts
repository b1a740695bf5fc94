import fc from 'fast-check'
import { expect, test } from 'vitest'
import { publishedFits } from './fits.ts'
import { frontierOf, orderOf } from './frontier.ts'
import { gridLosses, trainFrontier } from './grid.ts'
import { menuOf } from './menu.ts'
import { lossAt, tied } from './train.ts'

const numbers = fc.array(
  fc.oneof(
    fc.double({ noNaN: true, min: -10, max: 10 }),
    fc.integer({ min: -3, max: 3 }).map(n => n + 0),
  ),
  { minLength: 1, maxLength: 60 },
)

test('the order is that of a stable sort', () => {
  fc.assert(
    fc.property(numbers, values => {
      const plain = values.map(value => (Object.is(value, -0) ? 0 : value))
      const expected = plain.map((_, i) => i).sort((a, b) => plain[a] - plain[b] || a - b)
      expect([...orderOf(Float64Array.from(plain))]).toEqual(expected)
    }),
  )
})

/** The definition: no other is at most equal in all and less in one. */
function byDefinition(lists: readonly (readonly number[])[]): number[] {
  return lists[0].map((_, i) => {
    if (!lists.every(list => Number.isFinite(list[i]))) return 0
    const beaten = lists[0].some(
      (_, j) => lists.every(list => list[j] <= list[i]) && lists.some(list => list[j] < list[i]),
    )
    return beaten ? 0 : 1
  })
}

const coarse = fc.oneof(
  fc.integer({ min: 0, max: 6 }),
  fc.double({ noNaN: true, min: 1e-3, max: 1e6 }),
  fc.constant(Number.NaN),
  fc.constant(Number.POSITIVE_INFINITY),
)

test.each([2, 3])('the frontier of %i numbers is that of the definition', dimensions => {
  fc.assert(
    fc.property(
      fc.array(fc.array(coarse, { minLength: dimensions, maxLength: dimensions }), { minLength: 1, maxLength: 80 }),
      rows => {
        const lists = Array.from({ length: dimensions }, (_, k) => rows.map(row => row[k] + 0))
        const [a, b, c] = lists.map(list => Float64Array.from(list))
        expect([...frontierOf(a, b, c)]).toEqual(byDefinition(lists))
      },
    ),
    { numRuns: 300 },
  )
})

const fits = publishedFits()

test('losses by tables are those that every law says itself', () => {
  const n = [1e7, 1e9, 3e11]
  const d = [1e9, 1e11, 1e13]
  for (const fit of fits) {
    const bits = menuOf(fit) ?? [3, 4, 6.5, 8, 16].map(tied)
    for (const postBits of [undefined, 3.5]) {
      const problem = { cost: { kind: 'bits' }, postBits } as const
      const losses = gridLosses(fit, problem, { n, d, bits })
      bits.forEach((one, b) => {
        n.forEach((size, i) => {
          d.forEach((tokens, j) => {
            const own = lossAt(fit.law, fit.parameters, problem, size, tokens, one)
            const tabled = losses[(b * 3 + i) * 3 + j]
            if (Number.isFinite(own)) expect(Math.abs(tabled / own - 1)).toBeLessThan(1e-9)
            else expect(Number.isFinite(tabled)).toBe(false)
          })
        })
      })
    }
  }
})

test('the frontier of plans is that of the definition, within the limits', () => {
  const fit = fits.find(one => one.law.name === 'kumar_unified')!
  const grid = { n: [1e7, 1e8, 1e9, 1e10], d: [1e9, 1e10, 1e11], bits: [4, 6, 8, 16].map(tied) }
  const problem = { compute: 1e21, servingMemory: 5e9, cost: { kind: 'bits' } } as const
  const points = trainFrontier(fit, problem, grid)
  const all = grid.bits
    .flatMap(bits =>
      grid.n.flatMap(n =>
        grid.d.map(d => ({
          n,
          d,
          pw: bits.pw,
          flops: (6 * n * d * bits.pw) / 16,
          bytes: (n * bits.pw) / 8,
          loss: lossAt(fit.law, fit.parameters, problem, n, d, bits),
        })),
      ),
    )
    .filter(one => one.flops <= 1e21 && one.bytes <= 5e9)
  const marks = byDefinition([all.map(one => one.flops), all.map(one => one.bytes), all.map(one => one.loss)])
  const key = ({ n, d, pw }: { n: number; d: number; pw: number }) => `${n} ${d} ${pw}`
  expect(points.map(key).sort()).toEqual(
    all
      .filter((_, i) => marks[i] === 1)
      .map(key)
      .sort(),
  )
})
