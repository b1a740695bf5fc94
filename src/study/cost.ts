// What a run costs before it is done: operations, disk, and, with a machine's rate, seconds.
import type { ModelConfig } from '../model/config.ts'
import { countQuantizations, type PlannedRun } from './expand.ts'
import type { Spec } from './spec.ts'

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

/** How fast this machine is on one core. */
export interface Rates {
  /** Training operations a second of a model, by its width (ascending), of one process while the others run too. */
  training: readonly { width: number; flopsPerSecond: number }[]
  /** Scoring is so much faster than training, an operation. */
  scoring: number
  /** Seconds of one quantization method for a parameter. */
  secondsPerParameter: Readonly<Record<string, number>>
}

/** The rate of a width, between the measured ones in log-log, beyond them the nearest. */
export function rateOf({ training }: Rates, width: number): number {
  const above = training.findIndex(point => point.width >= width)
  if (above <= 0) return training[above === 0 ? 0 : training.length - 1].flopsPerSecond
  const [low, high] = [training[above - 1], training[above]]
  const share = Math.log(width / low.width) / Math.log(high.width / low.width)
  return low.flopsPerSecond * (high.flopsPerSecond / low.flopsPerSecond) ** share
}

/** Seconds of one core for training and for scoring a run. */
export function runSeconds(spec: Spec, run: PlannedRun, rates: Rates): { training: number; scoring: number } {
  if (!run.point) return { training: 0, scoring: 0 }
  const { config, n } = run.point
  const rate = rateOf(rates, config.width)
  const quantizations = countQuantizations(spec, run)
  const forward = forwardFlops(config, n) * spec.evaluate.tokens
  const methods = spec.quantize === undefined ? [] : [spec.quantize].flat().flatMap(entry => entry.methods)
  const perParameter = methods.length
    ? methods.reduce((sum, method) => sum + (rates.secondsPerParameter[method] ?? 0), 0) / methods.length
    : 0
  return {
    training: runCost(run).flops / rate,
    scoring: (forward * (1 + quantizations)) / (rate * rates.scoring) + quantizations * perParameter * n,
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
  byKind: Record<string, { runs: number; flops: number; seconds: number }>
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
    byKind: {},
  }
  let longest = 0
  for (const run of runs) {
    const count = countQuantizations(spec, run)
    total.quantizations += count
    total.evaluations += 1 + count
    const { flops, bytes } = runCost(run)
    // The decay is a run's own; the rest belongs to the longest one of its trunk, whose key is the cluster's.
    const decay = (run.config['schedule'] as { decay?: number } | undefined)?.decay ?? 0
    const own = run.cluster === run.key ? 1 : decay
    const { training, scoring } = rates ? runSeconds(spec, run, rates) : { training: 0, scoring: 0 }
    const seconds = training * own + scoring
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

/** A run's line in the summary: model and precision apart, what is alike in cost together. */
function kindOf(run: PlannedRun): string {
  if (!run.point) return 'checkpoint'
  const { family, width, layers } = run.point.model
  return `${family} ${width}x${layers}`
}
