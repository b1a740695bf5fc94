import { expect, test } from 'vitest'
import { createCosts, ownShare, type Rates } from './cost.ts'
import { expandRuns } from './expand.ts'
import { measureJob, trainJobs, trainPriorities } from './plan.ts'
import type { NewJob } from './queue.ts'
import { sampleRuns } from './sample.ts'
import { parseSpec } from './spec.ts'

const spec = parseSpec(`name: x
data: { train: a, valid: b }
models: [ { family: llama, layers: 2, heads: 4, context: 64, grid: { width: [32, 48, 64, 96, 192] } } ]
tokens: [2e5, 4e5, 8e5, 16e5, 32e5]
precision: { grid: { weights: [16, 8, 4] } }
schedules: [ cosine, { kind: wsd, decay: 0.2 } ]
trunks: true
quantize: { formats: ["int{3,4}@64"] }`)
const rates: Rates = {
  timings: [
    { flops: 1e5, rounding: '', seconds: { train: 3e-5, validate: 1e-5, score: 1e-5 } },
    { flops: 1e7, rounding: '', seconds: { train: 3e-4, validate: 1e-4, score: 1e-4 } },
  ],
  quantize: { rtn: { curve: [{ flops: 1e6, seconds: 1e-3 }], factors: {} } },
}
const costs = createCosts(spec, rates)

/** Groups of runs that share a training, with what was predicted. */
function groupsOf(seed: number) {
  const groups = new Map<string, Parameters<typeof trainJobs>[1][number][number][]>()
  for (const run of sampleRuns(spec, expandRuns(spec), rates, 0.3, seed)) {
    const { training, quantizing, evaluating } = costs(run)
    const row = {
      key: run.key,
      flops: 1,
      predictedTraining: training * ownShare(run),
      predictedQuantizing: quantizing,
      predictedEvaluating: evaluating,
    }
    groups.set(run.cluster, [...(groups.get(run.cluster) ?? []), row])
  }
  return [...groups.values()]
}

/** Plays a study on `processes`: each takes the highest priority when it is free; scorings follow their training and go before others. Answers when each job ended. */
function play(groups: ReturnType<typeof groupsOf>, jobs: readonly NewJob[], processes: number): number[] {
  const lengths = new Map(groups.flat().map(run => [run.key, run]))
  const free = new Array<number>(processes).fill(0)
  const waiting = jobs.map(({ priority, data }) => ({ priority, from: 0, runs: data.runs, isTraining: true }))
  const ends: number[] = []
  while (waiting.length) {
    const process = free.indexOf(Math.min(...free))
    const ready = waiting.filter(({ from }) => from <= free[process])
    if (!ready.length) {
      free[process] = Math.min(...waiting.map(({ from }) => from))
      continue
    }
    const job = ready.reduce((best, one) => (one.priority > best.priority ? one : best))
    waiting.splice(waiting.indexOf(job), 1)
    const rows = job.runs.flatMap(key => lengths.get(key) ?? [])
    const seconds = (row: (typeof rows)[number]) =>
      job.isTraining ? (row.predictedTraining ?? 0) : (row.predictedQuantizing ?? 0) + (row.predictedEvaluating ?? 0)
    free[process] += rows.reduce((sum, row) => sum + seconds(row), 0)
    ends.push(free[process])
    if (job.isTraining)
      for (const key of job.runs) waiting.push({ priority: 1e9, from: free[process], runs: [key], isTraining: false })
  }
  return ends
}

test('the shortest trainings are the first, for a twentieth of the time, then the longest', () => {
  const costs = [5, 1, 100, 30, 2, 3, 20, 60]
  const order = (list: number[]) =>
    trainPriorities(list)
      .map((priority, i) => ({ priority, cost: list[i] }))
      .sort((a, b) => b.priority - a.priority)
      .map(({ cost }) => cost)
  expect(order(costs)).toEqual([1, 2, 3, 5, 100, 60, 30, 20])
  expect(order([7, 9, 8])).toEqual([7, 9, 8])
  expect(order([4])).toEqual([4])
  expect(trainPriorities([])).toEqual([])
})

test('no process is left alone with a long training at the end, and something is finished soon', () => {
  for (const seed of [0, 1, 2, 3])
    for (const processes of [2, 4]) {
      const groups = groupsOf(seed)
      const jobs = trainJobs('x', groups)
      const length = (runs: (typeof groups)[number]) =>
        runs.reduce(
          (sum, run) =>
            sum + (run.predictedTraining ?? 0) + (run.predictedQuantizing ?? 0) + (run.predictedEvaluating ?? 0),
          0,
        )
      const lengths = groups.map(length)
      const least = Math.max(lengths.reduce((sum, one) => sum + one, 0) / processes, ...lengths)
      const ends = play(groups, jobs, processes)
      const last = Math.max(...ends)
      expect(last / least).toBeLessThan(1.05)
      const ascending = jobs.map((job, i) => ({ ...job, priority: -lengths[i] }))
      expect(last).toBeLessThan(Math.max(...play(groups, ascending, processes)))
      expect(Math.min(...ends)).toBeLessThan(2 * Math.min(...lengths))
    }
})

test('where seconds were not predicted, operations say which training is long; scoring goes before any', () => {
  const row = (key: string, flops: number, predictedTraining: number | null = null) => ({
    key,
    flops,
    predictedTraining,
    predictedQuantizing: null,
    predictedEvaluating: null,
  })
  const order = (groups: Parameters<typeof trainJobs>[1]) =>
    [...trainJobs('x', groups)].sort((a, b) => b.priority - a.priority).map(({ data }) => data.runs.join('+'))
  const groups = [[row('a', 1e12)], [row('b', 1e15)], [row('c', 1e14), row('d', 9.5e14)], [row('e', 1e13)]]
  expect(order(groups)).toEqual(['a', 'e', 'c+d', 'b'])
  expect(order([[row('a', 1e12, 9)], [row('b', 1e15, 8)], [row('c', 1, 7)]])).toEqual(['c', 'a', 'b'])
  const [run] = expandRuns(spec)
  const scored = (seconds: number) =>
    measureJob(
      spec,
      { key: run.key, config: run.config, predictedQuantizing: 0, predictedEvaluating: seconds },
      new Set(),
    )?.priority ?? 0
  expect(scored(0)).toBeGreaterThan(Math.max(...trainPriorities(new Array(1e5).fill(1))))
  expect(scored(2)).toBeGreaterThan(scored(1))
  // The database's whole numbers have 32 bits.
  expect(scored(1e12)).toBeLessThan(2 ** 31)
})
