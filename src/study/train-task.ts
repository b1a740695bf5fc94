// Trains the runs of one task: alone, or several token counts from one trunk. A run's state is its trainer's checkpoints,
// so a task that was killed goes on from the last one.
import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { RequestError } from '../formats/error.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { lastState, readPosition } from '../train/checkpoint.ts'
import { parseRunConfig, type RunConfig } from '../train/config.ts'
import { identity } from '../train/resume.ts'
import { warmupSteps } from '../train/schedule.ts'
import { type RunResult, TrainingInterrupted, train } from '../train/trainer.ts'
import { makeFolder } from './files.ts'
import { machineRecord, processorSeconds, versionRecord } from './machine.ts'
import type { Context, RunOutcome, Task, TaskRun } from './work.ts'

type TrainTask = Extract<Task, { kind: 'train' }>

/** The row of a run from its trainer's result; the checkpoint's path is kept as seen from the study's folder. */
export function outcomeOf(
  run: TaskRun,
  result: RunResult,
  study: string,
  { processorSeconds = null, notes = [] }: { processorSeconds?: number | null; notes?: readonly string[] } = {},
): RunOutcome {
  const last = result.checkpoints[result.checkpoints.length - 1]
  return {
    key: run.key,
    kind: run.kind,
    cluster: run.cluster,
    config: run.config,
    state: 'done',
    reason: result.verdict,
    n: result.n,
    nTotal: result.nTotal,
    d: result.d,
    lrFraction: last?.lrFraction ?? null,
    loss: result.loss,
    lossStandardError: result.lossStandardError,
    trainLoss: result.trainLoss,
    diverged: result.diverged,
    uniqueTokens: result.uniqueTokens,
    epochs: result.epochs,
    tokensPerSecond: result.tokensPerSecond,
    seconds: result.seconds,
    processorSeconds,
    checkpoint: relative(study, result.checkpoint),
    isa: result.isa,
    threads: result.threads,
    build: result.build,
    machine: machineRecord(),
    versions: versionRecord(),
    warnings: [...result.warnings, ...notes],
  }
}

/** The study's folder of a task's (`<study>/runs/<key>`). */
const studyOf = (task: Task) => dirname(dirname(task.folder))

const stepsOf = (config: RunConfig) => Math.max(1, Math.round(config.tokens / config.batch))

/** A state of another instruction path or build cannot be gone on with bit for bit: that training starts anew. */
function dropForeignState(out: string, kernels: Kernels): string[] {
  const state = lastState(out)
  if (state === undefined) return []
  const { isa, build } = readPosition(state)
  if (isa.at(-1) === kernels.isa && build.at(-1) === kernels.build) return []
  rmSync(out, { recursive: true })
  return [`training began on ${isa.at(-1)} (build ${build.at(-1)}) and was done again on ${kernels.isa}`]
}

/** Whether the optimizer's state can be cast away now that the run is done: it is two thirds of a checkpoint. */
function dropOptimizer(checkpoint: string): void {
  rmSync(join(checkpoint, 'optimizer.safetensors'), { force: true })
}

async function trainAlone(
  config: RunConfig,
  out: string,
  kernels: Kernels,
  context: Context,
  share: (tokens: number) => number,
): Promise<{ result: RunResult; notes: string[]; processorSeconds: number | null }> {
  const notes = dropForeignState(out, kernels)
  // Of a training that another process began, the time there is not known.
  const resumed = lastState(out) !== undefined
  const before = processorSeconds()
  const result = await train(config, {
    out,
    resume: true,
    threads: context.threads,
    kernels,
    signal: context.signal,
    onStep: ({ tokens, loss, tokensPerSecond }) => context.progress({ share: share(tokens), loss, tokensPerSecond }),
  })
  dropOptimizer(result.checkpoint)
  return { result, notes, processorSeconds: resumed ? null : processorSeconds() - before }
}

/** The step at which a run leaves the trunk: where its decay begins, or its end. */
function branchStep(config: RunConfig): number {
  const steps = stepsOf(config)
  const { kind, decay } = config.schedule
  return kind === 'wsd'
    ? steps - Math.min(steps - warmupSteps(config.schedule, steps), Math.max(1, Math.round((decay ?? 0) * steps)))
    : steps
}

/**
 * Gives a run the trunk's state at its branch, as if it had come there itself: up to there both configurations ask for the
 * same steps (expand.ts makes their warm-ups equally long), so only the configuration in training.json is another.
 */
function branch(state: string, out: string, config: RunConfig): void {
  if (lastState(out) !== undefined || existsSync(join(out, 'result.json'))) return
  const position = readPosition(state)
  const part = `${out}.part`
  rmSync(part, { recursive: true, force: true })
  rmSync(out, { recursive: true, force: true })
  makeFolder(part)
  const into = join(part, basename(state))
  cpSync(state, into, { recursive: true })
  const run = identity(config, String(position.run['data']))
  writeFileSync(join(into, 'training.json'), `${JSON.stringify({ ...position, run }, null, 1)}\n`)
  const log = join(dirname(state), 'log.jsonl')
  if (existsSync(log)) {
    const lines = readFileSync(log, 'utf8').split('\n').slice(0, position.step)
    writeFileSync(join(part, 'log.jsonl'), lines.map(line => `${line}\n`).join(''))
  }
  renameSync(part, out)
}

/** Trains the longest run, stopping at each branch to hand its state to a shorter one; then the shorter ones' decays. */
async function trainTrunk(
  task: TrainTask,
  configs: readonly RunConfig[],
  kernels: Kernels,
  context: Context,
): Promise<RunOutcome[]> {
  const study = studyOf(task)
  const out = (i: number) => join(task.folder, 'training', task.runs[i].key.slice(0, 16))
  const last = configs.length - 1
  const branches = configs.map(branchStep)
  const own = configs.map((config, i) => (i === last ? stepsOf(config) : stepsOf(config) - branches[i]))
  const all = own.reduce((sum, steps) => sum + steps, 0)
  let before = 0
  const progress = (tokens: number, i: number) =>
    (before + tokens / configs[i].batch - (i === last ? 0 : branches[i])) / all

  const notes = dropForeignState(out(last), kernels)
  const pending = branches
    .slice(0, last)
    .map((step, i) => ({ step, i }))
    .sort((a, b) => a.step - b.step)
  let longest: RunResult | undefined
  while (!longest) {
    const state = lastState(out(last))
    const at = state ? readPosition(state).step : 0
    for (const { step, i } of pending) if (state && step === at) branch(state, out(i), configs[i])
    const next = pending.find(({ step, i }) => step > at && !existsSync(out(i)))
    const stop = new AbortController()
    const onAbort = () => stop.abort()
    context.signal.addEventListener('abort', onAbort)
    if (context.signal.aborted) stop.abort()
    try {
      longest = await train(configs[last], {
        out: out(last),
        resume: true,
        threads: context.threads,
        kernels,
        signal: stop.signal,
        onStep: ({ step, tokens, loss, tokensPerSecond }) => {
          context.progress({ share: progress(tokens, last), loss, tokensPerSecond, note: 'trunk' })
          if (next && step === next.step) stop.abort()
        },
      })
    } catch (error) {
      if (!(error instanceof TrainingInterrupted) || context.signal.aborted) throw error
    } finally {
      context.signal.removeEventListener('abort', onAbort)
    }
  }
  before = own[last]
  const outcomes: RunOutcome[] = []
  for (let i = 0; i < last; i++) {
    // A trunk that diverged before this branch, or that was saved past it by an earlier build, leaves the run to itself.
    const { result, notes: more } = await trainAlone(configs[i], out(i), kernels, context, tokens =>
      progress(tokens, i),
    )
    outcomes.push(outcomeOf(task.runs[i], result, study, { notes: [...notes, ...more] }))
    before += own[i]
  }
  dropOptimizer(longest.checkpoint)
  outcomes.push(outcomeOf(task.runs[last], longest, study, { notes }))
  return outcomes
}

/** Carries out a training task with this repository's trainer. */
export async function trainTask(task: TrainTask, kernels: Kernels, context: Context): Promise<RunOutcome[]> {
  const configs = task.runs.map(run => parseRunConfig(run.placed))
  if (configs.length > 1) {
    const longest = configs[configs.length - 1]
    const warm = (config: RunConfig) => warmupSteps(config.schedule, stepsOf(config))
    if (configs.some(config => warm(config) !== warm(longest)))
      throw new RequestError('the runs of one trunk have warm-ups of unequal lengths')
    return trainTrunk(task, configs, kernels, context)
  }
  const [config] = configs
  const out = join(task.folder, 'training')
  const { result, ...more } = await trainAlone(config, out, kernels, context, tokens => tokens / config.tokens)
  return [outcomeOf(task.runs[0], result, studyOf(task), more)]
}
