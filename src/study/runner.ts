// Does a study's jobs: takes them from the queue, gives each to a child process, commits what comes back together with
// the end of its job. The same loop serves the owner of an embedded ledger and the workers of a server.
import { join } from 'node:path'
import { failedOutcome, finishedResult, writeResult } from './child.ts'
import { itemsOf, type PlannedConfig } from './expand.ts'
import { MachineError } from './files.ts'
import { shortKey } from './key.ts'
import { patiently } from './ledger/errors.ts'
import type { Connection, Ledger } from './ledger/open.ts'
import { findStudy, markRunning, measurementKeys, runsByKey, saveMeasurements, saveRuns } from './ledger/queries.ts'
import type { RunRow } from './ledger/schema.ts'
import { placeConfig, placeData } from './paths.ts'
import { isScorable, measureJob } from './plan.ts'
import { killOrphans, type Pool, type PoolEvent, startPool } from './pool.ts'
import { thisProcess } from './process.ts'
import type { HeldJob, NewJob, Queue } from './queue.ts'
import type { Spec } from './spec.ts'
import type { Outcome, Task, TaskProgress, TaskRun } from './work.ts'

/** A child that dies so often in one job without having got anywhere has met a failure of the job. */
const CRASHES = 5
/** How long children may take to save what they have when asked to stop. */
const STOP_SECONDS = 20

/** What is running, for a display. */
export interface RunningTask {
  task: Task
  started: number
  /** Seconds of one core, as predicted; of what nothing is known, one. */
  cost: number
  progress: TaskProgress
}

/** Where the runner is. */
export interface RunnerState {
  /** Jobs that this process has finished, and how many of those failed. */
  finished: number
  failed: number
  running: RunningTask[]
}

/** What a runner needs. */
export interface RunnerOptions {
  ledger: Ledger
  queue: Queue
  spec: Spec
  /** The study's folder. */
  folder: string
  /** Where relative paths of configurations are looked for. */
  roots: readonly string[]
  /** Child processes, one task each. */
  processes: number
  /** Address of the module with the `work`. */
  work: string
  leaseSeconds: number
  /** Children that were started already. */
  pool?: Pool
  signal?: AbortSignal
  onChange?(state: RunnerState): void
}

function taskRun({ folder, roots }: RunnerOptions, run: RunRow): TaskRun {
  const { key, kind, cluster, n, d } = run
  const checkpoint = run.checkpoint === null ? null : join(folder, run.checkpoint)
  return {
    key,
    kind,
    cluster,
    config: run.config as TaskRun['config'],
    placed: placeConfig(run.config as TaskRun['config'], roots),
    checkpoint,
    n,
    d,
  }
}

/** The command of someone else's trainer, or null. */
function trainerOf({ config }: RunRow): string | null {
  return (config as { trainer?: { command: string } }).trainer?.command ?? null
}

/** The folder of a training's files and results. */
export function trainFolder(folder: string, key: string): string {
  return join(folder, 'runs', shortKey(key))
}

/** The specification as the ledger has it: a worker may have begun before formats were added. */
async function currentSpec(connection: Connection, spec: Spec): Promise<Spec> {
  return ((await findStudy(connection, spec.name))?.spec as Spec | undefined) ?? spec
}

/** What a task was predicted to take. */
function costOf(kind: Task['kind'], rows: readonly RunRow[]): number {
  return rows.reduce(
    (sum, { predictedTraining, predictedQuantizing, predictedEvaluating }) =>
      sum +
      (kind === 'train'
        ? (predictedTraining ?? 1)
        : predictedQuantizing === null
          ? 1
          : predictedQuantizing + (predictedEvaluating ?? 0)),
    0,
  )
}

async function taskOf(
  connection: Connection,
  options: RunnerOptions,
  { data }: HeldJob,
): Promise<{ task: Task; cost: number } | undefined> {
  const { folder, roots } = options
  const spec = await currentSpec(connection, options.spec)
  const rows = await runsByKey(connection, spec.name, data.runs)
  if (rows.length < data.runs.length) return undefined
  const cost = costOf(data.kind, rows)
  if (data.kind === 'train') {
    const runs = rows.map(row => taskRun(options, row))
    const task: Task = {
      kind: 'train',
      key: data.key,
      folder: trainFolder(folder, data.key),
      runs,
      trainer: trainerOf(rows[0]),
    }
    return { task, cost }
  }
  const [row] = rows
  const have = await measurementKeys(connection, spec.name, row.key)
  const wanted = new Set(data.measurements)
  const { items, scoring } = itemsOf(spec, { key: row.key, config: row.config as PlannedConfig })
  const missing = items.filter(item => wanted.has(item.key) && !have.has(item.key))
  if (!missing.length) return undefined
  const into = join(trainFolder(folder, row.key), `measure-${data.key.slice(0, 8)}`)
  const task: Task = {
    kind: 'measure',
    key: data.key,
    folder: into,
    run: taskRun(options, row),
    items: missing,
    scoring: { ...scoring, data: placeData(scoring.data, roots) },
  }
  return { task, cost }
}

/** Writes an outcome and what follows from it, and ends the job, in one transaction; false where another worker holds the job by now. */
async function commit(
  { ledger, queue, spec }: RunnerOptions,
  job: HeldJob,
  outcome: Outcome,
  worker: string,
): Promise<boolean> {
  return patiently(ledger, () =>
    ledger.transaction(async connection => {
      if (!(await queue.holds(job, connection))) return false
      await saveRuns(connection, spec.name, outcome.runs, worker)
      await saveMeasurements(connection, spec.name, outcome.measurements, worker)
      await queue.finish(job, connection)
      if (job.data.kind === 'train')
        await queue.add(await followers(connection, await currentSpec(connection, spec), outcome), connection)
      return true
    }),
  )
}

/** The jobs that score the checkpoints of a training. */
async function followers(connection: Connection, spec: Spec, outcome: Outcome): Promise<NewJob[]> {
  const jobs: NewJob[] = []
  for (const run of outcome.runs) {
    if (!isScorable({ ...run, diverged: run.diverged ?? false, checkpoint: run.checkpoint ?? null })) continue
    const job = measureJob(spec, run, await measurementKeys(connection, spec.name, run.key))
    if (job) jobs.push(job)
  }
  return jobs
}

/** Works until the queue is empty, the signal is given, or the machine fails (a MachineError). Children are gone when it returns. */
export async function runJobs(options: RunnerOptions): Promise<RunnerState & { stopped: boolean }> {
  const { ledger, queue, spec, folder, processes, leaseSeconds, signal, onChange } = options
  if (!options.pool) killOrphans(folder)
  const me = thisProcess()
  const worker = `${me.host}:${me.pid}`
  const events: PoolEvent[] = []
  let wake = () => {}
  const pool = options.pool ?? startPool(folder, processes, spec.threads, options.work)
  pool.listen(event => {
    events.push(event)
    wake()
  })
  const held = new Map<number, { job: HeldJob; running: RunningTask; crashes: number }>()
  const state: RunnerState = { finished: 0, failed: 0, running: [] }
  const changed = () => {
    state.running = [...held.values()].map(({ running }) => running)
    onChange?.(state)
  }
  const jobs = () => [...held.values()].map(({ job }) => job)
  const isFailed = (outcome: Outcome) => [...outcome.runs, ...outcome.measurements].some(row => row.state === 'failed')

  const finish = async (job: HeldJob, outcome: Outcome) => {
    if (!(await commit(options, job, outcome, worker))) return
    state.finished++
    if (isFailed(outcome)) state.failed++
  }

  const react = async (event: PoolEvent) => {
    const mine = held.get(event.slot)
    if (!mine) return
    switch (event.type) {
      case 'progress':
        mine.running.progress = event.progress
        return
      case 'done':
        held.delete(event.slot)
        return finish(mine.job, event.outcome)
      case 'stopped':
        held.delete(event.slot)
        return patiently(ledger, () => queue.giveBack([mine.job]))
      case 'machine':
        throw new MachineError(event.message)
      case 'died': {
        if (event.begun) mine.crashes = event.progressed ? 1 : mine.crashes + 1
        if (mine.crashes < CRASHES) return pool.start(event.slot, event.task)
        held.delete(event.slot)
        const outcome = failedOutcome(event.task, `${event.how} (${mine.crashes} times)`)
        writeResult(event.task, outcome, (performance.now() - mine.running.started) / 1000)
        return finish(mine.job, outcome)
      }
    }
  }

  const fill = async () => {
    const idle = pool.idle().filter(slot => !held.has(slot))
    if (!idle.length) return
    const taken = await patiently(ledger, () =>
      ledger.transaction(async connection => {
        const list = await queue.take(idle.length, connection)
        const tasks: { job: HeldJob; task?: Task; cost?: number }[] = []
        for (const job of list) {
          tasks.push({ job, ...(await taskOf(connection, options, job)) })
          await markRunning(connection, spec.name, job.data.runs, worker)
        }
        return tasks
      }),
    )
    let again = false
    for (const { job, task, cost = 1 } of taken) {
      const before = task && finishedResult(task)
      if (!task || before) {
        await finish(job, before?.outcome ?? { runs: [], measurements: [] })
        again = true
        continue
      }
      const slot = idle.shift() as number
      held.set(slot, { job, crashes: 0, running: { task, cost, started: performance.now(), progress: { share: 0 } } })
      pool.start(slot, task)
    }
    changed()
    if (again) await fill()
  }

  // Who has not been heard of for a lease may have been as cut off as this process was, or may just have begun after the
  // server did: all get a lease's time to renew before anyone's jobs are given out again.
  let lastUpkeep = performance.now()
  let recoverFrom = lastUpkeep + leaseSeconds * 1000
  const upkeep = async () => {
    if (ledger.kind === 'pglite') return
    const mine = jobs()
    const held = await patiently(ledger, () => queue.renew(mine))
    const now = performance.now()
    if (now - lastUpkeep > leaseSeconds * 1000) recoverFrom = now + leaseSeconds * 1000
    lastUpkeep = now
    for (const job of mine) if (!held.has(job.id)) lose(job)
    if (now >= recoverFrom) await patiently(ledger, () => queue.recover(false))
  }

  /** Another worker has this job by now: two processes must not write one run's files. */
  const lose = (job: HeldJob) => {
    for (const [slot, one] of held)
      if (one.job === job) {
        held.delete(slot)
        pool.drop(slot)
      }
  }

  let nextUpkeep = 0
  let stopAt = Number.POSITIVE_INFINITY
  const pause = (seconds: number) =>
    new Promise<void>(resolve => {
      const timer = setTimeout(resolve, seconds * 1000)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  const onAbort = () => wake()
  signal?.addEventListener('abort', onAbort)
  try {
    for (;;) {
      for (let event = events.shift(); event; event = events.shift()) await react(event)
      if (signal?.aborted && stopAt === Number.POSITIVE_INFINITY) {
        pool.interrupt()
        stopAt = performance.now() + STOP_SECONDS * 1000
      }
      if (performance.now() >= nextUpkeep) {
        await upkeep()
        nextUpkeep = performance.now() + (leaseSeconds * 1000) / 3
      }
      if (!signal?.aborted) await fill()
      changed()
      if (held.size === 0) {
        if (signal?.aborted) break
        const open = await patiently(ledger, () => queue.open())
        if (open.waiting === 0 && (ledger.kind === 'pglite' || open.running === 0)) break
      }
      if (performance.now() > stopAt) break
      if (!events.length) await pause(held.size ? Math.min(1, leaseSeconds / 3) : Math.min(0.5, leaseSeconds / 3))
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    const left = jobs()
    held.clear()
    await pool.close()
    // Where this fails the lease ends by itself, or the next owner takes everything back.
    await queue.giveBack(left).catch(() => {})
  }
  changed()
  return { ...state, stopped: signal?.aborted ?? false }
}
