import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Rates } from './cost.ts'
import { expandRuns } from './expand.ts'
import { type Ledger, openLedger } from './ledger/open.ts'
import { allRuns, costLeft, markRunning, saveMeasurements, saveRuns } from './ledger/queries.ts'
import { applyPlan } from './plan.ts'
import { sumsOf } from './prepare.ts'
import { openQueue, type Queue } from './queue.ts'
import { parseSpec } from './spec.ts'
import { statusFromLedger, timeLeft } from './status.ts'

let folder: string
let ledger: Ledger
let queue: Queue
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bitlaw-status-'))
  ledger = await openLedger(folder, undefined)
  queue = await openQueue(ledger, 'x')
})
afterAll(async () => {
  await queue.close()
  await ledger.close()
  rmSync(folder, { recursive: true, force: true })
})

test('what is left goes on at the pace of what was done, at first as predicted', () => {
  expect(timeLeft(100, 0, 0, 2)).toBe(50)
  // A machine half as fast as predicted: 1000 predicted seconds of one core took 1000 by the clock, on two.
  expect(timeLeft(1000, 1000, 1000, 2)).toBeCloseTo(1000, -2)
  expect(timeLeft(0, 1000, 1000, 2)).toBe(0)
})

test('jobs weigh as much as they were predicted to take, not one each', async () => {
  const rates: Rates = {
    timings: [{ flops: 1e5, rounding: '', seconds: { train: 1e-4, validate: 0, score: 1e-4 } }],
    quantize: { rtn: { curve: [{ flops: 1e5, seconds: 0.01 }], factors: {} } },
  }
  const spec = parseSpec(`name: x
data: { train: a, valid: b }
models: [ { family: llama, layers: 2, heads: 4, context: 64, grid: { width: [16, 128] } } ]
tokens: [1e6]
quantize: { formats: ["int{3,4}@64"] }`)
  const runs = expandRuns(spec)
  const { runs: _, ...sums } = sumsOf(spec, runs, 2, rates)
  const planned = { hash: '', runs: runs.length, ...sums }
  await applyPlan(ledger, queue, spec, runs, { id: 'x', planned, retryFailed: false })
  const [small, large] = (await allRuns(ledger, 'x')).sort((a, b) => (a.n ?? 0) - (b.n ?? 0))
  const scoring = (run: typeof small) => (run.predictedQuantizing ?? 0) + (run.predictedEvaluating ?? 0)
  const cost = (run: typeof small) => (run.predictedTraining ?? 0) + scoring(run)
  const all = cost(small) + cost(large)
  expect(cost(large)).toBeGreaterThan(10 * cost(small))
  expect(await costLeft(ledger, 'x')).toBeCloseTo(all, 6)
  expect((await statusFromLedger(ledger, 'x', planned, 0)).secondsLeft).toBeCloseTo(all / 2, 6)

  await markRunning(ledger, 'x', [small.key], 'me')
  expect(await costLeft(ledger, 'x')).toBeCloseTo(all, 6)
  const { key, kind, cluster, config } = small
  await saveRuns(ledger, 'x', [{ key, kind, cluster, config, state: 'done', checkpoint: 'there' }], 'me')
  expect(await costLeft(ledger, 'x')).toBeCloseTo(all - (small.predictedTraining ?? 0), 6)
  await saveMeasurements(ledger, 'x', [{ key: 'm', run: key, method: 'none', state: 'done' }], 'me')
  expect(await costLeft(ledger, 'x')).toBeCloseTo(cost(large), 6)
  // A run that diverged has nothing to be scored.
  const other = { key: large.key, kind, cluster: large.cluster, config: large.config }
  await saveRuns(ledger, 'x', [{ ...other, state: 'done', diverged: true, checkpoint: 'there' }], 'me')
  expect((await statusFromLedger(ledger, 'x', planned, 0)).secondsLeft).toBe(0)
})
