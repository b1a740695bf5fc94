// A run in numbers before it starts: the model's record, how many steps, and at which of them something happens.
import { RequestError } from '../formats/error.ts'
import { countParameters, type ModelConfig, type Precision } from '../model/config.ts'
import { spellConfig } from '../model/save.ts'
import { modelConfig } from './architecture.ts'
import { modelPrecision, type RunConfig } from './config.ts'
import { peakRate } from './schedule.ts'

/** What a run configuration comes to, for one vocabulary. */
export interface RunPlan {
  config: ModelConfig
  precision: Precision
  /** Parameters without and with embeddings. */
  n: number
  nTotal: number
  /** Sequences of `config.context` tokens a step. */
  sequences: number
  steps: number
  /** Training tokens: steps times batch, the multiple nearest to what was asked for. */
  d: number
  /** Peak learning rate. */
  lr: number
  /** Validation after every so many steps, besides the checkpoints and the end. */
  evaluateEvery: number
  /** Steps whose checkpoints are kept, without the last. */
  checkpointSteps: ReadonlySet<number>
  /** The state is saved after so many steps; null: by the clock. */
  saveEvery: number | null
  /** The first step whose weights enter the average; null: none. */
  averageFrom: number | null
}

/** Plans a run for a vocabulary of `vocab` tokens; throws RequestError where the sizes do not fit each other. */
export function planRun(run: RunConfig, vocab: number): RunPlan {
  const config = modelConfig(run.model, vocab)
  spellConfig(config) // refuses now what could not be saved at the end
  const { n, nTotal } = countParameters(config)
  if (run.batch % config.context !== 0)
    throw new RequestError(
      `batch '${run.batch}' is not a multiple of model.context '${config.context}', expected whole sequences a step`,
    )
  const inSteps = (tokens: number) => Math.max(1, Math.round(tokens / run.batch))
  const steps = inSteps(run.tokens)
  const late = run.checkpoints.find(tokens => inSteps(tokens) > steps)
  if (late !== undefined)
    throw new RequestError(`checkpoints holds '${late}', expected at most the run's tokens '${run.tokens}'`)
  return {
    config,
    precision: modelPrecision(run.precision),
    n,
    nTotal,
    sequences: run.batch / config.context,
    steps,
    d: steps * run.batch,
    lr: peakRate(run.optimizer.lr, n),
    evaluateEvery: run.evaluate.every === undefined ? Math.max(1, Math.ceil(steps / 10)) : inSteps(run.evaluate.every),
    checkpointSteps: new Set(run.checkpoints.map(inSteps).filter(step => step < steps)),
    saveEvery: run.save === undefined ? null : inSteps(run.save.every),
    averageFrom: run.average === undefined ? null : steps - Math.max(1, Math.round(run.average.last * steps)) + 1,
  }
}
