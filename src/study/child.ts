// The entry of a child process: does one task at a time and reports to the runner. The result is renamed into the
// task's folder before it is reported, so that a task whose report was lost is not done again.
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { MachineError, machineError, machineErrorCode, makeFolder, readJson, writeWhole } from './files.ts'
import type { FromChild, Outcome, ResultFile, Task, ToChild, Work } from './work.ts'

/** At most so many progress messages a second. */
const REPORTS_PER_SECOND = 4

/** The result of a task that was done before, or undefined. */
export function finishedResult(task: Task): ResultFile | undefined {
  const result = readJson<ResultFile>(join(task.folder, 'result.json'))
  return result && result.key === task.key && result.kind === task.kind ? result : undefined
}

/** Writes the result file of a task. */
export function writeResult(task: Task, outcome: Outcome, seconds: number): void {
  const result: ResultFile = { version: 1, kind: task.kind, key: task.key, seconds, outcome }
  writeWhole(join(task.folder, 'result.json'), `${JSON.stringify(result, null, 1)}\n`)
}

/** The outcome of a task that could not be done, for a reason of its own: every run or measurement of it failed. */
export function failedOutcome(task: Task, reason: string): Outcome {
  if (task.kind === 'train')
    return {
      runs: task.runs.map(({ key, kind, cluster, config }) => ({
        key,
        kind,
        cluster,
        config,
        state: 'failed',
        reason,
      })),
      measurements: [],
    }
  const { key, kind, cluster, config } = task.run
  return {
    runs: kind === 'checkpoint' ? [{ key, kind, cluster, config, state: 'failed', reason }] : [],
    measurements: task.items.map(({ key, method, format }) => ({
      key,
      run: task.run.key,
      method,
      format,
      state: 'failed',
      reason,
    })),
  }
}

function send(message: FromChild): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!process.send || !process.connected) reject(new Error('the runner is gone'))
    else process.send(message, undefined, {}, error => (error ? reject(error) : resolve()))
  })
}

async function perform(task: Task, work: Work, threads: number, signal: AbortSignal): Promise<Outcome> {
  let last = 0
  const progress = (now: Extract<FromChild, { type: 'progress' }>['progress']) => {
    const time = performance.now()
    if (time - last < 1000 / REPORTS_PER_SECOND) return
    last = time
    send({ type: 'progress', progress: now }).catch(() => process.exit(1))
  }
  const context = { threads, signal, progress }
  if (task.kind === 'train') return { runs: await work.train(task, context), measurements: [] }
  return work.measure(task, context)
}

/** Does one task; its own failure is an outcome, a failure of the machine is not. */
async function handle(task: Task, work: Work, threads: number, signal: AbortSignal): Promise<void> {
  const start = performance.now()
  let outcome: Outcome
  try {
    makeFolder(task.folder)
    outcome = await perform(task, work, threads, signal)
  } catch (error) {
    if (signal.aborted) return send({ type: 'stopped' })
    if (error instanceof MachineError || machineErrorCode(error) !== undefined) {
      const failure =
        error instanceof MachineError ? error : machineError(`cannot go on with the run in '${task.folder}'`, error)
      return send({ type: 'machine', message: failure.message })
    }
    const message = error instanceof Error ? error.message : String(error)
    outcome = failedOutcome(
      task,
      error instanceof RequestError || !(error instanceof Error) ? message : `${error.name}: ${message}`,
    )
  }
  const seconds = (performance.now() - start) / 1000
  try {
    writeResult(task, outcome, seconds)
  } catch (error) {
    return send({
      type: 'machine',
      message: machineError(`cannot write the result in '${task.folder}'`, error).message,
    })
  }
  await send({ type: 'done', outcome, seconds })
}

/** Runs until the runner goes away. */
async function main(): Promise<void> {
  const { work } = (await import(process.argv[2])) as { work: Work }
  let stop = new AbortController()
  // Whoever started this process is the only one who can use its results.
  process.on('disconnect', () => process.exit(1))
  // A terminal sends its interrupt to the whole group; the runner decides what happens.
  process.on('SIGINT', () => {})
  process.on('message', (message: ToChild) => {
    if ('stop' in message) return stop.abort()
    stop = new AbortController()
    handle(message.task, work, message.threads, stop.signal).catch(() => process.exit(1))
  })
  await send({ type: 'ready' })
}

if (process.argv[1] && /[\\/]study[\\/]child\.(ts|js)$/.test(process.argv[1])) await main()
