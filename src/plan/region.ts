// Several laws side by side: where each puts the optimum, how flat it is there, where they agree, and what it costs to
// deviate. The answer is a region, because the optimum is flat and the laws differ.

import type { Range } from '../laws/law.ts'
import { predictionInterval } from '../laws/prediction.ts'
import { printQuantity } from '../table/quantity.ts'
import { type CostModel, costFactor, type TrainingBits } from './cost.ts'
import { type LawFit, resamplesOf } from './fits.ts'
import { menuOf } from './menu.ts'
import { type Bounds, lossAt, planTraining, type TrainPlan, type TrainProblem, tied } from './train.ts'

/** What one law says of a problem. */
export interface LawOptimum {
  law: string
  fit: string
  optimum: TrainPlan | null
  /** Bits of weights whose best plan is a tie with the optimum; null where the law does not tell bits apart. */
  bitsRegion: [number, number] | null
  /** N whose best plan at the optimum's bits is a tie with it; null where N is held. */
  nRegion: [number, number] | null
  /** 95% of the optima of the bootstrap sample; null without a sample. */
  bitsInterval: [number, number] | null
  nInterval: [number, number] | null
  dInterval: [number, number] | null
  /** Where 95% of runs like the optimum would lie; null without a sample. */
  lossInterval: [number, number] | null
  insideRange: boolean
  notes: string[]
}

/** Loss that repeated runs differ by; plans closer than this are a tie (Kumar et al. and QuEST runs repeat to about so much). */
export const NOISE = 0.003

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

/** The problem as a law can answer it: bits that it chooses from a menu of its own, or 16 where it does not tell them apart. */
function problemFor(fit: LawFit, problem: TrainProblem): { own: TrainProblem; notes: string[]; blind: boolean } {
  const menu = menuOf(fit)
  if (menu === null) return { own: problem, notes: [], blind: false }
  // A law that does not see bits plans at 16: another number would only make compute look cheap.
  const blind = menu.length === 1
  const allowed = blind ? menu : menu.filter(choice => isAllowed(choice, problem.bits))
  if (allowed.length > 0)
    return {
      own: { ...problem, bits: allowed },
      notes: blind ? ['this law does not tell training bits apart, the plan is at 16'] : [],
      blind: blind || allowed.length === 1,
    }
  const nearest = menu.map(choice => choice.label).join(', ')
  return { own: { ...problem, bits: [] }, notes: [`this law knows none of these bits, only ${nearest}`], blind: true }
}

/** Whether a choice of a menu lies in the bounds that were given (16 always does where a part may stay as it is). */
function isAllowed(choice: TrainingBits, bits: TrainProblem['bits']): boolean {
  if (!bits || Array.isArray(bits)) return true
  const inside = (p: number, bounds: Bounds | number) =>
    typeof bounds === 'number' ? Math.abs(p - bounds) < 0.01 : p >= bounds.low - 0.01 && p <= bounds.high + 0.01
  if ('low' in bits) return inside(choice.pw, bits) && inside(choice.pa, bits)
  const parts = bits as Record<'pw' | 'pa', Bounds | number>
  return inside(choice.pw, parts.pw) && inside(choice.pa, parts.pa)
}

/** Whether a plan is no tie with the best one: more than NOISE above its loss, or 2% above its cost where a loss is wanted. */
function isWorse(fit: LawFit, problem: TrainProblem, best: TrainPlan): boolean {
  const at = planTraining(fit.law, fit.parameters, problem, { rough: true })
  if ('infeasible' in at) return true
  return problem.loss === undefined ? at.plan.loss > best.loss + NOISE : at.plan.flops > best.flops * 1.02
}

/** The stretch around a value where `worse` is not so, by bisection on both sides. */
function stretch(middle: number, { low, high }: Bounds, worse: (x: number) => boolean): [number, number] {
  const edge = (to: number) => {
    if (!worse(to)) return to
    let [inside, outside] = [middle, to]
    for (let i = 0; i < 10; i++) {
      const x = (inside + outside) / 2
      if (worse(x)) outside = x
      else inside = x
    }
    return inside
  }
  return [edge(low), edge(high)]
}

/** Bits of weights that tie with the optimum: a stretch, or the least and most of a menu; other parts are as in the optimum where each is chosen by itself. */
function tiedBits(fit: LawFit, problem: TrainProblem, plan: TrainPlan): [number, number] | null {
  const { bits } = problem
  if (!bits) return null
  if (Array.isArray(bits)) {
    const ties = bits.filter(choice => !isWorse(fit, { ...problem, bits: choice }, plan)).map(choice => choice.pw)
    return [Math.min(plan.pw, ...ties), Math.max(plan.pw, ...ties)]
  }
  if ('low' in bits) return stretch(plan.pw, bits, p => isWorse(fit, { ...problem, bits: tied(p) }, plan))
  const { pw } = bits as Record<'pw', Bounds | number>
  if (typeof pw === 'number') return null
  return stretch(plan.pw, pw, p => isWorse(fit, { ...problem, bits: { ...trainingBitsOf(plan), pw: p } }, plan))
}

/** The bits of a plan, with what its law reads beside them. */
export function trainingBitsOf({ pw, pa, pkv, label, columns }: TrainingBits): TrainingBits {
  return { pw, pa, pkv, ...(columns && { label, columns }) }
}

/** Sizes that tie with the optimum at its bits, at most a factor of 100 away. */
function tiedSizes(fit: LawFit, problem: TrainProblem, plan: TrainPlan): [number, number] | null {
  if (problem.n !== undefined) return null
  const x = Math.log(plan.n)
  const [low, high] = stretch(x, { low: x - Math.log(100), high: x + Math.log(100) }, at =>
    isWorse(fit, { ...problem, bits: trainingBitsOf(plan), n: Math.exp(at) }, plan),
  )
  return [Math.exp(low), Math.exp(high)]
}

function percentiles(values: readonly number[]): [number, number] | null {
  if (values.length < 20) return null
  const sorted = [...values].sort((a, b) => a - b)
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(p * (sorted.length - 1))))]
  return [at(0.025), at(0.975)]
}

/** One law's optimum with the region that ties with it, its intervals from the bootstrap sample (at most `resamples` of it) and its range. */
export function optimumOf(fit: LawFit, problem: TrainProblem, { resamples = 40 } = {}): LawOptimum {
  const nothing = {
    optimum: null,
    bitsRegion: null,
    nRegion: null,
    bitsInterval: null,
    nInterval: null,
    dInterval: null,
    lossInterval: null,
  }
  const base = { law: fit.law.name, fit: fit.fit, ...nothing, insideRange: false }
  const { own, notes, blind } = problemFor(fit, problem)
  if (Array.isArray(own.bits) && own.bits.length === 0) return { ...base, notes }
  if (!Number.isFinite(lossAt(fit.law, fit.parameters, { cost: own.cost }, 1e8, 1e10, tied(16))))
    return { ...base, notes: ['these constants give no loss'] }
  const solution = planTraining(fit.law, fit.parameters, own)
  if ('infeasible' in solution) return { ...base, notes: [solution.infeasible] }
  const { plan } = solution
  const outside = outsideRange(fit.range, plan, problem.postBits)
  const sampled = resamplesOf(fit, resamples).flatMap(parameters => {
    const resolved = planTraining(fit.law, parameters, own, { tolerance: 3e-3, rough: true })
    return 'plan' in resolved ? [resolved.plan] : []
  })
  return {
    ...base,
    optimum: plan,
    bitsRegion: blind ? null : tiedBits(fit, own, plan),
    nRegion: tiedSizes(fit, own, plan),
    bitsInterval: blind ? null : percentiles(sampled.map(one => one.pw)),
    nInterval: percentiles(sampled.map(one => one.n)),
    dInterval: percentiles(sampled.map(one => one.d)),
    lossInterval: fit.own
      ? predictionInterval(fit.own, parameters => lossAt(fit.law, parameters, own, plan.n, plan.d, plan), 0.95)
      : null,
    insideRange: outside.length === 0,
    notes: [...outside, ...notes, ...unserved(fit, problem), ...(fit.notes ?? [])],
  }
}

/** That a law leaves out the damage by quantizing afterwards. */
function unserved({ law }: LawFit, { postBits }: TrainProblem): string[] {
  if (postBits === undefined || law.columns.some(column => column.name === 'P_post')) return []
  return [`this law does not count the damage by quantizing to ${postBits} bits afterwards`]
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

/** What training at each of these bits (or at each choice of the law's menu), or serving at them after training as planned, costs against the best plan. */
export function deviations(
  fit: LawFit,
  problem: TrainProblem,
  best: TrainPlan,
  trainBits: readonly number[],
  serveBits: readonly number[],
): Deviation[] {
  const menu = menuOf(fit)
  const widths: readonly TrainingBits[] = menu ?? trainBits.map(tied)
  const name = (bits: TrainingBits) => (bits.label && bits.label !== '16' ? `in ${bits.label}` : `at ${bits.pw} bits`)
  // What is held stays held, but for one of N and D: with both held no other compute is possible.
  const freed = { ...problem, compute: undefined, d: problem.n === undefined ? problem.d : undefined }
  const wanted = best.loss + 1e-9
  const against = (what: string, changed: TrainProblem, matched: TrainProblem): Deviation[] => {
    const solution = planTraining(fit.law, fit.parameters, changed, { rough: true })
    if ('infeasible' in solution) return []
    const { plan } = solution
    const same = planTraining(fit.law, fit.parameters, { ...matched, loss: wanted }, { rough: true })
    const lossAbove = plan.loss - best.loss
    const computeFactor = 'plan' in same ? same.plan.flops / best.flops : null
    // Where a loss is wanted, every choice reaches it, and cost is what differs.
    const tie = changed.loss === undefined ? Math.abs(lossAbove) < NOISE : Math.abs(plan.flops / best.flops - 1) < 0.02
    return [{ what, plan, lossAbove, computeFactor, tie }]
  }
  const training = widths.length > 1 ? widths : []
  const servesAt = (p: number) =>
    Number.isFinite(lossAt(fit.law, fit.parameters, { ...problem, postBits: p }, best.n, best.d, best)) &&
    fit.law.columns.some(column => column.name === 'P_post')
  return [
    ...training.flatMap(bits => against(`train ${name(bits)}`, { ...problem, bits }, { ...freed, bits })),
    ...serveBits.filter(servesAt).flatMap(p => {
      const bits = trainingBitsOf(best)
      const postBits = p
      return against(
        `train as planned, quantize to ${p} bits afterwards`,
        { ...problem, bits, postBits, loss: undefined, n: best.n, d: best.d },
        { ...freed, bits, postBits },
      )
    }),
  ]
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
  // What the agreeing ones have in common; one at a time where no width is common to all.
  const common = [
    Math.max(...agreeing.map(one => one.bitsRegion![0])),
    Math.min(...agreeing.map(one => one.bitsRegion![1])),
  ]
  const [low, high] = common[0] <= common[1] ? common : first.bitsRegion!
  const differing = others.filter(one => !overlaps(one, first))
  return [
    low.toFixed(1) === high.toFixed(1)
      ? `${low.toFixed(1)} bits`
      : `between ${low.toFixed(1)} and ${high.toFixed(1)} bits`,
    agreeing.length > 1 ? `${agreeing.map(name).join(' and ')} agree` : `so ${name(first)}`,
    ...differing.map(one => `${name(one)} says ${one.optimum!.label ?? one.optimum!.pw.toFixed(1)}`),
  ].join('; ')
}
