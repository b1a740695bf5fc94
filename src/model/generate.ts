// Text one token at a time: greedy, or sampled at a temperature from the k likeliest with a seed. Keys and values of
// what was read already are kept; where activations or keys and values are quantized, whose rounding may depend on the
// whole window, the window is computed anew for each token.
import { RequestError } from '../formats/error.ts'
import type { AttentionShape, Floats, Kernels } from '../tensor/kernels.ts'
import { createBlock } from './block.ts'
import { createInference, type InferenceOptions } from './inference.ts'
import { createEmbedding } from './layers/embedding.ts'
import { createHead } from './layers/head.ts'
import type { Scope } from './layers/scope.ts'
import type { Model } from './model.ts'
import { createUniform } from './random.ts'
import { layerRope } from './rope.ts'
import { createScopes } from './scopes.ts'
import { checkTokens } from './tokens.ts'

/** How many tokens, and how they are chosen. */
export interface GenerateOptions extends InferenceOptions {
  /** Tokens to generate at most. */
  count: number
  /** 0, the default: always the likeliest token. */
  temperature?: number
  /** Only the k likeliest tokens are sampled from; absent: all. */
  topK?: number
  seed?: number
  /** Generation ends before this token. */
  end?: number | null
}

/** Generates tokens that continue `prompt` (at least one token), each as soon as it is chosen. */
export function* generate(
  model: Model,
  kernels: Kernels,
  prompt: Int32Array,
  options: GenerateOptions,
): Generator<number> {
  const { count, temperature = 0, topK = model.config.vocab, seed = 0, end = null, precision } = options
  if (prompt.length === 0) throw new RequestError('a prompt needs at least one token')
  if (!(temperature >= 0)) throw new RequestError(`temperature ${temperature} is negative, expected 0 or more`)
  if (!(topK >= 1)) throw new RequestError(`top-k of ${topK} leaves no token, expected at least 1`)
  checkTokens(model.config, prompt.length, prompt)
  const window = windowOf(model)
  // the weights stay as they are while a text is generated
  const constant = { ...options, constant: true }
  const wholeWindow = Boolean(precision?.activations || precision?.kv)
  const longest = Math.min(window, prompt.length + count)
  const reader = wholeWindow
    ? createRereader(model, kernels, constant)
    : createReader(model, kernels, longest, constant)
  const uniform = createUniform(seed, 'generate')
  const tokens = Array.from(prompt.subarray(Math.max(0, prompt.length - window)))
  let unread = tokens.length
  for (let i = 0; i < count; i++) {
    if (tokens.length > window) {
      // the window is full: its later half is read again as the beginning
      tokens.splice(0, tokens.length - Math.max(1, Math.floor(window / 2)))
      unread = tokens.length
    }
    const logits = reader(Int32Array.from(tokens), tokens.length - unread)
    const token = temperature === 0 ? likeliest(logits) : sample(logits, temperature, topK, uniform(i))
    if (token === end) return
    yield token
    tokens.push(token)
    unread = 1
  }
}

/** The most positions that one window has. */
function windowOf({ config: { context, position } }: Model): number {
  return position.kind === 'learned' ? Math.min(context, position.positions) : context
}

/** Logits after the last of `tokens`, of which the first `known` were read by earlier calls. */
type Reader = (tokens: Int32Array, known: number) => Floats

function createRereader(model: Model, kernels: Kernels, options: InferenceOptions): Reader {
  const inference = createInference(model, kernels, options)
  return tokens => inference.logits(tokens, 1, tokens.length, Int32Array.of(tokens.length - 1))
}

/** Reads what is new and keeps its keys and values; angles are those of a text of `longest` tokens. */
function createReader(model: Model, kernels: Kernels, longest: number, options: InferenceOptions): Reader {
  const { config } = model
  const { width, layers } = config
  const scopeOf = createScopes(model, kernels, options)
  const rope = layerRope(config, kernels, longest)
  const caches = Array.from(
    { length: layers },
    (): Cache => ({ keys: kernels.allocate(0), values: kernels.allocate(0) }),
  )
  const logits = kernels.allocate(config.vocab)
  return (tokens, known) => {
    const fresh = tokens.subarray(known)
    const x = kernels.allocate(fresh.length * width)
    const scope = (layer: number): Scope =>
      scopeOf(1, fresh.length, {
        first: known,
        kernels: {
          ...kernels,
          attention: (q, k, v, out, sums, shape) => attend(kernels, caches[layer], known, q, k, v, out, sums, shape),
        },
        rope(layer) {
          const tables = rope(layer)
          if (tables === null) return null
          const { cos, sin, pairs } = tables
          return { pairs, cos: cos.subarray(known * pairs), sin: sin.subarray(known * pairs) }
        },
      })
    createEmbedding(scope(0), x).forward(fresh)
    for (let layer = 0; layer < layers; layer++) createBlock(scope(layer), layer, x, x).forward()
    createHead(scopeOf(1, 1)).logits(x.subarray(x.length - width), logits)
    return logits
  }
}

/** Keys and values of one layer, in the order of positions, each (kvHeads * headSize). */
interface Cache {
  keys: Floats
  values: Floats
}

/** Attention of new positions from `known` on: the kernels' own at the beginning, else one query over the cache at a time. */
function attend(
  kernels: Kernels,
  cache: Cache,
  known: number,
  q: Floats,
  k: Floats,
  v: Floats,
  out: Floats,
  logSums: Floats,
  shape: AttentionShape,
): void {
  const each = shape.kvHeads * shape.headSize
  const needed = (known + shape.length) * each
  if (cache.keys.length < needed) {
    const [keys, values] = [kernels.allocate(2 * needed), kernels.allocate(2 * needed)]
    keys.set(cache.keys.subarray(0, known * each))
    values.set(cache.values.subarray(0, known * each))
    cache.keys = keys
    cache.values = values
  }
  cache.keys.set(k, known * each)
  cache.values.set(v, known * each)
  if (known === 0) kernels.attention(q, k, v, out, logSums, shape)
  else for (let t = 0; t < shape.length; t++) attendOne(cache, known + t, t, q, out, shape)
}

/** Attention of row t of q, whose position is `at`, over the cache. */
function attendOne(cache: Cache, at: number, t: number, q: Floats, out: Floats, shape: AttentionShape): void {
  const { heads, kvHeads, headSize, scale, window, slopes, softcap } = shape
  const from = window === null ? 0 : Math.max(0, at - window + 1)
  const scores = new Float64Array(at + 1 - from)
  const sums = new Float64Array(headSize)
  for (let h = 0; h < heads; h++) {
    const query = (t * heads + h) * headSize
    const kv = Math.floor((h * kvHeads) / heads) * headSize
    let max = -Infinity
    for (let s = from; s <= at; s++) {
      const key = s * kvHeads * headSize + kv
      let score = 0
      for (let i = 0; i < headSize; i++) score += q[query + i] * cache.keys[key + i]
      score *= scale
      if (softcap !== undefined) score = softcap * Math.tanh(score / softcap)
      if (slopes !== undefined) score -= slopes[h] * (at - s)
      scores[s - from] = score
      max = Math.max(max, score)
    }
    sums.fill(0)
    let total = 0
    for (let s = from; s <= at; s++) {
      const p = Math.exp(scores[s - from] - max)
      const value = s * kvHeads * headSize + kv
      total += p
      for (let i = 0; i < headSize; i++) sums[i] += p * cache.values[value + i]
    }
    for (let i = 0; i < headSize; i++) out[query + i] = sums[i] / total
  }
}

/** The index of the largest number, the first of equal ones. */
function likeliest(logits: Floats): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i
  return best
}

/** A token drawn by `u` in (0, 1) from the softmax of the topK largest logits (and their equals) over the temperature. */
function sample(logits: Floats, temperature: number, topK: number, u: number): number {
  const sorted = Float64Array.from(logits).sort()
  const lowest = sorted[Math.max(0, sorted.length - topK)]
  const highest = sorted[sorted.length - 1]
  const weight = (i: number) => (logits[i] < lowest ? 0 : Math.exp((logits[i] - highest) / temperature))
  let total = 0
  for (let i = 0; i < logits.length; i++) total += weight(i)
  let rest = u * total
  let token = 0
  for (let i = 0; i < logits.length && rest > 0; i++) {
    if (logits[i] >= lowest) token = i
    rest -= weight(i)
  }
  return token
}
