// The loss on held-out tokens: the same windows each time, rounded as in training, and how sure its mean is.
import type { Precision } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import type { Model } from '../model/model.ts'
import type { Compute, Kernels } from '../tensor/kernels.ts'
import type { TokenStream } from '../text/shards.ts'
import { scoredWindows } from './batches.ts'

/** A validation loss. */
export interface ValidationLoss {
  /** Nats a token. */
  loss: number
  /** Standard error of that mean, from the spread between windows; null where there is one window. */
  standardError: number | null
  /** Mean loss of each window, for intervals that pair two runs. */
  windows: Float64Array
}

/** Windows that are computed together. */
const TOGETHER = 8

/** A function that scores the model's weights as they are when it is called. */
export function createValidation(
  model: Model,
  kernels: Kernels,
  stream: TokenStream,
  { precision, compute, tokens }: { precision: Precision | null; compute: Compute; tokens: number },
): () => Promise<ValidationLoss> {
  const context = Math.min(model.config.context, stream.length - 1)
  const starts = scoredWindows(stream.length, context, tokens)
  const inference = createInference(model, kernels, { precision, compute })
  return async () => {
    const windows = new Float64Array(starts.length)
    const window = new Int32Array(context + 1)
    for (let first = 0; first < starts.length; first += TOGETHER) {
      const count = Math.min(TOGETHER, starts.length - first)
      const inputs = new Int32Array(count * context)
      const targets = new Int32Array(count * context)
      for (let i = 0; i < count; i++) {
        stream.read(starts[first + i], window)
        inputs.set(window.subarray(0, context), i * context)
        targets.set(window.subarray(1), i * context)
      }
      const losses = inference.losses(inputs, targets, count, context)
      for (let i = 0; i < count; i++) {
        let sum = 0
        for (let j = 0; j < context; j++) sum += losses[i * context + j]
        windows[first + i] = sum / context
      }
      await new Promise(resolve => setImmediate(resolve))
    }
    return { ...meanAndError(windows), windows }
  }
}

function meanAndError(values: Float64Array): { loss: number; standardError: number | null } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  if (values.length < 2) return { loss: mean, standardError: null }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { loss: mean, standardError: Math.sqrt(squares / (values.length - 1) / values.length) }
}
