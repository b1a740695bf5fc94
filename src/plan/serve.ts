// The serving plan: candidates (shapes with their training data, formats of weights and cache) under a memory and
// throughput budget; bytes, tokens a second and predicted loss of each, the frontier, and which are ties.
import { type FormatLike, parseFormat, printFormat } from '../formats/index.ts'
import { activationBytes, cacheBytes, embeddingBytes, linearsIn, type WeightFormats, weightBytes } from './bytes.ts'
import { inferenceFlops } from './cost.ts'
import type { Device } from './devices.ts'
import type { LawFit } from './region.ts'
import { countShape, type Shape } from './shape.ts'

/** One model that could be served. */
export interface ServeCandidate {
  name: string
  shape: Shape
  /** Training tokens; null: unknown, no damage is predicted. */
  d: number | null
  /** Measured loss of this model unquantized, where known; else the law's. */
  loss?: number
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
  formats: readonly FormatLike[]
  kvFormat: FormatLike
  /** Share of peak bandwidth and operations that decoding reaches. */
  efficiency?: number
}

/** One model at one format. */
export interface ServePlan {
  model: string
  format: string
  kvFormat: string
  n: number
  bitsPerParameter: number
  bytes: { weights: number; kv: number; activations: number; total: number }
  tokensPerSecond: number
  boundBy: 'bandwidth' | 'compute'
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
  warnings: string[]
}

/** Differences of predicted loss below this are a tie: PTQ laws are off by more. */
const SERVE_TIE = 0.01

/** Width that a PTQ law reads for a format: the bits of its element, without scales. */
export function elementBits(format: FormatLike): number {
  const record = parseFormat(format)
  if (record.kind === 'plain') return record.name === 'fp32' ? 32 : 16
  if (record.kind === 'scaled') return 'bits' in record.element ? record.element.bits : Math.log2(3)
  return Number(/\d/.exec(record.name.replace(/^(mx|nv|iq|tq)/, ''))?.[0] ?? 8)
}

/** Tokens a second while decoding: each step reads all weights and every sequence's cache, and computes 2 N a token in 16 bits, because formats of weights alone are widened before the product. */
export function decodeSpeed(
  shape: Shape,
  formats: WeightFormats,
  kvFormat: FormatLike,
  { device, context, batch, efficiency = 0.7 }: Pick<ServeProblem, 'device' | 'context' | 'batch' | 'efficiency'>,
): { tokensPerSecond: number; boundBy: 'bandwidth' | 'compute' } {
  // An embedding is looked up, not read through, unless it is the head too.
  const lookedUp = shape.tied ? 0 : embeddingBytes(shape, formats)
  const bytes = weightBytes(shape, formats) - lookedUp + cacheBytes(shape, context * batch, kvFormat)
  const reading = bytes / (device.bandwidth * efficiency)
  const computing = inferenceFlops(countShape(shape).nTotal, batch) / (device.flops.bf16 * efficiency)
  return {
    tokensPerSecond: batch / Math.max(reading, computing),
    boundBy: reading >= computing ? 'bandwidth' : 'compute',
  }
}

/** Predicted loss before PTQ and damage of k bits for a candidate, by one PTQ law; nulls where the law or D is missing. */
function predicted(
  fit: LawFit | undefined,
  candidate: ServeCandidate,
  n: number,
  bits: number,
): { loss: number | null; deltaPtq: number | null } {
  if (!fit || candidate.d === null) return { loss: candidate.loss ?? null, deltaPtq: bits >= 16 ? 0 : null }
  const configuration = { N: n, D: candidate.d }
  const before = candidate.loss ?? fit.law.predict(fit.parameters, configuration).loss
  const deltaPtq = bits >= 16 ? 0 : fit.law.predict(fit.parameters, { ...configuration, P_post: bits }).deltaPtq
  return { loss: before === null || before === undefined ? null : before + (deltaPtq ?? 0), deltaPtq }
}

/** Plans for every candidate and format. */
export function planServing(candidates: readonly ServeCandidate[], problem: ServeProblem, fit?: LawFit): ServeSolution {
  const memory = problem.memory ?? problem.device.memory
  const plans: ServePlan[] = []
  let tooLarge = 0
  let tooSlow = 0
  for (const candidate of candidates)
    for (const spelling of problem.formats) {
      const format = printFormat(parseFormat(spelling))
      const formats = linearsIn(format)
      const { n, nTotal } = countShape(candidate.shape)
      const weights = weightBytes(candidate.shape, formats)
      const kv = cacheBytes(candidate.shape, problem.context * problem.batch, problem.kvFormat)
      const activations = activationBytes(candidate.shape, problem.batch)
      const total = weights + kv + activations
      const speed = decodeSpeed(candidate.shape, formats, problem.kvFormat, problem)
      const small = total <= memory
      const quick = speed.tokensPerSecond >= (problem.minTokensPerSecond ?? 0)
      if (!small) tooLarge++
      else if (!quick) tooSlow++
      plans.push({
        model: candidate.name,
        format,
        kvFormat: printFormat(parseFormat(problem.kvFormat)),
        n,
        bitsPerParameter: (weights * 8) / nTotal,
        bytes: { weights, kv, activations, total },
        ...speed,
        ...predicted(fit, candidate, n, elementBits(format)),
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
  if (fitting.length === 0 && plans.length > 0) {
    const least = plans.reduce((a, b) => (a.bytes.total <= b.bytes.total ? a : b))
    warnings.push(
      tooSlow > 0
        ? `no plan reaches ${problem.minTokensPerSecond} tokens/s in this memory, the fastest that fits reaches ${Math.max(...plans.filter(plan => plan.bytes.total <= memory).map(plan => plan.tokensPerSecond)).toFixed(1)}`
        : `no plan fits ${memory} bytes, the least is ${least.model} ${least.format} with ${least.bytes.total}, ${(least.bytes.total / memory).toPrecision(3)} times as much`,
    )
  }
  return { plans, binding, tie: tie.length > 1 ? tie : [], warnings }
}

/** Marks the plans that no other beats in both bytes and loss; n log n. */
export function markFrontier(plans: ServePlan[]): void {
  const order = plans
    .filter(plan => plan.loss !== null)
    .sort((a, b) => a.bytes.total - b.bytes.total || a.loss! - b.loss!)
  let best = Number.POSITIVE_INFINITY
  for (const plan of order)
    if (plan.loss! < best) {
      plan.frontier = true
      best = plan.loss!
    }
}
