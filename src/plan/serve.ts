// The serving plan: candidates (shapes with their training data, formats of weights and cache) under a memory and
// throughput budget; bytes, tokens a second and predicted loss of each, the frontier, and which are ties.
import { type FormatLike, parseFormat, printFormat } from '../formats/index.ts'
import { activationBytes, cacheBytes, embeddingBytes, inBits, type Storage, storageOf, weightBytes } from './bytes.ts'
import { inferenceFlops, type TrainingBits } from './cost.ts'
import { type Device, fastestType } from './devices.ts'
import type { LawFit } from './fits.ts'
import { frontierOf } from './frontier.ts'
import { countShape, type Shape } from './shape.ts'

/** One model that could be served. */
export interface ServeCandidate {
  name: string
  shape: Shape
  /** Training tokens; null: unknown, no damage is predicted. */
  d: number | null
  /** Measured loss of this model unquantized, where known; else the law's. */
  loss?: number
  /** What it was trained at; absent: 16 bits. */
  trained?: TrainingBits
}

/** What is given: bytes of memory, device, context and number of sequences at once. */
export interface ServeProblem {
  /** Bytes; the device's memory where absent. */
  memory?: number
  device: Device
  context: number
  batch: number
  /** Least tokens a second of all sequences together. */
  minTokensPerSecond?: number
  /** Formats of the blocks' matrices, or file types of llama.cpp such as q4_k_m. */
  formats: readonly FormatLike[]
  kvFormat: FormatLike
  /** Format of embedding and unembedding beside a format of the blocks; bf16 where absent. */
  embeddings?: FormatLike
  /** Bits of activations while serving: 8 with weights of 8 bits run on units for 8; 16 where absent. */
  activationBits?: number
  /** Share of peak bandwidth and operations that decoding reaches. */
  efficiency?: number
}

/** One model at one format. */
export interface ServePlan {
  model: string
  format: string
  kvFormat: string
  n: number
  /** Of the codes. */
  k: number
  bitsPerParameter: number
  bytes: { weights: number; kv: number; activations: number; total: number }
  tokensPerSecond: number
  boundBy: 'bandwidth' | 'compute'
  /** Of reading a prompt, bound by operations. */
  promptTokensPerSecond: number
  loss: number | null
  deltaPtq: number | null
  fits: boolean
  /** No other plan has as few bytes and as low a loss. */
  frontier: boolean
}

/** All plans of a problem, those that fit first by loss; names of the constraints that rule others out; and the plans that tie with the best. */
export interface ServeSolution {
  plans: ServePlan[]
  binding: string[]
  tie: string[]
  /** The best plan that fits, and the widths that serve as well in this memory, each with its best model; null where none fits or no loss is known. */
  best: { model: string; format: string; k: number; tiedBits: number[] } | null
  warnings: string[]
}

/** Differences of predicted loss below this are a tie: PTQ laws are off by more. */
const SERVE_TIE = 0.01

/** Tokens a second while decoding: each step reads all weights and every sequence's cache, and computes 2 N a token in the type that holds weights and activations. */
export function decodeSpeed(
  shape: Shape,
  weights: Storage | number,
  kvFormat: FormatLike,
  {
    device,
    context,
    batch,
    efficiency = 0.7,
    activationBits = 16,
  }: Pick<ServeProblem, 'device' | 'context' | 'batch' | 'efficiency' | 'activationBits'>,
): Pick<ServePlan, 'tokensPerSecond' | 'boundBy' | 'promptTokensPerSecond'> {
  const storage = typeof weights === 'number' ? inBits(weights) : weights
  // An embedding is looked up, not read through, unless it is the head too.
  const lookedUp = shape.tied ? 0 : embeddingBytes(shape, storage)
  const bytes = weightBytes(shape, storage) - lookedUp + cacheBytes(shape, context * batch, kvFormat)
  const reading = bytes / (device.bandwidth * efficiency)
  // Formats of weights alone are widened before the product; only where activations are narrow too do narrow units help.
  const { flops } = fastestType(device, Math.max(activationBits, storage.k))
  const computing = inferenceFlops(countShape(shape).nTotal, 1) / (flops * efficiency)
  return {
    tokensPerSecond: batch / Math.max(reading, computing * batch),
    boundBy: reading >= computing * batch ? 'bandwidth' : 'compute',
    promptTokensPerSecond: 1 / computing,
  }
}

/** Predicted loss of a candidate at k bits and the damage in it, by one PTQ law; nulls where the law, D or the damage is not known. */
function predicted(
  fit: LawFit | undefined,
  candidate: ServeCandidate,
  n: number,
  bits: number,
): { loss: number | null; deltaPtq: number | null } {
  const { pw = 16, pa = 16, pkv = 16 } = candidate.trained ?? {}
  const law = (post: object) =>
    fit && candidate.d !== null
      ? fit.law.predict(fit.parameters, { N: n, D: candidate.d, P_w: pw, P_a: pa, P_kv: pkv, ...post })
      : undefined
  const before = candidate.loss ?? law({})?.loss ?? null
  const deltaPtq = bits >= 16 ? 0 : (law({ P_post: bits })?.deltaPtq ?? null)
  return { loss: before === null || deltaPtq === null ? null : before + deltaPtq, deltaPtq }
}

/** Plans for every candidate and format. */
export function planServing(candidates: readonly ServeCandidate[], problem: ServeProblem, fit?: LawFit): ServeSolution {
  const memory = problem.memory ?? problem.device.memory
  const plans: ServePlan[] = []
  let tooLarge = 0
  let tooSlow = 0
  for (const candidate of candidates)
    for (const spelling of problem.formats) {
      const storage = storageOf(spelling, candidate.shape, problem.embeddings)
      const { n, nTotal } = countShape(candidate.shape)
      const weights = weightBytes(candidate.shape, storage)
      const kv = cacheBytes(candidate.shape, problem.context * problem.batch, problem.kvFormat)
      const activations = activationBytes(candidate.shape, problem.batch)
      const total = weights + kv + activations
      const speed = decodeSpeed(candidate.shape, storage, problem.kvFormat, problem)
      const small = total <= memory
      const quick = speed.tokensPerSecond >= (problem.minTokensPerSecond ?? 0)
      if (!small) tooLarge++
      else if (!quick) tooSlow++
      plans.push({
        model: candidate.name,
        format: storage.name,
        kvFormat: printFormat(parseFormat(problem.kvFormat)),
        n,
        k: storage.k,
        bitsPerParameter: (weights * 8) / nTotal,
        bytes: { weights, kv, activations, total },
        ...speed,
        ...predicted(fit, candidate, n, storage.k),
        fits: small && quick,
        frontier: false,
      })
    }
  markFrontier(plans)
  plans.sort(
    (a, b) =>
      Number(b.fits) - Number(a.fits) ||
      (a.loss ?? Number.POSITIVE_INFINITY) - (b.loss ?? Number.POSITIVE_INFINITY) ||
      a.bytes.total - b.bytes.total,
  )
  const binding: string[] = []
  if (tooLarge > 0) binding.push('memory')
  if (tooSlow > 0) binding.push('throughput')
  const fitting = plans.filter(plan => plan.fits)
  const [best] = fitting
  const tie =
    best?.loss == null
      ? []
      : fitting
          .filter(plan => plan.loss !== null && plan.loss - best.loss! < SERVE_TIE)
          .map(plan => `${plan.model} ${plan.format}`)
  const warnings: string[] = []
  if (fit && candidates.some(({ d }) => d !== null) && plans.every(({ k, deltaPtq }) => k >= 16 || deltaPtq === null))
    warnings.push(`${fit.law.name} says nothing of what fewer than 16 bits cost: no loss is predicted for them`)
  if (fitting.length === 0 && plans.length > 0) {
    const least = plans.reduce((a, b) => (a.bytes.total <= b.bytes.total ? a : b))
    warnings.push(
      tooSlow > 0
        ? `no plan reaches ${problem.minTokensPerSecond} tokens/s in this memory, the fastest that fits reaches ${Math.max(...plans.filter(plan => plan.bytes.total <= memory).map(plan => plan.tokensPerSecond)).toFixed(1)}`
        : `no plan fits ${memory} bytes, the least is ${least.model} ${least.format} with ${least.bytes.total}, ${(least.bytes.total / memory).toPrecision(3)} times as much`,
    )
  }
  return { plans, binding, tie: tie.length > 1 ? tie : [], best: bestOf(fitting), warnings }
}

/** The best of plans in order of loss, with the widths whose own best plan ties with it. */
function bestOf(fitting: readonly ServePlan[]): ServeSolution['best'] {
  const [best] = fitting
  if (best?.loss == null) return null
  const { loss } = best
  const tied = fitting.filter(plan => plan.loss !== null && plan.loss - loss < SERVE_TIE).map(plan => plan.k)
  return { model: best.model, format: best.format, k: best.k, tiedBits: [...new Set(tied)].sort((a, b) => a - b) }
}

/** Marks the plans that no other beats in both bytes and loss. */
export function markFrontier(plans: readonly ServePlan[]): void {
  const marks = frontierOf(
    Float64Array.from(plans, plan => plan.bytes.total),
    Float64Array.from(plans, plan => plan.loss ?? Number.NaN),
  )
  plans.forEach((plan, i) => {
    plan.frontier = marks[i] === 1
  })
}

/** One point of a serving frontier. */
export interface ServePoint {
  model: string
  format: string
  context: number
  bytes: number
  loss: number
}

/** Every model at every format and context, and of those that fit the ones that no other beats in bytes, loss and context at once. */
export function serveGrid(
  candidates: readonly ServeCandidate[],
  problem: Omit<ServeProblem, 'context'>,
  contexts: ArrayLike<number>,
  fit?: LawFit,
): ServePoint[] {
  const memory = problem.memory ?? problem.device.memory
  const { formats, batch } = problem
  const total = candidates.length * formats.length * contexts.length
  const bytes = new Float64Array(total)
  const losses = new Float64Array(total)
  const shorter = new Float64Array(total)
  let at = 0
  for (const candidate of candidates) {
    const { shape } = candidate
    const { n } = countShape(shape)
    const activations = activationBytes(shape, batch)
    const caches = Float64Array.from(contexts, context => cacheBytes(shape, context * batch, problem.kvFormat))
    for (const spelling of formats) {
      const storage = storageOf(spelling, shape, problem.embeddings)
      const fixed = weightBytes(shape, storage) + activations
      const loss = predicted(fit, candidate, n, storage.k).loss ?? Number.NaN
      for (let i = 0; i < contexts.length; i++, at++) {
        bytes[at] = fixed + caches[i]
        losses[at] = bytes[at] <= memory ? loss : Number.NaN
        shorter[at] = -contexts[i]
      }
    }
  }
  const marks = frontierOf(bytes, losses, shorter)
  const points: ServePoint[] = []
  for (let i = 0; i < total; i++) {
    if (marks[i] === 0) continue
    const which = Math.floor(i / contexts.length)
    const format = formats[which % formats.length]
    points.push({
      model: candidates[Math.floor(which / formats.length)].name,
      format: typeof format === 'string' ? format : printFormat(format),
      context: contexts[i % contexts.length],
      bytes: bytes[i],
      loss: losses[i],
    })
  }
  return points
}
