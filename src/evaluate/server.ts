// Scores with an OpenAI-compatible server that returns log-probabilities of the prompt (vLLM, text-generation servers
// with `echo`) in place of the own engine. Tokens are ours: prompts are sent as ids.
import { RequestError } from '../formats/error.ts'
import { type ScoreOptions, summarizeLosses, type TextScore, type TokenizedText } from './loss.ts'
import type { EncodedRequest, RequestScore } from './requests.ts'
import { planWindows } from './windows.ts'

/** A server and the model that it is asked for. */
export interface Server {
  /** Up to, not including, /v1. */
  url: string
  model: string
}

/** Log-probability of each token of a prompt but the first, and the largest at its place. */
interface PromptScore {
  logs: number[]
  best: number[]
}

interface Completion {
  choices?: { logprobs?: { token_logprobs?: (number | null)[]; top_logprobs?: (Record<string, number> | null)[] } }[]
}

async function ask<T>(url: string, body?: unknown): Promise<T> {
  let response: Response
  try {
    response = await fetch(
      url,
      body === undefined
        ? {}
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
    )
  } catch (error) {
    const cause = (error as { cause?: Error }).cause
    throw new RequestError(`the evaluator at '${url}' does not answer: ${cause?.message ?? (error as Error).message}`)
  }
  const text = await response.text()
  if (!response.ok) throw new Error(`the evaluator at '${url}' answered ${response.status}: ${text.slice(0, 200)}`)
  try {
    return JSON.parse(text) as T
  } catch {
    throw new Error(`the evaluator at '${url}' answered with something that is not JSON: ${text.slice(0, 80)}`)
  }
}

/** Opens a server by its address; the model is the first that it lists unless named. */
export async function openServer(address: string, model?: string): Promise<Server> {
  if (!/^https?:\/\//.test(address))
    throw new RequestError(`evaluator '${address}' is no address, expected something like http://localhost:8000`)
  const url = address.replace(/\/+$/, '').replace(/\/v1$/, '')
  if (model !== undefined) return { url, model }
  const { data } = await ask<{ data?: { id: string }[] }>(`${url}/v1/models`)
  if (!data?.[0]?.id) throw new Error(`the evaluator at '${url}' lists no model`)
  return { url, model: data[0].id }
}

async function scorePrompts({ url, model }: Server, prompts: readonly number[][]): Promise<PromptScore[]> {
  const answer = await ask<Completion>(`${url}/v1/completions`, {
    model,
    prompt: prompts,
    max_tokens: 1,
    temperature: 0,
    echo: true,
    logprobs: 1,
  })
  return prompts.map((prompt, i) => {
    const logprobs = answer.choices?.[i]?.logprobs
    const all = logprobs?.token_logprobs
    // The one generated token stands behind the prompt.
    if (!all || all.length < prompt.length)
      throw new Error(
        `the evaluator at '${url}' returned ${all?.length ?? 'no'} log-probabilities for a prompt of ${prompt.length} tokens; it must support echo with logprobs`,
      )
    const logs = all.slice(1, prompt.length).map(Number)
    const best = logs.map((log, t) => Math.max(log, ...Object.values(logprobs?.top_logprobs?.[t + 1] ?? {})))
    return { logs, best }
  })
}

/** Prompts sent in one call. */
const BATCH = 8

/** Loss of each token of a text by a server; context is needed, because a server does not tell its own. */
export async function scoreTextByServer(
  server: Server,
  { ids, start, bytes }: TokenizedText,
  options: Omit<ScoreOptions, 'compute' | 'precision'> & { context: number },
): Promise<TextScore> {
  if (ids.length < 2) throw new RequestError(`the text has ${ids.length} tokens, expected at least 2`)
  const windows = planWindows(ids.length, {
    context: options.context,
    stride: options.stride,
    convention: options.windows,
    limit: options.limit,
  })
  const losses = new Float64Array(windows.reduce((sum, window) => sum + window.targets, 0))
  let done = 0
  for (let i = 0; i < windows.length; i += BATCH) {
    const batch = windows.slice(i, i + BATCH)
    const prompts = batch.map(({ first, inputs, startToken }) => {
      const prompt = [...ids.subarray(first, first + inputs + 1)]
      if (startToken && start !== null) prompt[0] = start
      return prompt
    })
    const scores = await scorePrompts(server, prompts)
    batch.forEach((window, b) => {
      for (let t = 0; t < window.targets; t++) losses[done++] = -scores[b].logs[window.firstTarget - window.first + t]
    })
    options.onProgress?.(done, losses.length)
  }
  return summarizeLosses(losses, windows, ids.length, bytes)
}

/** Log-likelihood and greediness of requests by a server; longer ones than the context lose their beginning. */
export async function scoreRequestsByServer(
  server: Server,
  requests: readonly EncodedRequest[],
  { context, onProgress }: { context: number; onProgress?: (done: number, total: number) => void },
): Promise<{ scores: RequestScore[]; truncated: number }> {
  const scores: RequestScore[] = []
  let truncated = 0
  for (let i = 0; i < requests.length; i += BATCH) {
    const batch = requests.slice(i, i + BATCH)
    const prompts = batch.map(({ context: head, continuation }) => {
      const whole = [...head, ...continuation]
      if (whole.length > context + 1) truncated++
      return whole.slice(-(context + 1))
    })
    const answers = await scorePrompts(server, prompts)
    answers.forEach(({ logs, best }, b) => {
      const scored = Math.min(batch[b].continuation.length, logs.length)
      const from = logs.length - scored
      scores.push({
        logLikelihood: logs.slice(from).reduce((sum, log) => sum + log, 0),
        isGreedy: logs.slice(from).every((log, t) => log >= best[from + t]),
      })
    })
    onProgress?.(scores.length, requests.length)
  }
  return { scores, truncated }
}
