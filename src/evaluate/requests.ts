// Requests of lm-evaluation-harness: a context and a continuation become token ids as the harness splits them, and each
// continuation gets its log-likelihood and whether it is what the model would say.
import type { Precision } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import type { Model } from '../model/model.ts'
import type { Compute, Kernels } from '../tensor/kernels.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { argmax, logProbabilities } from './divergence.ts'
import { roundsWholeTensor, startToken } from './loss.ts'

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

/** Splits as the harness does: spaces at the end of the context move to the continuation, and the continuation is what the whole has beyond the context's tokens. Pairs are [context, continuation]. */
export async function encodeRequests(
  tokenizer: Tokenizer,
  pairs: readonly (readonly [string, string])[],
): Promise<EncodedRequest[]> {
  const start = await startToken(tokenizer)
  const heads = pairs.map(([context]) => context.trimEnd())
  const wholes = pairs.map(([context, continuation]) => context + continuation)
  const distinct = [...new Set([...heads, ...wholes])]
  const encoded = await tokenizer.encodeBatch(distinct, { special: true })
  const ids = new Map(distinct.map((text, i) => [text, encoded[i]]))
  const bare = await tokenizer.encodeBatch(
    pairs.map(([context, continuation]) => (context === '' ? continuation : '')),
    { special: false },
  )
  return pairs.map(([context], i) => {
    if (context !== '') {
      const head = ids.get(heads[i]) as Int32Array
      return { context: head, continuation: (ids.get(wholes[i]) as Int32Array).slice(head.length) }
    }
    // Nothing before: the start token is the context, unless the continuation begins with it.
    if (start === null || bare[i][0] === start) return { context: bare[i].slice(0, 1), continuation: bare[i].slice(1) }
    return { context: Int32Array.of(start), continuation: bare[i] }
  })
}

/** How requests are scored. */
export interface RequestOptions {
  compute: Compute
  precision?: Precision | null
  /** Longest input in tokens; the model's context by default. Longer requests lose their beginning. */
  context?: number
  onProgress?: (done: number, total: number) => void
}

/** Scores requests in batches of similar length, padded at the right, where causal attention does not look. */
export function scoreRequests(
  model: Model,
  kernels: Kernels,
  requests: readonly EncodedRequest[],
  options: RequestOptions,
): { scores: RequestScore[]; truncated: number } {
  const { vocab } = model.config
  const context = options.context ?? model.config.context
  const inference = createInference(model, kernels, {
    precision: options.precision ?? null,
    compute: options.compute,
    constant: true,
  })
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
