// A run that is open: its data, its model and optimizer in memory at the step it has come to, its log.
import { mkdirSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'
import { initialModel } from '../model/model.ts'
import { createTrainingStep, type TrainingStep } from '../model/training.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { hashOf } from '../text/cache.ts'
import { createAverage } from './average.ts'
import {
  lastState,
  type Position,
  pruneCheckpoints,
  type RunState,
  readCheckpoint,
  readPosition,
  removePartial,
  writeCheckpoint,
} from './checkpoint.ts'
import type { RunConfig } from './config.ts'
import type { TrainingData } from './data.ts'
import { openLog, type RunLog } from './log.ts'
import { createOptimizer } from './optimizer.ts'
import { planRun, type RunPlan } from './plan.ts'
import { checkSameMachine, checkSameRun, identity, joined } from './resume.ts'
import { rateShare } from './schedule.ts'
import type { TrainOptions } from './trainer.ts'
import { createValidation, type ValidationLoss } from './validation.ts'

/** See the head of this file. */
export interface OpenRun {
  run: RunConfig
  /** The configuration's name, else a hash of it. */
  name: string
  out: string
  data: TrainingData
  plan: RunPlan
  kernels: Kernels
  training: TrainingStep
  state: RunState
  position: Position
  log: RunLog
  /** Learning rate of a step over its peak. */
  lrFraction(step: number): number
  /** Scores the weights as they are. */
  validate(): Promise<ValidationLoss>
  /** Writes the checkpoint of this step and removes those that it replaces; answers its folder. */
  save(): Promise<string>
}

/** Plans a run over its data, or throws RequestError where it cannot be carried out or resumed from what `out` holds. */
export function checkRun(run: RunConfig, data: TrainingData, out: string, resume: boolean) {
  const plan = planRun(run, data.tokenizer.vocab)
  const { context } = plan.config
  if (data.train.length <= context)
    throw new RequestError(`data.train has ${data.train.length} tokens, expected more than model.context '${context}'`)
  if (data.valid.length < 2) throw new RequestError('data.valid has too few tokens, expected at least 2')
  const record = identity(run, data.key)
  const from = resume ? lastState(out) : undefined
  if (from !== undefined) checkSameRun(readPosition(from), record, out)
  return { plan, record, from }
}

/** Builds the model and optimizer of a run that checkRun has passed, and reads the state it goes on from. */
export async function openRun(
  run: RunConfig,
  data: TrainingData,
  out: string,
  { plan, record, from }: ReturnType<typeof checkRun>,
  { threads, allowOtherIsa = false, kernels = createKernels(threads === undefined ? {} : { threads }) }: TrainOptions,
): Promise<OpenRun> {
  const { config, precision, sequences, steps } = plan
  const { compute } = run
  mkdirSync(out, { recursive: true })
  removePartial(out)
  const model = initialModel(config, run.seed, { kernels })
  const training = createTrainingStep(model, kernels, {
    precision,
    batch: sequences,
    length: config.context,
    compute,
    seed: run.seed,
  })
  const { parameters } = training
  const average = plan.averageFrom === null ? null : createAverage(parameters, kernels)
  const state = { model, parameters, optimizer: createOptimizer(parameters, kernels, run.optimizer), average }
  const position = from === undefined ? firstPosition(kernels, record) : await readCheckpoint(from, state)
  checkSameMachine(position, kernels, allowOtherIsa)
  const name = run.name ?? hashOf(JSON.stringify(record)).slice(0, 12)
  const lrFraction = (step: number) => (step === 0 ? 0 : rateShare(run.schedule, step, steps))
  return {
    run,
    name,
    out,
    data,
    plan,
    kernels,
    training,
    state,
    position,
    log: await openLog(out, position.step),
    lrFraction,
    validate: createValidation(model, kernels, data.valid, { precision, compute, tokens: run.evaluate.tokens }),
    async save() {
      position.averageCount = average?.count ?? 0
      const folder = await writeCheckpoint(out, state, position, {
        tokenizer: data.tokenizer,
        bitlaw: {
          precision,
          d: position.tokens,
          n: plan.n,
          run: name,
          seed: run.seed,
          corpus: data.corpus,
          schedule: run.schedule,
          lr: plan.lr,
          lrFraction: lrFraction(position.step),
          compute,
          isa: joined(position.isa),
          build: joined(position.build),
        },
      })
      pruneCheckpoints(out, position.step, plan.checkpointSteps)
      return folder
    },
  }
}

function firstPosition(kernels: Kernels, run: Record<string, unknown>): Position {
  return {
    step: 0,
    tokens: 0,
    divergence: { start: null, above: 0 },
    verdict: null,
    finished: false,
    averageCount: 0,
    isa: [kernels.isa],
    build: [kernels.build],
    run,
  }
}
