// Scores tasks: accuracy over a set with its error, example by example, and the paired comparison of two models.
import type { Model } from '../model/model.ts'
import type { Kernels } from '../tensor/kernels.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { argmax } from './divergence.ts'
import { fewshotPrefixes } from './fewshot.ts'
import {
  type EncodedRequest,
  encodeRequests,
  type RequestOptions,
  type RequestScore,
  scoreRequests,
} from './requests.ts'
import { estimate, interval, mcnemar, pairedEstimate } from './statistics.ts'
import type { Example, Row, Task } from './tasks.ts'

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

/** How tasks are scored. */
export interface TaskOptions extends RequestOptions {
  /** The first examples only. */
  limit?: number
  /** Solved examples before each question (fewshot.ts). */
  fewshot?: number
  /** Where solved examples are drawn from; the set itself by default, as the harness does where a task has no other. */
  solved?: readonly Row[]
}

/** What gives requests their scores: the own engine, or a server. */
export type RequestScorer = (
  requests: readonly EncodedRequest[],
) => ReturnType<typeof scoreRequests> | Promise<ReturnType<typeof scoreRequests>>

/** Scores a task's rows by the own engine; examples with a continuation of no tokens are left out and listed. */
export function evaluateTask(
  model: Model,
  kernels: Kernels,
  tokenizer: Tokenizer,
  task: Task,
  rows: readonly Row[],
  options: TaskOptions,
): Promise<TaskResult> {
  return evaluateTaskBy(requests => scoreRequests(model, kernels, requests, options), tokenizer, task, rows, options)
}

/** The same with scores from anywhere. */
export async function evaluateTaskBy(
  score: RequestScorer,
  tokenizer: Tokenizer,
  task: Task,
  rows: readonly Row[],
  options: Pick<TaskOptions, 'limit' | 'fewshot' | 'solved'>,
): Promise<TaskResult> {
  const asked = rows.slice(0, options.limit ?? rows.length)
  const selected = asked.map(row => task.example(row))
  const prefixes = fewshotPrefixes(task, asked, options.solved ?? rows, options.fewshot ?? 0)
  const pairs = selected.flatMap(({ contexts, continuations }, index) => {
    return continuations.map(
      (continuation, i) => [prefixes[index] + (contexts[i] ?? contexts[0]), continuation] as const,
    )
  })
  const encoded = await encodeRequests(tokenizer, pairs)
  const leftOut: number[] = []
  const scorable: { index: number; example: Example; requests: EncodedRequest[] }[] = []
  let at = 0
  selected.forEach((example, index) => {
    const requests = encoded.slice(at, at + example.continuations.length)
    at += requests.length
    if (requests.some(request => request.continuation.length === 0)) leftOut.push(index)
    else scorable.push({ index, example, requests })
  })
  const all = scorable.flatMap(({ requests }) => requests)
  const { scores, truncated } = await score(all)
  at = 0
  const details = scorable.map(({ index, example, requests }) => {
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
