import { expect, test } from 'vitest'
import { planCost, type Rates } from './cost.ts'
import { expandRuns } from './expand.ts'
import { sampleRuns } from './sample.ts'
import { parseSpec } from './spec.ts'

const rates: Rates = {
  timings: [
    { flops: 1e5, rounding: '', seconds: { train: 3e-5, validate: 1e-5, score: 1e-5 } },
    { flops: 1e7, rounding: '', seconds: { train: 3e-4, validate: 1e-4, score: 1e-4 } },
  ],
  quantize: { rtn: { curve: [{ flops: 1e6, seconds: 1e-3 }], factors: {} } },
}
const spec = parseSpec(`name: x
data: { train: a, valid: b }
models: [ { family: llama, layers: 2, heads: 4, context: 64, grid: { width: [32, 48, 64, 128] } } ]
tokens: [1e5, 4e5, 16e5]
trunks: true
precision: { grid: { weights: [16, 12, 8, 6, 4], kv: [16, 8, 4] } }
schedules: [ cosine, { kind: wsd, decay: 0.2 } ]
quantize: { formats: ["int{3,4}@64"] }`)
const runs = expandRuns(spec)
const seconds = (some: typeof runs) => planCost(spec, some, rates, 1).seconds

test('a sample is the same for the same seed, and its predicted time is the share of the whole', () => {
  for (const share of [0.05, 0.2, 0.5])
    for (const seed of [0, 1, 2]) {
      const sample = sampleRuns(spec, runs, rates, share, seed)
      expect(sample).toEqual(sampleRuns(spec, runs, rates, share, seed))
      expect(Math.abs(seconds(sample) / seconds(runs) / share - 1)).toBeLessThan(0.06)
    }
  expect(sampleRuns(spec, runs, rates, 1, 0).length).toBe(runs.length)
  expect(sampleRuns(spec, runs, rates, 1e-6, 0).length).toBeGreaterThan(0)
})

test('the runs of one trunk come together, and every training has about the same chance', () => {
  const drawn = new Map(runs.map(run => [run.cluster, 0]))
  const draws = 200
  for (let seed = 0; seed < draws; seed++) {
    const sample = new Set(sampleRuns(spec, runs, rates, 0.2, seed))
    for (const run of sample) {
      for (const other of runs) if (other.cluster === run.cluster) expect(sample.has(other)).toBe(true)
      if (run.key === run.cluster) drawn.set(run.cluster, (drawn.get(run.cluster) ?? 0) + 1)
    }
  }
  const counts = [...drawn.values()]
  expect(counts.reduce((sum, count) => sum + count, 0) / counts.length).toBeCloseTo(0.2 * draws, -0.5)
  // Binomial, six standard deviations.
  const spread = 6 * Math.sqrt(draws * 0.2 * 0.8)
  expect(Math.min(...counts)).toBeGreaterThan(Math.max(0, 0.2 * draws - spread))
  expect(Math.max(...counts)).toBeLessThan(0.2 * draws + spread)
})
