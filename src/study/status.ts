// Where a study is. An embedded ledger can be opened by its owner alone, so the owner writes status.json now and then,
// and another terminal reads that; without an owner, or on a server, the ledger itself is asked.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from './files.ts'
import type { Connection } from './ledger/open.ts'
import { costLeft, countStates } from './ledger/queries.ts'
import type { Planned } from './plan.ts'
import type { RunnerState } from './runner.ts'
import type { OpenStudy } from './study.ts'
import type { Task } from './work.ts'

const WRITE_SECONDS = 2

/** A running task, as shown. */
export interface RunningStatus {
  kind: 'train' | 'measure'
  name: string
  share: number
  loss: number | null
  tokensPerSecond: number | null
  seconds: number
}

/** The document of `study status`. */
export interface StudyStatus {
  name: string
  runs: { done: number; running: number; failed: number; waiting: number; diverged: number }
  measurements: { done: number; failed: number; planned: number }
  /** Expected, from what is left as predicted and how that went so far; null where nothing is known. */
  secondsLeft: number | null
  /** Jobs an hour. */
  rate: number
  running: RunningStatus[]
  updatedAt: string
}

/** A short name of a task: the model's size, its tokens and its precision. */
export function taskName(task: Task): string {
  const run = task.kind === 'train' ? task.runs[task.runs.length - 1] : task.run
  const { model, tokens, precision, seed } = run.config as {
    model?: { width?: number; layers?: number } | string
    tokens?: number
    precision?: Record<string, unknown>
    seed?: number
  }
  if (typeof model === 'string') return model
  const part = (letter: string, name: string) =>
    precision && precision[name] !== 16 && precision[name] !== undefined ? `${letter}${precision[name]}` : ''
  const bits = part('w', 'weights') + part('a', 'activations') + part('kv', 'kv')
  const size = model ? `${model.width}x${model.layers}` : run.key.slice(0, 8)
  return [
    size,
    tokens === undefined ? '' : `${Number((tokens / 1e6).toPrecision(3))}M`,
    bits,
    seed ? `seed ${seed}` : '',
  ]
    .filter(Boolean)
    .join(' ')
}

/** So many predicted seconds are taken to have gone as predicted before anything has. */
const PRIOR_SECONDS = 10

/** Seconds that `left` predicted seconds of one core will take, when `done` took `elapsed`; at first as if `processes` went on as predicted. */
export function timeLeft(left: number, done: number, elapsed: number, processes: number): number {
  const each = Math.max(1, processes)
  return (left * (elapsed + PRIOR_SECONDS)) / (Math.max(0, done) + PRIOR_SECONDS * each)
}

/** The counts of a study from its ledger; `rate` is of jobs an hour, `secondsLeft` of what nobody works at yet. */
export async function statusFromLedger(
  connection: Connection,
  name: string,
  planned: Planned,
  rate: number,
): Promise<Omit<StudyStatus, 'running' | 'updatedAt'> & { left: number }> {
  const { waiting, running, done, failed, diverged, measurements, failedMeasurements } = await countStates(
    connection,
    name,
  )
  const left = await costLeft(connection, name)
  return {
    name,
    runs: { done, running, failed, waiting, diverged },
    measurements: { done: measurements, failed: failedMeasurements, planned: planned.measurements },
    secondsLeft: left === 0 ? 0 : planned.rates ? timeLeft(left, 0, 0, planned.processes ?? 1) : null,
    rate,
    left,
  }
}

/** Writes status.json while a study runs: at most every two seconds, and off the runner's way. */
export function startStatus(
  study: OpenStudy,
  planned: Planned,
  processes: number,
): { update(state: RunnerState): void; secondsLeft(): number | null; stop(): void } {
  const started = performance.now()
  let first: number | undefined
  let secondsLeft: number | null = null
  let latest: RunnerState | undefined
  let busy = false
  const write = async () => {
    if (!latest || busy) return
    busy = true
    try {
      const now = performance.now()
      const { left, ...counts } = await statusFromLedger(
        study.ledger,
        study.spec.name,
        planned,
        (latest.finished * 3_600_000) / Math.max(1, now - started),
      )
      const begun = latest.running.reduce((sum, { cost, progress }) => sum + cost * progress.share, 0)
      first ??= left
      const open = Math.max(0, left - begun)
      secondsLeft = timeLeft(open, first - open, (now - started) / 1000, processes)
      const running = latest.running.map(({ task, started: since, progress }) => ({
        kind: task.kind,
        name: taskName(task),
        share: progress.share,
        loss: progress.loss ?? null,
        tokensPerSecond: progress.tokensPerSecond ?? null,
        seconds: (now - since) / 1000,
      }))
      const document: StudyStatus = { ...counts, secondsLeft, running, updatedAt: new Date().toISOString() }
      if (!stopped) writeWhole(join(study.folder, 'status.json'), JSON.stringify(document), { flush: false })
    } catch {
      // A display that cannot be written is no reason to stop; what matters is written elsewhere and says so.
    } finally {
      busy = false
    }
  }
  let stopped = false
  const timer = setInterval(write, WRITE_SECONDS * 1000)
  return {
    update(state) {
      latest = state
    },
    secondsLeft: () => secondsLeft,
    stop() {
      stopped = true
      clearInterval(timer)
    },
  }
}

/** Takes the file away when its writer ends: the ledger can be asked again. */
export function removeStatus(folder: string): void {
  rmSync(join(folder, 'status.json'), { force: true })
}
