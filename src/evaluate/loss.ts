// Loss of a model on a text: nats per token over windows, with its error, perplexity and bits per byte.

import { RequestError } from '../formats/error.ts'
import { parseFormat } from '../formats/index.ts'
import type { Precision } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import type { Model } from '../model/model.ts'
import type { Compute, Kernels } from '../tensor/kernels.ts'
import { encodeText } from '../text/cut.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { clusteredError, estimate } from './statistics.ts'
import { planWindows, type Window, type WindowConvention } from './windows.ts'

/** A text as token ids, the start token (where there is one) in front; bytes of its UTF-8, null where unknown. */
export interface TokenizedText {
  ids: Int32Array
  start: number | null
  bytes: number | null
}

/** The id that stands before the first token of a text: what the tokenizer adds by default, else its bos, else its eos, else null. llama.cpp uses the first of these only. */
export async function startToken(
  tokenizer: Tokenizer,
  convention: WindowConvention = 'rolling',
): Promise<number | null> {
  const added = await tokenizer.encode('', { special: true })
  if (added.length > 0) return added[0]
  return convention === 'llama.cpp' ? null : (tokenizer.bos ?? tokenizer.eos)
}

/** Tokenizes a text for scoring: start token, then the text's own tokens, no token added behind. */
export async function tokenizeText(
  tokenizer: Tokenizer,
  text: string,
  convention?: WindowConvention,
): Promise<TokenizedText> {
  const body = await encodeText(tokenizer, text)
  const start = await startToken(tokenizer, convention)
  if (start === null) return { ids: body, start, bytes: Buffer.byteLength(text) }
  const ids = new Int32Array(1 + body.length)
  ids[0] = start
  ids.set(body, 1)
  return { ids, start, bytes: Buffer.byteLength(text) }
}

/** How a text is scored; context defaults to the model's own maximum. */
export interface ScoreOptions {
  context?: number
  stride?: number
  windows?: WindowConvention
  /** The first windows only. */
  limit?: number
  compute: Compute
  /** Rounding of activations and KV while scoring (and of weights, where masters are stored). */
  precision?: Precision | null
  onProgress?: (done: number, total: number) => void
}

/** What scoring a text gives; nats a token. */
export interface TextScore {
  tokens: number
  losses: Float64Array
  loss: number
  /** Standard deviation (n - 1) / sqrt(n) of the tokens' losses. */
  lossStandardError: number
  /** The same where tokens of one window are not taken as independent. */
  lossStandardErrorByWindow: number
  perplexity: number
  /** null where the text's bytes are unknown. */
  bitsPerByte: number | null
  windows: readonly Window[]
}

/** Tokens of a batch that keep the processor busy without much memory. */
const BATCH_TOKENS = 4096

/** True where rounding reads a whole batch as one tensor, so that windows must be scored one by one. */
export function roundsWholeTensor(precision: Precision | null | undefined): boolean {
  return [precision?.activations, precision?.kv].some(spelling => {
    if (!spelling) return false
    const format = parseFormat(spelling)
    return format.kind === 'scaled' && format.shares === 'tensor'
  })
}

/** Checks a text and plans its windows for a model. */
export function textWindows(model: Model, { ids }: TokenizedText, options: ScoreOptions): Window[] {
  const context = options.context ?? model.config.context
  if (model.config.position.kind === 'learned' && context > model.config.position.positions)
    throw new RequestError(`context ${context} is longer than the model's ${model.config.position.positions} positions`)
  if (ids.length < 2) throw new RequestError(`the text has ${ids.length} tokens, expected at least 2`)
  for (const id of ids)
    if (id < 0 || id >= model.config.vocab)
      throw new RequestError(`token ${id} is outside the model's vocabulary of ${model.config.vocab}`)
  const windows = planWindows(ids.length, {
    context,
    stride: options.stride,
    convention: options.windows,
    limit: options.limit,
  })
  if (windows.length === 0) throw new RequestError(`the text has ${ids.length} tokens, expected at least ${context}`)
  return windows
}

/** Equal windows together, as many as fit a batch; called with the inputs (batch * length), the windows, in order. */
export function forEachBatch(
  { ids, start }: TokenizedText,
  windows: readonly Window[],
  batchTokens: number,
  visit: (inputs: Int32Array, batch: readonly Window[], length: number) => void,
): void {
  for (let i = 0; i < windows.length; ) {
    const length = windows[i].inputs
    let end = i + 1
    while (end < windows.length && windows[end].inputs === length && (end - i + 1) * length <= batchTokens) end++
    const batch = windows.slice(i, end)
    const inputs = new Int32Array(batch.length * length)
    batch.forEach((window, b) => {
      inputs.set(ids.subarray(window.first, window.first + length), b * length)
      if (window.startToken && start !== null) inputs[b * length] = start
    })
    visit(inputs, batch, length)
    i = end
  }
}

/** Loss of each token and their mean; throws RequestError where the text, context or stride does not fit the model. */
export function evaluateText(model: Model, kernels: Kernels, text: TokenizedText, options: ScoreOptions): TextScore {
  const { ids } = text
  const windows = textWindows(model, text, options)
  const total = windows.reduce((sum, window) => sum + window.targets, 0)
  const losses = new Float64Array(total)
  const inference = createInference(model, kernels, {
    precision: options.precision ?? null,
    compute: options.compute,
    constant: true,
  })
  let done = 0
  forEachBatch(text, windows, roundsWholeTensor(options.precision) ? 1 : BATCH_TOKENS, (inputs, batch, length) => {
    const targets = new Int32Array(inputs.length).fill(-1)
    batch.forEach((window, b) => {
      for (let i = 0; i < window.targets; i++) {
        const target = window.firstTarget + i
        targets[b * length + target - window.first] = ids[target + 1]
      }
    })
    const scored = inference.losses(inputs, targets, batch.length, length)
    batch.forEach((window, b) => {
      for (let i = 0; i < window.targets; i++)
        losses[done++] = scored[b * length + window.firstTarget + i - window.first]
    })
    options.onProgress?.(done, total)
  })
  return summarizeLosses(losses, windows, ids.length, text.bytes)
}

/** Mean, errors, perplexity and bits per byte of token losses; a text scored in part is taken to have its whole tokens per byte. */
export function summarizeLosses(
  losses: Float64Array,
  windows: readonly Window[],
  idCount: number,
  bytes: number | null,
): TextScore {
  const { mean, standardError } = estimate(losses)
  const clusters = windows.map(window => window.targets)
  return {
    tokens: losses.length,
    losses,
    loss: mean,
    lossStandardError: standardError,
    lossStandardErrorByWindow: clusteredError(losses, clusters),
    perplexity: Math.exp(mean),
    bitsPerByte: bytes ? ((mean / Math.LN2) * (idCount - 1)) / bytes : null,
    windows,
  }
}
