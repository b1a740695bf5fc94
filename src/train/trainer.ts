// Trains one model: a run configuration in, checkpoints, a log and a result out. One thread a run is the unit that a
// study multiplies. Everything that decides the weights is a function of the configuration, the step and the state that
// a checkpoint holds, so a run that was killed and resumed ends in the same bytes.
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { initialModel } from '../model/model.ts'
import { createTrainingStep } from '../model/training.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { hashOf, writeWhole } from '../text/cache.ts'
import { createAverage } from './average.ts'
import { createBatches } from './batches.ts'
import {
  lastState,
  listCheckpoints,
  type Position,
  pruneCheckpoints,
  readCheckpoint,
  readPosition,
  removePartial,
  writeCheckpoint,
} from './checkpoint.ts'
import type { RunConfig } from './config.ts'
import { openData } from './data.ts'
import { patienceOf, type Verdict, watchLoss } from './divergence.ts'
import { openLog } from './log.ts'
import { createOptimizer } from './optimizer.ts'
import { planRun } from './plan.ts'
import { type RunResult, readResult, writeResult } from './result.ts'
import { checkSameMachine, checkSameRun, identity, joined } from './resume.ts'
import { rateShare, warmupSteps } from './schedule.ts'
import { createValidation, type ValidationLoss } from './validation.ts'

export type { RunResult } from './result.ts'

/** What is told after each step. */
export interface StepReport {
  step: number
  steps: number
  tokens: number
  d: number
  loss: number
  lr: number
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
  /** Seconds between saved states where the configuration does not say. */
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

const finite = (value: number | null) => (Number.isFinite(value) ? value : null)

/** Carries out a run; throws RequestError for a request that is wrong and TrainingInterrupted when stopped by `signal`. Divergence is a result. */
export async function train(run: RunConfig, options: TrainOptions): Promise<RunResult> {
  const { resume = false, allowOtherIsa = false, saveSeconds = 60, signal, onStep, onNotice } = options
  const out = resolve(options.out)
  const done = readResult(out)
  if (!resume && (done !== undefined || listCheckpoints(out).length > 0))
    throw new RequestError(`'${options.out}' holds a run already, expected another --out, or --resume to go on with it`)
  const data = await openData(run.data, run.seed, {
    ...(options.cache === undefined ? {} : { cache: options.cache }),
    ...(onNotice === undefined ? {} : { onNotice }),
  })
  const { tokenizer } = data
  try {
    const plan = planRun(run, tokenizer.vocab)
    const { config, precision, steps, sequences, d } = plan
    if (data.train.length <= config.context)
      throw new RequestError(
        `data.train has ${data.train.length} tokens, expected more than model.context '${config.context}'`,
      )
    if (data.valid.length < 2) throw new RequestError('data.valid has too few tokens, expected at least 2')
    const record = identity(run, data.key)
    const state = resume ? lastState(out) : undefined
    if (state !== undefined) checkSameRun(readPosition(state), record, options.out)
    if (done !== undefined) return done

    const kernels = options.kernels ?? createKernels(options.threads === undefined ? {} : { threads: options.threads })
    mkdirSync(out, { recursive: true })
    removePartial(out)
    const model = initialModel(config, run.seed, { kernels })
    const training = createTrainingStep(model, kernels, {
      precision,
      batch: sequences,
      length: config.context,
      compute: run.compute,
    })
    const { parameters } = training
    const optimizer = createOptimizer(parameters, kernels, run.optimizer)
    const average = plan.averageFrom === null ? null : createAverage(parameters, kernels)
    const held = { model, parameters, optimizer, average }
    const position: Position =
      state === undefined
        ? {
            step: 0, tokens: 0, divergence: { start: null, above: 0 }, verdict: null, finished: false, averageCount: 0,
            isa: [kernels.isa], build: [kernels.build], run: record,
          } // biome-ignore format: the beginning
        : await readCheckpoint(state, held)
    checkSameMachine(position, kernels, allowOtherIsa)
    const log = await openLog(out, position.step)
    const validate = createValidation(model, kernels, data.valid, {
      precision,
      compute: run.compute,
      tokens: run.evaluate.tokens,
    })
    const runName = run.name ?? hashOf(JSON.stringify(record)).slice(0, 12)
    const lrFraction = (step: number) => (step === 0 ? 0 : rateShare(run.schedule, step, steps))
    const save = async () => {
      position.averageCount = average?.count ?? 0
      const folder = await writeCheckpoint(out, held, position, {
        tokenizer,
        bitlaw: {
          precision, d: position.tokens, n: plan.n, run: runName, seed: run.seed, corpus: data.corpus, schedule: run.schedule, lr: plan.lr,
          lrFraction: lrFraction(position.step), compute: run.compute, isa: joined(position.isa), build: joined(position.build),
        }, // biome-ignore format: what evaluate and a ledger want to know
      })
      pruneCheckpoints(out, position.step, plan.checkpointSteps)
      return folder
    }

    const before = log.lines.at(-1)?.seconds ?? 0
    const started = performance.now()
    const seconds = () => before + (performance.now() - started) / 1000
    let stepSeconds = 0
    let stepTokens = 0
    let lastSave = performance.now()
    const warmup = warmupSteps(run.schedule, steps)
    const patience = patienceOf(steps)
    const batches = createBatches(data.train, config.context, sequences, run.seed)
    const inputs = new Int32Array(run.batch)
    const targets = new Int32Array(run.batch)
    while (!position.finished && position.verdict === null && position.step < steps) {
      if (signal?.aborted) throw new TrainingInterrupted(position.tokens, await save())
      const step = position.step + 1
      const begin = performance.now()
      batches.fill(step, inputs, targets)
      training.clear()
      const loss = training.gradients(inputs, targets)
      const gradientNorm = optimizer.gradientNorm()
      const lr = plan.lr * rateShare(run.schedule, step, steps)
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
      const isCheckpoint = plan.checkpointSteps.has(step)
      const isLast = step === steps
      const scored =
        position.verdict === null && (isLast ? average !== null : isCheckpoint || step % plan.evaluateEvery === 0)
          ? await validate()
          : undefined
      log.add({
        step,
        tokens: position.tokens,
        loss: finite(loss),
        lr,
        gradNorm: finite(gradientNorm),
        tokensPerSecond: Math.round(run.batch / took),
        seconds: Math.round(seconds() * 1000) / 1000,
        ...(scored
          ? {
              validLoss: finite(scored.loss),
              validStandardError: finite(scored.standardError),
            }
          : {}),
      })
      const clock = plan.saveEvery === null && performance.now() - lastSave > saveSeconds * 1000
      if (
        position.verdict === null &&
        !isLast &&
        (isCheckpoint || clock || (plan.saveEvery !== null && step % plan.saveEvery === 0))
      ) {
        await save()
        lastSave = performance.now()
      }
      onStep?.({
        step,
        steps,
        tokens: position.tokens,
        d,
        loss,
        lr,
        tokensPerSecond: stepTokens / stepSeconds,
        ...(scored ? { validLoss: scored.loss } : {}),
      })
      await new Promise(resolve => setImmediate(resolve))
    }

    if (!position.finished) {
      if (average !== null && average.count > 0)
        for (const [i, { weight }] of parameters.entries()) weight.set(average.means[i])
      position.finished = true
    }
    const checkpoint = await save()
    const valid = await validate()
    await writeWindows(out, valid, config.context)
    const losses = log.lines.map(line => line.loss ?? Number.NaN).slice(-Math.max(1, Math.round(log.lines.length / 50)))
    const scoredLines = log.lines.filter(line => plan.checkpointSteps.has(line.step) && line.validLoss !== undefined)
    const folderOf = new Map(listCheckpoints(out).map(({ step, folder }) => [step, folder]))
    const rates = log.lines.map(line => line.tokensPerSecond).sort((a, b) => a - b)
    const result: RunResult = {
      run: runName,
      family: config.family,
      corpus: data.corpus,
      vocab: config.vocab,
      seed: run.seed,
      schedule: run.schedule,
      lr: plan.lr,
      n: plan.n,
      nTotal: plan.nTotal,
      d: position.tokens,
      uniqueTokens: data.train.length,
      epochs: position.tokens / data.train.length,
      precision: run.precision,
      loss: finite(valid.loss),
      lossStandardError: finite(valid.standardError),
      ...(average ? { lossBeforeAverage: log.lines.at(-1)?.validLoss ?? null } : {}),
      trainLoss: finite(losses.reduce((sum, loss) => sum + loss, 0) / losses.length),
      validTokens: valid.windows.length * Math.min(config.context, data.valid.length - 1),
      tokensPerSecond: Math.round(stepSeconds > 0 ? stepTokens / stepSeconds : (rates[rates.length >> 1] ?? 0)),
      seconds: seconds(),
      diverged: position.verdict !== null || !Number.isFinite(valid.loss),
      verdict: position.verdict ?? (Number.isFinite(valid.loss) ? null : ('loss is not a number' satisfies Verdict)),
      checkpoint,
      checkpoints: [
        ...scoredLines.map(line => ({
          folder: folderOf.get(line.step) ?? '',
          d: line.tokens,
          loss: line.validLoss ?? null,
          lossStandardError: line.validStandardError ?? null,
          lrFraction: lrFraction(line.step),
        })),
        {
          folder: checkpoint,
          d: position.tokens,
          loss: finite(valid.loss),
          lossStandardError: finite(valid.standardError),
          lrFraction: lrFraction(position.step),
        },
      ],
      isa: joined(position.isa),
      threads: kernels.threads,
      build: joined(position.build),
      warnings: [
        ...data.notices,
        ...(new Set(position.isa).size > 1 || new Set(position.build).size > 1
          ? ['the run was resumed on another instruction path or build']
          : []),
      ],
    }
    await writeResult(out, result)
    return result
  } finally {
    data.train.close()
    data.valid.close()
  }
}

/** validation.json: the mean loss of each held-out window, for intervals that pair two runs. */
async function writeWindows(out: string, { windows }: ValidationLoss, context: number): Promise<void> {
  await writeWhole(`${out}/validation.json`, `${JSON.stringify({ context, losses: [...windows].map(finite) })}\n`)
}
