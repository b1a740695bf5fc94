// Scores tasks: context and continuation to token ids as lm-evaluation-harness splits them, log-likelihood and
// greediness of each continuation, accuracy over a set with its error, paired comparison of two models.

import type { Precision } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import type { Model } from '../model/model.ts'
import type { Compute, Kernels } from '../tensor/kernels.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { argmax, logProbabilities } from './divergence.ts'
import { roundsWholeTensor, startToken } from './loss.ts'
import { estimate, interval, mcnemar, pairedEstimate } from './statistics.ts'
import type { Example, Row, Task } from './tasks.ts'

/** Token ids of one request; the model sees context then continuation, the continuation is scored. */
export interface EncodedRequest {
  context: Int32Array
  continuation: Int32Array
}

/** Log-likelihood (nats) of a continuation and whether each of its tokens is the model's first choice. */
export interface RequestScore {
  logLikelihood: number
  isGreedy: boolean
}

/** One scored example of a task; `predicted` and `predictedNorm` index its choices (the first of equals). */
export interface ExampleScore {
  /** Place in the set, from 0. */
  index: number
  requests: readonly EncodedRequest[]
  scores: readonly RequestScore[]
  predicted: number
  predictedNorm: number
  gold: number
  correct: boolean
  correctNorm: boolean
}

/** Accuracy over a set; errors are standard deviation (n - 1) / sqrt(n). */
export interface TaskScore {
  acc: number
  accStandardError: number
  accNorm: number | null
  accNormStandardError: number | null
  /** exp(-mean log-likelihood) of greedy tasks. */
  perplexity: number | null
  meanLogLikelihood: number
  meanLogLikelihoodStandardError: number
  examples: number
  /** Examples where a continuation has no token of its own, so that the task is not defined (the harness stops there). */
  leftOut: readonly number[]
  /** Requests longer than the context, cut at the left. */
  truncated: number
}

/** A task's score with every example, for paired tests and logs. */
export interface TaskResult {
  task: string
  score: TaskScore
  details: readonly ExampleScore[]
}

/** Splits as the harness does: spaces at the end of the context move to the continuation, and the continuation is what the whole has beyond the context's tokens. */
export function encodeRequest(tokenizer: Tokenizer, context: string, continuation: string): EncodedRequest {
  if (context === '') {
    const ids = tokenizer.encode(continuation, { special: false })
    const start = startToken(tokenizer)
    if (start === null || ids[0] === start) return { context: ids.slice(0, 1), continuation: ids.slice(1) }
    return { context: Int32Array.of(start), continuation: ids }
  }
  const kept = context.trimEnd()
  const moved = context.slice(kept.length) + continuation
  const whole = tokenizer.encode(kept + moved, { special: true })
  const head = tokenizer.encode(kept, { special: true })
  return { context: head, continuation: whole.slice(head.length) }
}

/** How tasks are scored. */
export interface TaskOptions {
  compute: Compute
  precision?: Precision | null
  /** Longest input in tokens; the model's context by default. Longer requests lose their beginning. */
  context?: number
  /** The first examples only. */
  limit?: number
  /** Solved examples before each question: the first others of the set, in order. */
  fewshot?: number
  onProgress?: (done: number, total: number) => void
}

/** Scores requests in batches of similar length, padded at the right, where causal attention does not look. */
export function scoreRequests(
  model: Model,
  kernels: Kernels,
  requests: readonly EncodedRequest[],
  options: TaskOptions,
): { scores: RequestScore[]; truncated: number } {
  const { vocab } = model.config
  const context = options.context ?? model.config.context
  const inference = createInference(model, kernels, { precision: options.precision ?? null, compute: options.compute })
  let truncated = 0
  const prepared = requests.map(({ context: head, continuation }, index) => {
    const whole = new Int32Array(head.length + continuation.length)
    whole.set(head)
    whole.set(continuation, head.length)
    const cut = Math.max(0, whole.length - 1 - context)
    if (cut > 0) truncated++
    const tokens = whole.subarray(cut)
    return { index, tokens, scored: Math.min(continuation.length, tokens.length - 1) }
  })
  const order = prepared
    .filter(request => request.scored > 0)
    .sort((a, b) => a.tokens.length - b.tokens.length || a.index - b.index)
  const scores: RequestScore[] = requests.map(() => ({ logLikelihood: 0, isGreedy: true }))
  const batchTokens = roundsWholeTensor(options.precision) ? 1 : 4096
  let done = 0
  for (let i = 0; i < order.length; ) {
    let end = i + 1
    while (end < order.length && (end + 1 - i) * (order[end].tokens.length - 1) <= batchTokens) end++
    const batch = order.slice(i, end)
    const length = batch[batch.length - 1].tokens.length - 1
    const inputs = new Int32Array(batch.length * length)
    const rows: number[] = []
    batch.forEach(({ tokens, scored }, b) => {
      inputs.set(tokens.subarray(0, tokens.length - 1), b * length)
      for (let t = tokens.length - 1 - scored; t < tokens.length - 1; t++) rows.push(b * length + t)
    })
    // A quarter of a gigabyte of logits at most.
    const chunk = Math.max(1, Math.floor(2 ** 26 / vocab))
    const targets = batch.flatMap(({ tokens, scored }) => [...tokens.subarray(tokens.length - scored)])
    const owners = batch.flatMap(({ index, scored }) => new Array<number>(scored).fill(index))
    for (let from = 0; from < rows.length; from += chunk) {
      const part = Int32Array.from(rows.slice(from, from + chunk))
      const logs = logProbabilities(inference, kernels, vocab, inputs, batch.length, length, part)
      for (let r = 0; r < part.length; r++) {
        const score = scores[owners[from + r]]
        score.logLikelihood += logs[r * vocab + targets[from + r]]
        if (argmax(logs, r * vocab, vocab) !== targets[from + r]) score.isGreedy = false
      }
    }
    done += batch.length
    options.onProgress?.(done, order.length)
    i = end
  }
  return { scores, truncated }
}

/** Solved examples, two line ends between them, that stand before a question. */
function fewshotPrefix(examples: readonly Example[], skip: number, count: number): string {
  const solved: string[] = []
  for (let i = 0; i < examples.length && solved.length < count; i++) {
    if (i === skip) continue
    const { contexts, continuations, gold } = examples[i]
    solved.push((contexts.length > 1 ? contexts[gold] : contexts[0]) + continuations[gold])
  }
  return solved.map(text => `${text}\n\n`).join('')
}

/** Scores a task's rows; examples with a continuation of no tokens are left out and listed. */
export function evaluateTask(
  model: Model,
  kernels: Kernels,
  tokenizer: Tokenizer,
  task: Task,
  rows: readonly Row[],
  options: TaskOptions,
): TaskResult {
  const examples = rows.map(row => task.example(row))
  const selected = examples.slice(0, options.limit ?? examples.length)
  const leftOut: number[] = []
  const encoded: { index: number; example: Example; requests: EncodedRequest[] }[] = []
  selected.forEach((example, index) => {
    const prefix = fewshotPrefix(examples, index, options.fewshot ?? 0)
    const requests = example.continuations.map((continuation, i) =>
      encodeRequest(tokenizer, prefix + (example.contexts[i] ?? example.contexts[0]), continuation),
    )
    if (requests.some(request => request.continuation.length === 0)) leftOut.push(index)
    else encoded.push({ index, example, requests })
  })
  const { scores, truncated } = scoreRequests(
    model,
    kernels,
    encoded.flatMap(({ requests }) => requests),
    options,
  )
  let at = 0
  const details = encoded.map(({ index, example, requests }) => {
    const own = scores.slice(at, at + requests.length)
    at += requests.length
    return judge(task, index, example, requests, own)
  })
  return { task: task.name, score: summarize(task, details, leftOut, truncated), details }
}

function judge(
  task: Task,
  index: number,
  example: Example,
  requests: readonly EncodedRequest[],
  scores: readonly RequestScore[],
): ExampleScore {
  const logs = scores.map(score => score.logLikelihood)
  // Characters are code points; the space that the harness sets in front does not count.
  const norms = logs.map((log, i) => log / [...example.continuations[i].replace(/^ /, '')].length)
  const predicted = argmax(logs, 0, logs.length)
  const predictedNorm = argmax(norms, 0, norms.length)
  const correct = task.kind === 'greedy' ? scores[0].isGreedy : predicted === example.gold
  return {
    index,
    requests,
    scores,
    predicted,
    predictedNorm,
    gold: example.gold,
    correct,
    correctNorm: predictedNorm === example.gold,
  }
}

function summarize(
  task: Task,
  details: readonly ExampleScore[],
  leftOut: readonly number[],
  truncated: number,
): TaskScore {
  const acc = estimate(details.map(detail => Number(detail.correct)))
  const accNorm = task.normalized ? estimate(details.map(detail => Number(detail.correctNorm))) : null
  const logs = estimate(details.map(detail => detail.scores[detail.gold].logLikelihood))
  return {
    acc: acc.mean,
    accStandardError: acc.standardError,
    accNorm: accNorm?.mean ?? null,
    accNormStandardError: accNorm?.standardError ?? null,
    perplexity: task.kind === 'greedy' ? Math.exp(-logs.mean) : null,
    meanLogLikelihood: logs.mean,
    meanLogLikelihoodStandardError: logs.standardError,
    examples: details.length,
    leftOut,
    truncated,
  }
}

/** Two models on the same examples: difference of accuracy (b - a) with its paired 95% interval, and the exact test of the examples that only one gets right. */
export function compareTask(
  a: TaskResult,
  b: TaskResult,
): { difference: number; interval: [number, number]; onlyA: number; onlyB: number; p: number } {
  const inB = new Map(b.details.map(detail => [detail.index, detail]))
  const pairs = a.details.flatMap(detail => {
    const other = inB.get(detail.index)
    return other ? [[Number(detail.correct), Number(other.correct)]] : []
  })
  const difference = pairedEstimate(
    pairs.map(pair => pair[1]),
    pairs.map(pair => pair[0]),
  )
  const onlyA = pairs.filter(([x, y]) => x > y).length
  const onlyB = pairs.filter(([x, y]) => y > x).length
  return { difference: difference.mean, interval: interval(difference), onlyA, onlyB, p: mcnemar(onlyA, onlyB) }
}
