// What a run would be: its size, and its time from steps that are really taken (on a model that is thrown away).
import { initialModel } from '../model/model.ts'
import { createTrainingStep } from '../model/training.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { createBatches } from './batches.ts'
import type { RunConfig } from './config.ts'
import { openData } from './data.ts'
import { createOptimizer } from './optimizer.ts'
import { planRun } from './plan.ts'

/** A run before it runs. */
export interface Estimate {
  run: string
  n: number
  nTotal: number
  d: number
  steps: number
  uniqueTokens: number
  epochs: number
  /** Of training: 6 N D. */
  flops: number
  /** Training and validation, from `tokensPerSecond` as measured. */
  seconds: number
  tokensPerSecond: number
  bytes: { memory: number; disk: number }
  isa: string
  threads: number
  warnings: string[]
}

/** Prepares the data, takes two steps to time the second, and says what the whole would come to. */
export async function estimateRun(
  run: RunConfig,
  {
    threads,
    cache,
    kernels: given,
    onNotice,
  }: { threads?: number; cache?: string; kernels?: Kernels; onNotice?: (text: string) => void } = {},
): Promise<Estimate> {
  const data = await openData(run.data, run.seed, { cache, onNotice })
  try {
    const plan = planRun(run, data.tokenizer.vocab)
    const { config, precision, sequences, n, nTotal, steps, d } = plan
    const kernels = given ?? createKernels(threads === undefined ? {} : { threads })
    const model = initialModel(config, run.seed, { kernels })
    const training = createTrainingStep(model, kernels, {
      precision,
      batch: sequences,
      length: config.context,
      compute: run.compute,
    })
    const optimizer = createOptimizer(training.parameters, kernels, run.optimizer)
    const inputs = new Int32Array(run.batch)
    const targets = new Int32Array(run.batch)
    const batches = createBatches(data.train, config.context, sequences, run.seed)
    let stepSeconds = 0
    for (let step = 1; step <= Math.min(2, steps); step++) {
      const begin = performance.now()
      batches.fill(step, inputs, targets)
      training.clear()
      training.gradients(inputs, targets)
      optimizer.step(plan.lr, optimizer.gradientNorm())
      stepSeconds = (performance.now() - begin) / 1000
    }
    const scored = Math.floor(steps / plan.evaluateEvery) + 1
    const scoredTokens = scored * Math.min(run.evaluate.tokens, data.valid.length)
    const saved = plan.checkpointSteps.size * 4 * nTotal + (run.average ? 16 : 12) * nTotal
    return {
      run: run.name ?? `${config.family} ${config.width}x${config.layers}`,
      n,
      nTotal,
      d,
      steps,
      uniqueTokens: data.train.length,
      epochs: d / data.train.length,
      flops: 6 * n * d,
      seconds: (stepSeconds * (d + scoredTokens / 3)) / run.batch,
      tokensPerSecond: run.batch / stepSeconds,
      // Weights, and AdamW's two means; the step counts gradients and activations.
      bytes: { memory: training.bytes + (run.average ? 16 : 12) * nTotal, disk: saved },
      isa: kernels.isa,
      threads: kernels.threads,
      warnings: data.notices,
    }
  } finally {
    data.train.close()
    data.valid.close()
  }
}
