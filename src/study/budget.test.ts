import { expect, test } from 'vitest'
import { withinBudget } from './budget.ts'
import { createCosts, planCost, type Rates } from './cost.ts'
import { expandRuns } from './expand.ts'
import { parseSpec } from './spec.ts'

const rates: Rates = {
  timings: [
    { flops: 1e5, rounding: '', seconds: { train: 3e-5, validate: 1e-5, score: 1e-5 } },
    { flops: 1e7, rounding: '', seconds: { train: 3e-4, validate: 1e-4, score: 1e-4 } },
    { flops: 1e5, rounding: 'weights 8', seconds: { train: 4e-5, validate: 1e-5 } },
  ],
  quantize: { rtn: { curve: [{ flops: 1e6, seconds: 1e-3 }], factors: {} } },
}
const spec = parseSpec(`name: x
data: { train: a, valid: b }
models: [ { family: llama, layers: 2, heads: 4, context: 64, grid: { width: [32, 64, 128] } } ]
tokens: [1e5, 4e5, 16e5]
precision: { grid: { weights: [16, 8, 6, 4] } }
schedules: [ cosine, { kind: wsd, decay: 0.2 } ]
quantize: { formats: ["int{3,4}@64"] }`)
const runs = expandRuns(spec)

test('a budget is kept, and is used', () => {
  const all = planCost(spec, runs, rates, 2).seconds
  for (const share of [0.3, 0.6, 0.9]) {
    const kept = withinBudget(spec, runs, rates, 2, share * all)
    const seconds = planCost(spec, kept, rates, 2).seconds
    expect(seconds).toBeLessThanOrEqual(share * all)
    expect(seconds).toBeGreaterThan(0.5 * share * all)
  }
  expect(withinBudget(spec, runs, rates, 2, all)).toEqual(runs)
})

test('what is left still varies every setting', () => {
  const kept = withinBudget(spec, runs, rates, 2, 0.4 * planCost(spec, runs, rates, 2).seconds)
  const count = (name: (run: (typeof runs)[number]) => unknown) => new Set(kept.map(name)).size
  expect(count(run => run.point?.model.width)).toBeGreaterThan(1)
  expect(count(run => run.d)).toBeGreaterThan(1)
  expect(count(run => (run.config['precision'] as { weights: number }).weights)).toBe(4)
  expect(count(run => (run.config['schedule'] as { kind: string }).kind)).toBe(2)
})

test('costs grow with tokens and models, and a trunk is paid for once', () => {
  const [first] = runs
  const seconds = createCosts(spec, rates)(first)
  expect(seconds.training).toBeGreaterThan(0)
  const shared = { ...spec, trunks: true, schedules: [{ kind: 'wsd' as const, warmup: 0.01, final: 0.1, decay: 0.2 }] }
  const alone = { ...shared, trunks: false }
  const [once, thrice] = [shared, alone].map(one => planCost(one, expandRuns(one), rates, 2))
  expect(once.runs).toBe(thrice.runs)
  expect(once.flops).toBeLessThan(0.95 * thrice.flops)
  expect(once.byKind['llama 32x2'].runs).toBe(12)
})
