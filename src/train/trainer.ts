// Trains one model: a run configuration in, checkpoints, a log and a result out. One thread a run is the unit that a
// study multiplies. Everything that decides the weights is a function of the configuration, the step and the state that
// a checkpoint holds, so a run that was killed and resumed ends in the same bytes.
import { resolve } from 'node:path'
import { RequestError } from '../formats/error.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { createBatches } from './batches.ts'
import { listCheckpoints } from './checkpoint.ts'
import type { RunConfig } from './config.ts'
import { openData } from './data.ts'
import { patienceOf, watchLoss } from './divergence.ts'
import { finite, type RunResult, readResult, summarize, writeResult, writeWindows } from './result.ts'
import { warmupSteps } from './schedule.ts'
import { checkRun, type OpenRun, openRun } from './setup.ts'

export type { RunResult } from './result.ts'

/** What is told after each step. */
export interface StepReport {
  step: number
  steps: number
  tokens: number
  /** Tokens of the whole run. */
  d: number
  loss: number
  lr: number
  /** Of all steps of this process. */
  tokensPerSecond: number
  validLoss?: number
}

/** How a run is carried out; none of it changes a bit of the result. */
export interface TrainOptions {
  /** The run's folder: checkpoints step-…, log.jsonl, validation.json, result.json. */
  out: string
  /** Go on from the last checkpoint in `out`, or start where there is none. */
  resume?: boolean
  /** All processors unless given. */
  threads?: number
  /** Go on though another instruction path or build began the run; the result says so. */
  allowOtherIsa?: boolean
  /** Seconds between saved states where the configuration does not say: 60. */
  saveSeconds?: number
  /** Folder of token shards and vocabularies. */
  cache?: string
  /** Instead of createKernels'. */
  kernels?: Kernels
  /** When aborted, the state is saved and TrainingInterrupted thrown. */
  signal?: AbortSignal
  onStep?: (report: StepReport) => void
  onNotice?: (text: string) => void
}

/** The run was asked to stop; its state is in `checkpoint`. */
export class TrainingInterrupted extends Error {
  override name = 'TrainingInterrupted'
  readonly tokens: number
  readonly checkpoint: string
  constructor(tokens: number, checkpoint: string) {
    super(`training stopped after ${tokens} tokens, saved in '${checkpoint}'; --resume goes on`)
    this.tokens = tokens
    this.checkpoint = checkpoint
  }
}

/** Carries out a run; throws RequestError for a request that is wrong and TrainingInterrupted when stopped by `signal`. Divergence is a result. */
export async function train(run: RunConfig, options: TrainOptions): Promise<RunResult> {
  const { resume = false, cache, onNotice, signal } = options
  const out = resolve(options.out)
  const done = readResult(out)
  if (!resume && (done !== undefined || listCheckpoints(out).length > 0))
    throw new RequestError(`'${options.out}' holds a run already, expected another --out, or --resume to go on with it`)
  const data = await openData(run.data, run.seed, { cache, onNotice, signal })
  try {
    const checked = checkRun(run, data, out, resume)
    if (done !== undefined) return done
    const began = performance.now()
    const open = await openRun(run, data, out, checked, options)
    const before = open.log.lines.at(-1)?.seconds ?? 0
    const seconds = () => before + (performance.now() - began) / 1000
    const tokensPerSecond = await takeSteps(open, seconds, options)
    return await finish(open, seconds, tokensPerSecond)
  } finally {
    data.train.close()
    data.valid.close()
  }
}

/** Takes the steps that are left, until the end or a verdict; answers the rate in tokens a second, null where none was left. */
async function takeSteps(open: OpenRun, seconds: () => number, options: TrainOptions): Promise<number | null> {
  const { run, data, plan, training, state, position, log, lrFraction, validate, save } = open
  const { optimizer, average } = state
  const { steps, d } = plan
  const { saveSeconds = 60, signal, onStep } = options
  const warmup = warmupSteps(run.schedule, steps)
  const patience = patienceOf(steps)
  const batches = createBatches(data.train, plan.config.context, plan.sequences, run.seed)
  const inputs = new Int32Array(run.batch)
  const targets = new Int32Array(run.batch)
  let stepSeconds = 0
  let stepTokens = 0
  let lastSave = performance.now()
  while (!position.finished && position.verdict === null && position.step < steps) {
    if (signal?.aborted) throw new TrainingInterrupted(position.tokens, await save())
    const step = position.step + 1
    const begin = performance.now()
    batches.fill(step, inputs, targets)
    training.draw(step)
    training.clear()
    const loss = training.gradients(inputs, targets)
    const gradientNorm = optimizer.gradientNorm()
    const lr = plan.lr * lrFraction(step)
    position.verdict = watchLoss(position.divergence, { step, loss, gradientNorm, warmup, patience })
    if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) {
      optimizer.step(lr, gradientNorm)
      if (plan.averageFrom !== null && step >= plan.averageFrom) average?.add()
    }
    position.step = step
    position.tokens = step * run.batch
    const took = (performance.now() - begin) / 1000
    stepSeconds += took
    stepTokens += run.batch

    const goesOn = position.verdict === null
    const isLast = step === steps
    const isCheckpoint = plan.checkpointSteps.has(step)
    // The last weights are scored by `finish`; here only where it scores their average instead.
    const isScored = isLast ? average !== null : isCheckpoint || step % plan.evaluateEvery === 0
    const scored = goesOn && isScored ? await validate() : undefined
    log.add({
      step,
      tokens: position.tokens,
      loss: finite(loss),
      lr,
      gradNorm: finite(gradientNorm),
      tokensPerSecond: Math.round(run.batch / took),
      seconds: Math.round(seconds() * 1000) / 1000,
      ...(scored ? { validLoss: finite(scored.loss), validStandardError: finite(scored.standardError) } : {}),
    })
    const isDue =
      plan.saveEvery === null ? performance.now() - lastSave > saveSeconds * 1000 : step % plan.saveEvery === 0
    if (goesOn && !isLast && (isCheckpoint || isDue)) {
      await save()
      lastSave = performance.now()
    }
    const validLoss = scored ? { validLoss: scored.loss } : {}
    onStep?.({
      step,
      steps,
      tokens: position.tokens,
      d,
      loss,
      lr,
      tokensPerSecond: stepTokens / stepSeconds,
      ...validLoss,
    })
    await new Promise(resolve => setImmediate(resolve)) // lets signals in
  }
  return stepSeconds > 0 ? stepTokens / stepSeconds : null
}

/** Puts the average in place of the last weights where one was asked for, saves, scores and writes the result. */
async function finish(open: OpenRun, seconds: () => number, tokensPerSecond: number | null): Promise<RunResult> {
  const { out, state, position, validate, save } = open
  const { average, parameters } = state
  if (!position.finished) {
    if (average !== null && average.count > 0)
      for (const [i, { weight }] of parameters.entries()) weight.set(average.means[i])
    position.finished = true
  }
  const checkpoint = await save()
  const valid = await validate()
  await writeWindows(out, valid, open.plan.config.context)
  const result = summarize(open, { checkpoint, valid, seconds: seconds(), tokensPerSecond })
  await writeResult(out, result)
  return result
}
