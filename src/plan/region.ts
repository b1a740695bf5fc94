// Several laws side by side: where each puts the optimum, how flat it is there, where they agree, and what it costs to
// deviate. The answer is a region, because the optimum is flat and the laws differ.

import type { Law, Parameters, Range } from '../laws/law.ts'
import { printQuantity } from '../table/quantity.ts'
import { type CostModel, costFactor } from './cost.ts'
import { lossAt, planTraining, type TrainPlan, type TrainProblem, type TrainSolution, tied } from './train.ts'

/** A law with constants: published, or a fit of one's own with its bootstrap sample. */
export interface LawFit {
  law: Law
  /** Name of the fit: `kumar2024`, or the file of one's own. */
  fit: string
  parameters: Parameters
  range: Range
  /** Parameters of bootstrap resamples, for intervals. */
  sample?: readonly Parameters[]
}

/** What one law says of a problem. */
export interface LawOptimum {
  law: string
  fit: string
  optimum: TrainPlan | null
  /** Bits whose best plan is within `tolerance` nats of the optimum; null where the law does not tell bits apart. */
  bitsRegion: [number, number] | null
  /** 95% of the bootstrap sample's optima; null without a sample. */
  bitsInterval: [number, number] | null
  lossInterval: [number, number] | null
  insideRange: boolean
  notes: string[]
}

/** Loss that repeated runs differ by; plans closer than this are a tie (Kumar et al. and QuEST runs repeat to about so much). */
export const TIE = 0.003

/** True where a law's loss depends on the bits of training. */
export function seesBits({ law, parameters }: LawFit): boolean {
  const at = (bits: number) => lossAt(law, parameters, { cost: { kind: 'bits' } }, 1e8, 1e10, tied(bits))
  const values = [16, 8, 6.5, 4].map(at)
  // A law whose fit is of one low precision only has the same loss at 4 and 8 bits.
  return values.every(Number.isFinite) && new Set(values).size === values.length
}

/** Names of the quantities of a plan that lie outside a fit's range, each as a sentence. */
export function outsideRange(range: Range, plan: TrainPlan, postBits?: number): string[] {
  const values: Record<string, number | undefined> = {
    N: plan.n,
    D: plan.d,
    P_w: plan.pw,
    P_a: plan.pa,
    P_kv: plan.pkv,
    P_post: postBits,
    'D/N': plan.d / plan.n,
  }
  const notes: string[] = []
  for (const [name, [low, high]] of Object.entries(range)) {
    const value = values[name]
    if (value === undefined) continue
    if (value < low * (1 - 1e-6) || value > high * (1 + 1e-6))
      notes.push(
        `${name} = ${printQuantity(value)} lies outside the ${printQuantity(low)} to ${printQuantity(high)} that the fit saw`,
      )
  }
  return notes
}

function solve({ law, parameters }: LawFit, problem: TrainProblem): TrainSolution {
  return planTraining(law, parameters, problem)
}

/** The bits around an optimum whose best plan is a tie with it, by bisection on both sides. */
function flatBits(fit: LawFit, problem: TrainProblem, plan: TrainPlan): [number, number] | null {
  const { bits } = problem
  if (!bits || !('low' in bits) || !seesBits(fit)) return null
  const worse = (p: number) => {
    const at = solve(fit, { ...problem, bits: tied(p) })
    if ('infeasible' in at) return true
    return problem.loss === undefined ? at.plan.loss > plan.loss + TIE : at.plan.flops > plan.flops * 1.02
  }
  const edge = (from: number, to: number) => {
    if (!worse(to)) return to
    let inside = from
    let outside = to
    for (let i = 0; i < 12; i++) {
      const middle = (inside + outside) / 2
      if (worse(middle)) outside = middle
      else inside = middle
    }
    return inside
  }
  return [edge(plan.pw, bits.low), edge(plan.pw, bits.high)]
}

function percentiles(values: readonly number[]): [number, number] | null {
  if (values.length < 20) return null
  const sorted = [...values].sort((a, b) => a - b)
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(p * (sorted.length - 1))))]
  return [at(0.025), at(0.975)]
}

/** One law's optimum with its flat region, its interval from the bootstrap sample (at most `resamples` of it) and its range. */
export function optimumOf(fit: LawFit, problem: TrainProblem, { resamples = 40 } = {}): LawOptimum {
  const base = { law: fit.law.name, fit: fit.fit }
  // A law that does not see bits plans at 16: another number would only make compute look cheap.
  const blind = !seesBits(fit)
  const own = blind ? { ...problem, bits: tied(16) } : problem
  const solution = solve(fit, own)
  if ('infeasible' in solution)
    return {
      ...base,
      optimum: null,
      bitsRegion: null,
      bitsInterval: null,
      lossInterval: null,
      insideRange: false,
      notes: [solution.infeasible],
    }
  const { plan } = solution
  const notes = outsideRange(fit.range, plan, problem.postBits)
  const inside = notes.length === 0
  if (blind) notes.push('this law does not tell training bits apart, the plan is at 16')
  const sampled = (fit.sample ?? []).slice(0, resamples).flatMap(parameters => {
    const resolved = solve({ ...fit, parameters }, own)
    return 'plan' in resolved ? [resolved.plan] : []
  })
  const losses = (fit.sample ?? []).map(parameters => lossAt(fit.law, parameters, problem, plan.n, plan.d, plan))
  return {
    ...base,
    optimum: plan,
    bitsRegion: flatBits(fit, own, plan),
    bitsInterval: blind ? null : percentiles(sampled.map(one => one.pw)),
    lossInterval: percentiles(losses.filter(Number.isFinite)),
    insideRange: inside,
    notes,
  }
}

/** A plan that differs from the best one, and what the difference costs. */
export interface Deviation {
  what: string
  plan: TrainPlan
  /** Nats above the best plan. */
  lossAbove: number
  /** Compute at which this choice reaches the best plan's loss, over the best plan's; null: it never does. */
  computeFactor: number | null
  tie: boolean
}

/** What training at each of these bits, or serving at them after training, costs against the best plan. */
export function deviations(
  fit: LawFit,
  problem: TrainProblem,
  best: TrainPlan,
  trainBits: readonly number[],
  serveBits: readonly number[],
): Deviation[] {
  const choices: [string, TrainProblem][] = [
    ...(seesBits(fit)
      ? trainBits.map((p): [string, TrainProblem] => [`train at ${p} bits`, { ...problem, bits: tied(p) }])
      : []),
    ...(fit.law.core.c || fit.law.columns.some(column => column.name === 'P_post')
      ? serveBits.map((p): [string, TrainProblem] => [
          `train as planned, quantize to ${p} bits afterwards`,
          { ...problem, bits: { pw: best.pw, pa: best.pa, pkv: best.pkv }, postBits: p },
        ])
      : []),
  ]
  return choices.flatMap(([what, changed]) => {
    const solution = solve(fit, changed)
    if ('infeasible' in solution) return []
    const { plan } = solution
    const matched = solve(fit, { ...changed, loss: best.loss + 1e-9, compute: undefined, d: undefined, n: undefined })
    const computeFactor = 'plan' in matched ? matched.plan.flops / best.flops : null
    const lossAbove = plan.loss - best.loss
    return [{ what, plan, lossAbove, computeFactor, tie: Math.abs(lossAbove) < TIE }]
  })
}

/** How many more parameters training at `low` bits needs than at `high` for the same loss at the same D, and whether that is more than the bits it saves. */
export function isoLoss(
  fit: LawFit,
  cost: CostModel,
  n: number,
  d: number,
  low: number,
  high: number,
): { parameterFactor: number; bitsFactor: number; computeFactor: number } | null {
  const problem = { cost }
  const target = lossAt(fit.law, fit.parameters, problem, n, d, tied(high))
  const needed = planTraining(fit.law, fit.parameters, { cost, d, loss: target, bits: tied(low) })
  if ('infeasible' in needed) return null
  const parameterFactor = needed.plan.n / n
  return {
    parameterFactor,
    bitsFactor: high / low,
    computeFactor: (parameterFactor * costFactor(tied(low), cost)) / costFactor(tied(high), cost),
  }
}

/** The optima in words, the first named leading: "between 6.2 and 8.4 bits; kumar_unified (kumar2024) and quartet agree, gmse says 5". */
export function describeRegion(optima: readonly LawOptimum[]): string {
  const [first, ...others] = optima.filter(one => one.optimum && one.bitsRegion)
  if (!first) return 'no law here tells training bits apart'
  const overlaps = (a: LawOptimum, b: LawOptimum) =>
    a.bitsRegion![0] <= b.bitsRegion![1] && b.bitsRegion![0] <= a.bitsRegion![1]
  const name = (one: LawOptimum) => `${one.law} (${one.fit})`
  const agreeing = [first, ...others.filter(one => overlaps(one, first))]
  const low = Math.min(...agreeing.map(one => one.bitsRegion![0]))
  const high = Math.max(...agreeing.map(one => one.bitsRegion![1]))
  const differing = others.filter(one => !overlaps(one, first))
  return [
    `between ${low.toFixed(1)} and ${high.toFixed(1)} bits`,
    agreeing.length > 1 ? `${agreeing.map(name).join(' and ')} agree` : `so ${name(first)}`,
    ...differing.map(one => `${name(one)} says ${one.optimum!.pw.toFixed(1)}`),
  ].join('; ')
}
