// Someone else's trainer: it gets a run's configuration as a JSON file and a folder, and leaves result.json and a checkpoint there.
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync } from 'node:fs'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { makeFolder, readJson, writeWhole } from './files.ts'
import { machineRecord, versionRecord } from './machine.ts'
import type { Context, RunOutcome, Task } from './work.ts'

/** What the trainer writes: at least `loss` and `d`. Other fields of a run's own result are taken over where they are there. */
interface ExternalResult {
  loss: number | null
  d: number
  n?: number
  nTotal?: number
  lossStandardError?: number
  trainLoss?: number
  diverged?: boolean
  uniqueTokens?: number
  epochs?: number
  tokensPerSecond?: number
  seconds?: number
  /** A folder, from {out}; where it is not given, {out}/checkpoint or {out} itself, whichever holds a config.json. */
  checkpoint?: string
  isa?: string
  build?: string
  warnings?: string[]
}

const NUMBERS = [
  'n',
  'nTotal',
  'lossStandardError',
  'trainLoss',
  'uniqueTokens',
  'epochs',
  'tokensPerSecond',
  'seconds',
]

/** What of a trainer's document is not of its type, as `'n' "many", expected a number`; absent and null fields are no error. */
function oddField(result: unknown): string | undefined {
  if (typeof result !== 'object' || Array.isArray(result)) return 'no record, expected { "loss": …, "d": … }'
  const record = result as Record<string, unknown>
  const check = (names: readonly string[], type: string, expected: string) => {
    const name = names.find(one => record[one] !== undefined && record[one] !== null && typeof record[one] !== type)
    return name === undefined ? undefined : `'${name}' ${JSON.stringify(record[name])}, expected ${expected}`
  }
  const warnings = record['warnings'] ?? []
  return (
    check(NUMBERS, 'number', 'a number') ??
    check(['checkpoint', 'isa', 'build'], 'string', 'a text') ??
    check(['diverged'], 'boolean', 'true or false') ??
    (Array.isArray(warnings) ? undefined : `'warnings' ${JSON.stringify(warnings)}, expected a list of texts`)
  )
}

/** A command line with {config} and {out} replaced, each quoted for the shell. */
export function commandLine(template: string, config: string, out: string): string {
  const quote = (text: string) => (process.platform === 'win32' ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`)
  return template.replaceAll('{config}', quote(config)).replaceAll('{out}', quote(out))
}

/** Runs the command to its end; resolves to its status and the last line it wrote to standard error. */
function runCommand(
  command: string,
  log: string,
  signal: AbortSignal,
): Promise<{ status: number | null; last: string }> {
  return new Promise((done, reject) => {
    const child = spawn(command, {
      shell: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    })
    let tail = ''
    const stop = () => {
      // The shell and what it started are one group; on Windows the shell alone is reached.
      if (child.pid !== undefined && process.platform !== 'win32') process.kill(-child.pid, 'SIGTERM')
      else child.kill()
    }
    const onExit = () => stop()
    process.on('exit', onExit)
    signal.addEventListener('abort', stop, { once: true })
    const keep = (data: Buffer) => appendFileSync(log, data)
    child.stdout.on('data', keep)
    child.stderr.on('data', (data: Buffer) => {
      keep(data)
      tail = (tail + String(data)).slice(-2000)
    })
    child.on('error', reject)
    child.on('close', status => {
      process.off('exit', onExit)
      signal.removeEventListener('abort', stop)
      done({ status, last: tail.trim().split('\n').at(-1) ?? '' })
    })
  })
}

function checkpointOf(out: string, named: string | undefined): string | null {
  const places = named === undefined ? [join(out, 'checkpoint'), out] : [isAbsolute(named) ? named : join(out, named)]
  return (
    places.find(place => existsSync(place) && (named !== undefined || readdirSync(place).includes('config.json'))) ??
    null
  )
}

/** Carries out a training task with an external command. */
export async function externalTask(
  task: Extract<Task, { kind: 'train' }>,
  { signal, progress }: Context,
): Promise<RunOutcome[]> {
  const [run] = task.runs
  const study = resolve(task.folder, '..', '..')
  const config = join(task.folder, 'config.json')
  const out = join(task.folder, 'training')
  makeFolder(out)
  const { trainer: _, ...shown } = run.placed as Record<string, unknown>
  writeWhole(config, `${JSON.stringify(shown, null, 1)}\n`)
  progress({ share: 0, note: 'external' })
  const base = {
    key: run.key,
    kind: run.kind,
    cluster: run.cluster,
    config: run.config,
    machine: machineRecord(),
    versions: versionRecord(),
  }
  const failed = (reason: string): RunOutcome[] => [{ ...base, state: 'failed', reason }]
  const started = performance.now()
  const path = join(out, 'result.json')
  if (!existsSync(path)) {
    const { status, last } = await runCommand(
      commandLine(task.trainer ?? '', config, out),
      join(task.folder, 'trainer.log'),
      signal,
    )
    if (signal.aborted) throw new Error('stopped')
    if (status !== 0) return failed(`the trainer ended with status ${status}${last ? `: ${last}` : ''}`)
  }
  let result: ExternalResult | undefined
  try {
    result = readJson<ExternalResult>(path)
  } catch {
    return failed(`the trainer's result.json is not JSON`)
  }
  if (!result) return failed('the trainer left no result.json in {out}')
  const odd = oddField(result)
  if (odd) return failed(`the trainer's result.json has ${odd}`)
  const loss = typeof result.loss === 'number' && Number.isFinite(result.loss) ? result.loss : null
  if (loss === null && !result.diverged) return failed(`the trainer's result.json has no number 'loss'`)
  if (!(result.d > 0)) return failed(`the trainer's result.json has no number 'd'`)
  const checkpoint = checkpointOf(out, result.checkpoint)
  const {
    n,
    nTotal,
    d,
    lossStandardError,
    trainLoss,
    uniqueTokens,
    epochs,
    tokensPerSecond,
    seconds,
    isa,
    build,
    warnings,
  } = result
  return [
    {
      ...base,
      state: 'done',
      ...(n ? { n } : {}),
      ...(nTotal ? { nTotal } : {}),
      d,
      loss,
      lossStandardError,
      trainLoss,
      diverged: result.diverged ?? false,
      uniqueTokens,
      epochs,
      tokensPerSecond,
      seconds: seconds ?? (performance.now() - started) / 1000,
      checkpoint: checkpoint === null ? null : relative(study, checkpoint),
      isa,
      build,
      warnings,
    },
  ]
}
