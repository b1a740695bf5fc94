// What a run costs before it is done: operations, disk, and, with what this machine was measured to do, seconds.
import { findTask } from '../evaluate/tasks.ts'
import type { ModelConfig } from '../model/config.ts'
import type { DataConfig, PrecisionConfig } from '../train/config.ts'
import { countQuantizations, type PlannedRun, quantizationsOf } from './expand.ts'
import type { Spec } from './spec.ts'
import { setRequests } from './task-sets.ts'

/** Operations a token of one forward pass: a product's multiply and add are two; attention over half the context on average. */
export function forwardFlops(config: ModelConfig, n: number): number {
  const head = config.vocab * config.embeddingWidth
  const attention = config.layers * config.heads * config.headSize * config.context
  return 2 * (n + head + attention)
}

/** Operations of a training (the backward pass is two forward passes) and bytes of its checkpoint; of a model from elsewhere nothing is known. */
export function runCost(run: Pick<PlannedRun, 'point' | 'd'>): { flops: number; bytes: number } {
  if (!run.point || run.d === null) return { flops: 0, bytes: 0 }
  return { flops: 3 * forwardFlops(run.point.config, run.point.n) * run.d, bytes: 4 * run.point.nTotal }
}

/** What a model does with a token: a training step, the trainer's validation, scoring the text after PTQ, scoring requests of tasks. */
export type Activity = 'train' | 'validate' | 'score' | 'request'

/** Seconds a token of one core, measured on one model of `flops` forward operations a token; `rounding` names the one part that was rounded ('' none). */
export interface Timing {
  flops: number
  rounding: string
  seconds: Partial<Record<Activity, number>>
}

/** Seconds of one core to quantize whole models by one method, and how much longer other formats take than the one of the curve. */
export interface QuantizeTiming {
  curve: readonly { flops: number; seconds: number }[]
  factors: Readonly<Record<string, number>>
}

/** How fast this machine does what a study asks for. */
export interface Rates {
  timings: readonly Timing[]
  quantize: Readonly<Record<string, QuantizeTiming>>
}

/** The parts of a precision that are rounded, named so that what costs alike has one name: codes of at most 8 bits are multiplied in another way than longer ones. */
export function roundingsOf(precision: PrecisionConfig | undefined): string[] {
  if (!precision) return []
  return (['weights', 'activations', 'kv', 'gradients'] as const).flatMap(part => {
    const value = precision[part]
    if (value === 16 || value === undefined) return []
    return [`${part} ${typeof value === 'string' ? value : value <= 8 ? 8 : 12}`]
  })
}

/** Between measured points on straight lines in log-log, beyond them in proportion to the operations; null without points. */
function interpolate(points: readonly { flops: number; seconds: number }[], flops: number): number | null {
  if (!points.length) return null
  const above = points.findIndex(point => point.flops >= flops)
  if (above <= 0) {
    const nearest = points[above === 0 ? 0 : points.length - 1]
    return nearest.seconds * (flops / nearest.flops)
  }
  const [low, high] = [points[above - 1], points[above]]
  const share = Math.log(flops / low.flops) / Math.log(high.flops / low.flops)
  return low.seconds * (high.seconds / low.seconds) ** share
}

/** By how much a rounding makes a token dearer: between measured points on straight lines over the logarithm of the operations, beyond them the nearest. */
function interpolateRatio(points: readonly { flops: number; ratio: number }[], flops: number): number {
  if (!points.length) return 1
  const above = points.findIndex(point => point.flops >= flops)
  if (above <= 0) return points[above === 0 ? 0 : points.length - 1].ratio
  const [low, high] = [points[above - 1], points[above]]
  const share = Math.log(flops / low.flops) / Math.log(high.flops / low.flops)
  return low.ratio + share * (high.ratio - low.ratio)
}

/** Seconds of one core, by kind of work. */
export interface RunSeconds {
  training: number
  quantizing: number
  evaluating: number
}

/** Held-out tokens that a run's own trainer scores: ten times on the way, and at the end. */
function validations({ config, point, d }: PlannedRun, tokens: number): number {
  const steps = Math.max(1, Math.round((d ?? 0) / (point?.batch ?? 1)))
  const { every } = (config['evaluate'] as { every?: number } | undefined) ?? {}
  const between = every === undefined ? Math.max(1, Math.ceil(steps / 10)) : every / (point?.batch ?? 1)
  return tokens * (1 + Math.max(0, Math.ceil(steps / between) - 1))
}

/** Tokens of all requests of a specification's tasks, cut to a context. */
function requestTokens(spec: Spec, data: DataConfig | undefined, context: number): number {
  const bytes = data !== undefined && typeof data.tokenizer === 'object' && data.tokenizer.kind === 'bytes'
  return spec.evaluate.tasks.reduce((sum, name) => {
    const task = findTask(name)
    if (!task) return sum
    const requests = setRequests(task, spec.evaluate.taskData)
    // A token of a vocabulary is about four characters.
    return sum + requests.reduce((all, length) => all + Math.min(context, Math.ceil(bytes ? length : length / 4)), 0)
  }, 0)
}

/** A function that gives the seconds of one core of a run; of models from elsewhere nothing is known. */
export function createCosts(spec: Spec, rates: Rates): (run: PlannedRun) => RunSeconds {
  const points = new Map<string, { flops: number; seconds: number }[]>()
  for (const { flops, rounding, seconds } of rates.timings)
    for (const [activity, value] of Object.entries(seconds)) {
      const id = `${activity} ${rounding}`
      points.set(
        id,
        [...(points.get(id) ?? []), { flops, seconds: value }].sort((a, b) => a.flops - b.flops),
      )
    }
  const ratios = new Map<string, { flops: number; ratio: number }[]>()
  for (const [id, list] of points) {
    const plain = points.get(`${id.slice(0, id.indexOf(' '))} `) ?? []
    const pairs = list.flatMap(({ flops, seconds }) => {
      const base = interpolate(plain, flops)
      return base ? [{ flops, ratio: seconds / base }] : []
    })
    ratios.set(id, pairs)
  }
  const known = new Map<string, number>()
  /** Each rounded part adds the share that it added alone. */
  const perToken = (activity: Activity, roundings: readonly string[], flops: number): number => {
    const id = `${activity} ${roundings.join(',')} ${flops}`
    const before = known.get(id)
    if (before !== undefined) return before
    const plain = interpolate(points.get(`${activity} `) ?? [], flops) ?? 0
    const extra = roundings.map(name => interpolateRatio(ratios.get(`${activity} ${name}`) ?? [], flops) - 1)
    const seconds = plain * (1 + extra.reduce((sum, more) => sum + Math.max(0, more), 0))
    known.set(id, seconds)
    return seconds
  }
  const contexts = new Map<string, number>()
  const tokensOfTasks = (data: DataConfig | undefined, context: number) => {
    const id = `${JSON.stringify(data?.tokenizer)} ${context}`
    const tokens = contexts.get(id) ?? requestTokens(spec, data, context)
    contexts.set(id, tokens)
    return tokens
  }
  const { tokens, kl } = spec.evaluate
  return run => {
    if (!run.point || run.d === null) return { training: 0, quantizing: 0, evaluating: 0 }
    const { config, n } = run.point
    const flops = forwardFlops(config, n)
    const roundings = roundingsOf(run.config['precision'] as PrecisionConfig)
    const left = roundings.filter(name => !name.startsWith('weights'))
    const asked = quantizationsOf(spec, run)
    const scored = perToken('score', left, flops) * tokens
    const requests = perToken('request', left, flops) * tokensOfTasks(run.config['data'] as DataConfig, config.context)
    let quantizing = 0
    for (const { method, formats } of asked) {
      const timing = rates.quantize[method]
      const whole = interpolate(timing?.curve ?? [], flops) ?? 0
      for (const format of formats) quantizing += whole * (timing?.factors[format] ?? 1)
    }
    const count = countQuantizations(spec, run)
    return {
      training:
        perToken('train', roundings, flops) * run.d + perToken('validate', roundings, flops) * validations(run, tokens),
      quantizing,
      evaluating: (1 + count) * (scored + requests) + (kl && count ? scored : 0),
    }
  }
}

/** Sums of a plan, as `study run --dry-run --json` prints them. */
export interface PlanCost {
  runs: number
  quantizations: number
  evaluations: number
  flops: number
  seconds: number
  bytes: number
  /** Seconds of one core, by kind of work. */
  work: RunSeconds
  byKind: Record<string, { runs: number; flops: number; seconds: number }>
}

/** The share of a run's training that is its own: of a trunk's shorter run the decay alone. */
export function ownShare(run: PlannedRun): number {
  const decay = (run.config['schedule'] as { decay?: number } | undefined)?.decay ?? 0
  return run.cluster === run.key ? 1 : decay
}

/** What all runs cost; `seconds` are of the clock with so many processes. A training that serves several token counts counts once. */
export function planCost(spec: Spec, runs: readonly PlannedRun[], rates: Rates | null, processes: number): PlanCost {
  const total: PlanCost = {
    runs: runs.length,
    quantizations: 0,
    evaluations: 0,
    flops: 0,
    seconds: 0,
    bytes: 0,
    work: { training: 0, quantizing: 0, evaluating: 0 },
    byKind: {},
  }
  const costs = rates && createCosts(spec, rates)
  let longest = 0
  for (const run of runs) {
    const count = countQuantizations(spec, run)
    total.quantizations += count
    total.evaluations += 1 + count
    const { flops, bytes } = runCost(run)
    const own = ownShare(run)
    const { training, quantizing, evaluating } = costs?.(run) ?? { training: 0, quantizing: 0, evaluating: 0 }
    total.work.training += training * own
    total.work.quantizing += quantizing
    total.work.evaluating += evaluating
    const seconds = training * own + quantizing + evaluating
    total.flops += flops * own
    total.bytes += bytes
    total.seconds += seconds
    longest = Math.max(longest, seconds)
    const name = kindOf(run)
    const kind = total.byKind[name] ?? { runs: 0, flops: 0, seconds: 0 }
    total.byKind[name] = kind
    kind.runs++
    kind.flops += flops * own
    kind.seconds += seconds
  }
  total.seconds = Math.max(total.seconds / Math.max(1, processes), longest)
  return total
}

/** A run's line in summaries: model and precision apart, what is alike in cost together. */
export function kindOf(run: Pick<PlannedRun, 'point'>): string {
  if (!run.point) return 'checkpoint'
  const { family, width, layers } = run.point.model
  return `${family} ${width}x${layers}`
}
