// What a study's runs were predicted to take and what they took: by model and kind of work, and run by run. Times are of
// the processor, which does not count what else ran on the machine; those of the clock stand beside them.
import { createCosts, kindOf, ownShare, type Rates, type RunSeconds } from './cost.ts'
import { expandRuns, type PlannedRun } from './expand.ts'
import type { MeasurementRow, RunRow } from './ledger/schema.ts'
import type { StudyData } from './read.ts'

/** Seconds of one core: predicted before, measured by the processor's time, and by the clock. */
export interface Compared {
  predicted: number
  measured: number
  clock: number
}

/** One finished run. */
export interface RunProfile {
  key: string
  kind: string
  n: number | null
  d: number | null
  precision: [number | null, number | null, number | null]
  work: Record<keyof RunSeconds, Compared>
}

/** The document of `study profile`. */
export interface StudyProfile {
  study: string
  /** The share that was drawn, or null where all was run. */
  sample: { share: number; seed: number } | null
  processes: number
  /** Runs that are finished, of those planned. */
  finished: number
  planned: number
  /** Sums over finished runs, by kind of work. */
  work: Record<keyof RunSeconds, Compared>
  total: Compared
  byKind: Record<string, { runs: number } & Record<keyof RunSeconds, Compared>>
  /** Seconds of the clock of the whole: predicted with all processes busy, and from the first start to the last result. */
  clock: { predicted: number; measured: number | null }
  /** The whole study, at the rates that were measured: seconds of the clock with all processes busy. */
  whole: { predicted: number; corrected: number }
  runs: RunProfile[]
}

const none = (): Compared => ({ predicted: 0, measured: 0, clock: 0 })
const noWork = () => ({ training: none(), quantizing: none(), evaluating: none() })
const KINDS = ['training', 'quantizing', 'evaluating'] as const

function add(into: Compared, more: Compared): void {
  into.predicted += more.predicted
  into.measured += more.measured
  into.clock += more.clock
}

function measured(run: RunRow, own: number, rows: readonly MeasurementRow[]): Record<keyof RunSeconds, Compared> {
  const work = noWork()
  // A trunk's shorter runs were trained by its longest for the part that they share, which has no time of their own.
  work.training.clock = (run.seconds ?? 0) * own
  work.training.measured = run.processorSeconds ?? work.training.clock
  for (const row of rows) {
    const all = row.seconds ?? 0
    const cpu = row.processorSeconds ?? all
    const part = all > 0 ? (row.quantizeSeconds ?? 0) / all : 0
    work.quantizing.clock += all * part
    work.quantizing.measured += cpu * part
    work.evaluating.clock += all * (1 - part)
    work.evaluating.measured += cpu * (1 - part)
  }
  return work
}

/** Compares what is in the ledger with what was predicted when the study was planned. */
export function profileStudy({ file, spec, planned, runs, measurements }: StudyData): StudyProfile {
  const rates: Rates = planned?.rates ?? { timings: [], quantize: {} }
  const processes = planned?.processes ?? 1
  const costs = createCosts(spec, rates)
  const rows = new Map(runs.map(run => [run.key, run]))
  const scored = new Map<string, MeasurementRow[]>()
  for (const row of measurements) scored.set(row.run, [...(scored.get(row.run) ?? []), row])
  const all = expandRuns(spec)
  const profile: StudyProfile = {
    study: file.name,
    sample: planned?.sample ?? null,
    processes,
    finished: 0,
    planned: planned?.runs ?? all.length,
    work: noWork(),
    total: none(),
    byKind: {},
    clock: { predicted: planned?.seconds ?? 0, measured: elapsed(runs, measurements) },
    whole: { predicted: 0, corrected: 0 },
    runs: [],
  }
  const predictions = all.map(run => ({ run, seconds: predictedOf(costs, run) }))
  for (const { run, seconds } of predictions) {
    const row = rows.get(run.key)
    if (row?.state !== 'done' || !run.point) continue
    const work = measured(row, ownShare(run), scored.get(run.key) ?? [])
    work.training.predicted = row.predictedTraining ?? seconds.training
    work.quantizing.predicted = row.predictedQuantizing ?? seconds.quantizing
    work.evaluating.predicted = row.predictedEvaluating ?? seconds.evaluating
    profile.finished++
    const group = profile.byKind[kindOf(run)] ?? { runs: 0, ...noWork() }
    profile.byKind[kindOf(run)] = group
    group.runs++
    for (const kind of KINDS) {
      add(profile.work[kind], work[kind])
      add(group[kind], work[kind])
      add(profile.total, work[kind])
    }
    profile.runs.push({
      key: run.key,
      kind: kindOf(run),
      n: row.n,
      d: row.d,
      precision: [row.pW, row.pA, row.pKv],
      work,
    })
  }
  for (const { seconds } of predictions)
    for (const kind of KINDS) {
      const { predicted, measured } = profile.work[kind]
      profile.whole.predicted += seconds[kind] / processes
      profile.whole.corrected += (seconds[kind] * (predicted > 0 ? measured / predicted : 1)) / processes
    }
  return profile
}

function predictedOf(costs: (run: PlannedRun) => RunSeconds, run: PlannedRun): RunSeconds {
  const seconds = costs(run)
  return { ...seconds, training: seconds.training * ownShare(run) }
}

/** Seconds from the first start to the last result. */
function elapsed(runs: readonly RunRow[], measurements: readonly MeasurementRow[]): number | null {
  const starts = runs.flatMap(({ startedAt }) => (startedAt ? [Date.parse(startedAt)] : []))
  const ends = [...runs, ...measurements].flatMap(({ finishedAt }) => (finishedAt ? [Date.parse(finishedAt)] : []))
  return starts.length && ends.length ? (Math.max(...ends) - Math.min(...starts)) / 1000 : null
}
