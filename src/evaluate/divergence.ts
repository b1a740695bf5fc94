// A model against a reference on the same windows: how far its distribution of the next token has moved, how its loss
// changed, how often both would say the same. What llama.cpp's --kl-divergence measures.
import { createInference, type Inference } from '../model/inference.ts'
import type { Model } from '../model/model.ts'
import type { Kernels } from '../tensor/kernels.ts'
import {
  forEachBatch,
  roundsWholeTensor,
  type ScoreOptions,
  summarizeLosses,
  type TextScore,
  type TokenizedText,
  textWindows,
} from './loss.ts'
import { type Estimate, estimate, interval, pairedEstimate, quantile } from './statistics.ts'
import type { Window } from './windows.ts'

/** Where reference log-probabilities come from: a model that runs beside, or a file that was written once. */
export type ReferenceSource = (
  inputs: Int32Array,
  batch: readonly Window[],
  length: number,
  rows: Int32Array,
) => ArrayLike<number>

/** A text scored beside a reference; nats. */
export interface Comparison {
  score: TextScore
  reference: TextScore
  /** KL(reference || model) of each token. */
  divergences: Float64Array
  kl: { mean: number; standardError: number; p99: number; max: number }
  /** Loss of the model minus the reference's, paired by token. */
  lossChange: Estimate & { interval: [number, number] }
  /** Share of tokens where both have the same most probable next token. */
  topAgreement: number
}

/** Rows of the batch that are scored, in the order of the windows. */
function scoredRows(batch: readonly Window[], length: number): Int32Array {
  const rows: number[] = []
  batch.forEach((window, b) => {
    for (let i = 0; i < window.targets; i++) rows.push(b * length + window.firstTarget + i - window.first)
  })
  return Int32Array.from(rows)
}

/** Log-probabilities from a model's own inference. */
export function logProbabilities(
  inference: Inference,
  kernels: Kernels,
  vocab: number,
  inputs: Int32Array,
  batch: number,
  length: number,
  rows: Int32Array,
): Float32Array | Float64Array {
  const logits = inference.logits(inputs, batch, length, rows)
  kernels.logSoftmax(logits, rows.length, vocab)
  return logits
}

/** Index of the largest of `width` numbers from `at`; the first of equals. */
export function argmax(values: ArrayLike<number>, at: number, width: number): number {
  let best = 0
  for (let i = 1; i < width; i++) if (values[at + i] > values[at + best]) best = i
  return best
}

/** Scores a text by both models window by window, without keeping either's logits; both must share the vocabulary. */
export function compare(
  model: Model,
  reference: Model | ReferenceSource,
  kernels: Kernels,
  text: TokenizedText,
  options: ScoreOptions,
): Comparison {
  const { vocab } = model.config
  if (typeof reference !== 'function' && reference.config.vocab !== vocab)
    throw new Error(
      `the reference has ${reference.config.vocab} tokens in its vocabulary, expected the model's ${vocab}`,
    )
  const windows = textWindows(model, text, options)
  const total = windows.reduce((sum, window) => sum + window.targets, 0)
  const inference = createInference(model, kernels, {
    precision: options.precision ?? null,
    compute: options.compute,
    constant: true,
  })
  const source =
    typeof reference === 'function' ? reference : modelSource(reference, kernels, { compute: options.compute })
  const losses = new Float64Array(total)
  const referenceLosses = new Float64Array(total)
  const divergences = new Float64Array(total)
  let agree = 0
  let done = 0
  const batchTokens = roundsWholeTensor(options.precision)
    ? 1
    : Math.max(256, Math.min(4096, Math.floor(2 ** 25 / vocab)))
  forEachBatch(text, windows, batchTokens, (inputs, batch, length) => {
    const rows = scoredRows(batch, length)
    const p = source(inputs, batch, length, rows)
    const q = logProbabilities(inference, kernels, vocab, inputs, batch.length, length, rows)
    let r = 0
    for (const window of batch)
      for (let i = 0; i < window.targets; i++, r++, done++) {
        const at = r * vocab
        const target = text.ids[window.firstTarget + i + 1]
        referenceLosses[done] = -p[at + target]
        losses[done] = -q[at + target]
        let sum = 0
        for (let j = at; j < at + vocab; j++) if (p[j] > -40) sum += Math.exp(p[j]) * (p[j] - q[j])
        divergences[done] = sum
        if (argmax(p, at, vocab) === argmax(q, at, vocab)) agree++
      }
    options.onProgress?.(done, total)
  })
  const kl = estimate(divergences)
  const change = pairedEstimate(losses, referenceLosses)
  return {
    score: summarizeLosses(losses, windows, text.ids.length, text.bytes),
    reference: summarizeLosses(referenceLosses, windows, text.ids.length, text.bytes),
    divergences,
    kl: {
      mean: kl.mean,
      standardError: kl.standardError,
      p99: quantile(divergences, 0.99),
      max: divergences.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
    },
    lossChange: { ...change, interval: interval(change) },
    topAgreement: agree / total,
  }
}

/** A model as the source of reference log-probabilities, rounded as `precision` says. */
export function modelSource(
  reference: Model,
  kernels: Kernels,
  { precision = null, compute }: Pick<ScoreOptions, 'precision' | 'compute'>,
): ReferenceSource {
  const inference = createInference(reference, kernels, { precision, compute, constant: true })
  return (inputs, batch, length, rows) =>
    // Copied: both models may share one workspace.
    logProbabilities(inference, kernels, reference.config.vocab, inputs, batch.length, length, rows).slice()
}

/** So many bytes of a reference's log-probabilities are kept from model to model; what is beyond is computed again. */
const KEPT_BYTES = 2 ** 28

/** A source that remembers, for many models compared on the same text and windows. */
export function keptSource(source: ReferenceSource): ReferenceSource {
  const kept = new Map<number, ArrayLike<number>>()
  let left = KEPT_BYTES
  return (inputs, batch, length, rows) => {
    const { firstTarget } = batch[0]
    const before = kept.get(firstTarget)
    if (before) return before
    const now = source(inputs, batch, length, rows)
    if (now.length * 4 <= left) {
      kept.set(firstTarget, now)
      left -= now.length * 4
    }
    return now
  }
}
