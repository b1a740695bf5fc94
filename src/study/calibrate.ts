// How fast this machine trains, quantizes and scores, measured on small models for a few seconds: what a plan's seconds come from.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fakeQuantize } from '../formats/index.ts'
import { countParameters } from '../model/config.ts'
import { initialModel } from '../model/model.ts'
import { createTrainingStep } from '../model/training.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { cacheFolder } from '../text/cache.ts'
import { modelConfig } from '../train/architecture.ts'
import { modelSchema } from '../train/config.ts'
import { forwardFlops, type Rates } from './cost.ts'
import { readJson, writeWhole } from './files.ts'
import { keyOf } from './key.ts'
import { machineRecord } from './machine.ts'

/** Widths at which training is timed; models between them are interpolated. */
const WIDTHS = [32, 64, 128, 256, 512]
const SECONDS_EACH = 0.25
/** Operations of scoring need less memory traffic than those of training; measured on several machines as about this. */
const SCORING = 1.2
const VOCAB = 257

/** Training operations a second of one thread at a width; a few steps are made, the fastest counts. */
function trainingRate(width: number, kernels: Kernels): number {
  const context = 128
  const batch = 8
  const heads = Math.max(2, width / 32)
  const config = modelConfig(modelSchema.parse({ family: 'llama', width, layers: 2, heads, context }), VOCAB)
  const model = initialModel(config, 0, { kernels })
  const precision = { weights: null, activations: null, kv: null, gradients: null }
  const step = createTrainingStep(model, kernels, { precision, batch, length: context, compute: 'bf16' })
  const ids = Int32Array.from({ length: batch * context }, (_, i) => (i * 7) % VOCAB)
  const flops = 3 * forwardFlops(config, countParameters(config).n) * ids.length
  let best = 0
  const end = performance.now() + SECONDS_EACH * 1000
  do {
    const start = performance.now()
    step.clear()
    step.gradients(ids, ids)
    best = Math.max(best, flops / ((performance.now() - start) / 1000))
  } while (performance.now() < end)
  return best
}

/** A machine that was busy at the first measurement is faster at the next: they are made again after so long, and the faster counts. */
const FRESH_SECONDS = 3600

/** Measures this machine, or reads what was measured a short while ago with the same build of the kernels. */
export function calibrate(): Rates {
  const kernels = createKernels({ threads: 1 })
  const id = keyOf({ machine: machineRecord(), isa: kernels.isa, build: kernels.build, version: 2 })
  const path = join(cacheFolder(), 'calibration', `${id.slice(0, 16)}.json`)
  const before = readJson<Rates & { at: number }>(path)
  if (before && Date.now() / 1000 - before.at < FRESH_SECONDS) return before
  const training = WIDTHS.map((width, i) => {
    const flopsPerSecond = Math.max(trainingRate(width, kernels), before?.training[i]?.flopsPerSecond ?? 0)
    return { width, flopsPerSecond }
  })
  const x = Float32Array.from({ length: 65_536 }, (_, i) => Math.sin(i))
  const start = performance.now()
  fakeQuantize(x, [256, 256], 'int4@64')
  const rtn = Math.min(
    (performance.now() - start) / 1000 / x.length,
    before?.secondsPerParameter['rtn'] ?? Number.POSITIVE_INFINITY,
  )
  // GPTQ works a column at a time against the Hessian, AWQ tries twenty scalings; both are some tens of roundings a weight.
  const rates: Rates = { training, scoring: SCORING, secondsPerParameter: { rtn, gptq: 20 * rtn, awq: 40 * rtn } }
  try {
    writeWhole(path, JSON.stringify({ ...rates, at: Date.now() / 1000 }))
  } catch {
    // A cache that cannot be written costs two seconds the next time.
  }
  return rates
}

/** Processes that a study runs where nothing is said: one a core. */
export function usualProcesses(): number {
  return availableParallelism()
}
