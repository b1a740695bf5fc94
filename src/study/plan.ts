// Brings the ledger and the queue to what a specification asks for: runs that are missing are added, jobs that are
// missing are queued, jobs that nobody wants any more are dropped. One transaction, so that a kill leaves the old plan or the new.
import { createCosts, ownShare, type Rates, runCost } from './cost.ts'
import { itemsOf, type PlannedRun, plannedColumns } from './expand.ts'
import { jobId, keyOf } from './key.ts'
import type { Connection, Ledger } from './ledger/open.ts'
import {
  allRuns,
  forgetFailures,
  insertRuns,
  markWaiting,
  measurementKeys,
  removeRuns,
  runStates,
  saveStudy,
} from './ledger/queries.ts'
import type { NewRun, RunRow } from './ledger/schema.ts'
import type { NewJob, Queue } from './queue.ts'
import type { Spec } from './spec.ts'

/** What the study's row keeps of its plan. */
export interface Planned {
  /** Of specification and budget: the same again needs no new plan. */
  hash: string
  runs: number
  measurements: number
  /** Trainings and scorings. */
  jobs: number
  flops: number
  /** Of what is planned, by the calibration at that time; 0 where none was made. */
  seconds: number
  /** That calibration, and the processes that were to share the work. */
  rates?: Rates | null
  processes?: number
  /** Of which random share of the study this is the plan. */
  sample?: { share: number; seed: number } | null
}

/** Scoring goes before training: it is short, and frees nothing by waiting. */
const MEASURE_PRIORITY = 1_000_000_000

/** The share of a study's time in which the shortest trainings go before the longest. */
const EARLY_SHARE = 0.05

type Predicted = Pick<RunRow, 'predictedTraining' | 'predictedQuantizing' | 'predictedEvaluating'>

/**
 * Priorities of trainings (higher goes first) from what each takes with all that is done of it. The shortest go first, a
 * twentieth of the whole and at least one, so that there is something to see at once; then the longest, so that none of
 * them runs alone at the end while other processes have nothing left to do.
 */
export function trainPriorities(costs: readonly number[]): number[] {
  const total = costs.reduce((sum, cost) => sum + cost, 0)
  const priorities = costs.map(() => 0)
  let spent = 0
  const ascending = costs.map((_, i) => i).sort((a, b) => costs[a] - costs[b])
  for (const [rank, i] of ascending.entries()) {
    spent += costs[i]
    priorities[i] = rank === 0 || spent <= EARLY_SHARE * total ? 2 * costs.length - rank : rank
  }
  return priorities
}

/** The jobs that train groups of runs, those of a group sharing one training (its key is the run's where it is alone). */
export function trainJobs(
  study: string,
  groups: readonly (readonly (Pick<RunRow, 'key' | 'flops'> & Predicted)[])[],
): NewJob[] {
  // Operations stand for seconds where not all of these were predicted.
  const isPredicted = groups.every(runs => runs.every(run => run.predictedTraining !== null))
  const costOf = (run: Pick<RunRow, 'flops'> & Predicted) =>
    isPredicted
      ? (run.predictedTraining ?? 0) + (run.predictedQuantizing ?? 0) + (run.predictedEvaluating ?? 0)
      : (run.flops ?? 0)
  const priorities = trainPriorities(groups.map(runs => runs.reduce((sum, run) => sum + costOf(run), 0)))
  return groups.map((runs, i) => {
    const keys = runs.map(run => run.key)
    const key = keys.length === 1 ? keys[0] : keyOf({ train: keys })
    return {
      id: jobId(keyOf({ train: keys })),
      priority: priorities[i],
      data: { kind: 'train', study, key, runs: keys },
    }
  })
}

/** The job that scores what is missing of a run, or undefined where nothing is. */
export function measureJob(
  spec: Spec,
  run: Pick<RunRow, 'key' | 'config'> & Partial<Predicted>,
  have: ReadonlySet<string>,
): NewJob | undefined {
  const { items } = itemsOf(spec, { key: run.key, config: run.config as PlannedRun['config'] })
  const missing = items.filter(item => !have.has(item.key))
  if (!missing.length) return undefined
  const measurements = missing.map(item => item.key)
  const key = keyOf({ measure: measurements })
  const whole = (run.predictedQuantizing ?? 0) + (run.predictedEvaluating ?? 0)
  // The longest first here too, to the millisecond, as far as the database's number goes.
  const milliseconds = Math.min(1e9, Math.round((1000 * whole * missing.length) / items.length))
  return {
    id: jobId(key),
    priority: MEASURE_PRIORITY + milliseconds,
    data: { kind: 'measure', study: spec.name, key, runs: [run.key], measurements },
  }
}

/** Whether a finished run has something to score. */
export function isScorable(run: Pick<RunRow, 'state' | 'diverged' | 'checkpoint' | 'kind'>): boolean {
  return run.state === 'done' && !run.diverged && run.checkpoint !== null
}

async function neededJobs(
  connection: Connection,
  spec: Spec,
  wanted: ReadonlySet<string>,
  held: ReadonlySet<string>,
): Promise<NewJob[]> {
  const have = await measurementKeys(connection, spec.name)
  const jobs: NewJob[] = []
  const groups = new Map<string, RunRow[]>()
  for (const run of await allRuns(connection, spec.name)) {
    if (held.has(run.key) || !wanted.has(run.key)) continue
    if (run.kind === 'checkpoint' ? run.state !== 'failed' : isScorable(run)) {
      const job = measureJob(spec, run, have)
      if (job) jobs.push(job)
    } else if (run.state === 'waiting') groups.set(run.cluster, [...(groups.get(run.cluster) ?? []), run])
  }
  const trainings = [...groups.values()].map(runs => runs.sort((a, b) => (a.d ?? 0) - (b.d ?? 0)))
  return [...jobs, ...trainJobs(spec.name, trainings)]
}

/** Makes the ledger and the queue hold these runs; those that are done stay as they are. */
export async function applyPlan(
  ledger: Ledger,
  queue: Queue,
  spec: Spec,
  runs: readonly PlannedRun[],
  { id, planned, retryFailed }: { id: string; planned: Planned; retryFailed: boolean },
): Promise<void> {
  const wanted = new Set(runs.map(run => run.key))
  await ledger.transaction(async connection => {
    await saveStudy(connection, { name: spec.name, id, spec, planned })
    if (retryFailed) await forgetFailures(connection, spec.name)
    const states = await runStates(connection, spec.name)
    const unwanted = [...states].flatMap(([key, state]) => (state === 'waiting' && !wanted.has(key) ? [key] : []))
    if (unwanted.length) await removeRuns(connection, spec.name, unwanted)
    const fresh = runs.filter(run => !states.has(run.key))
    const costs = planned.rates ? createCosts(spec, planned.rates) : null
    const predicted = (run: PlannedRun): Partial<NewRun> => {
      if (!costs || !run.point) return {}
      const { training, quantizing, evaluating } = costs(run)
      return {
        predictedTraining: training * ownShare(run),
        predictedQuantizing: quantizing,
        predictedEvaluating: evaluating,
      }
    }
    await insertRuns(
      connection,
      fresh.map(
        (run): NewRun => ({
          study: spec.name,
          state: 'waiting',
          flops: runCost(run).flops,
          ...plannedColumns(run),
          ...predicted(run),
        }),
      ),
    )
    const held = (await queue.replan(connection)).flatMap(job => job.runs)
    await markWaiting(connection, spec.name, held)
    await queue.add(await neededJobs(connection, spec, wanted, new Set(held)), connection)
  })
}
