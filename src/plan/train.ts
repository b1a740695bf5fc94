// The training plan: N, D and bits that reach the least loss under compute, memory and data, or the cheapest plan that
// reaches a wanted loss, by one law with one set of constants. Pure; region.ts sets several laws side by side.
import type { Configuration, Law, Parameters } from '../laws/law.ts'
import { trainingBytes } from './bytes.ts'
import { type CostModel, costFactor, inferenceFlops, type TrainingBits, trainingFlops } from './cost.ts'
import { minimize, solveDecreasing } from './search.ts'
import { usualWidth } from './shape.ts'

/** What is given. Absent: free. Compute counts in FLOPs at 16 bits; bytes in bytes. */
export interface TrainProblem {
  compute?: number
  /** Wanted loss: the plan is the cheapest that reaches it (compute, where given, is then a limit). */
  loss?: number
  n?: number
  d?: number
  /** Distinct tokens there are; with `repeat` they may be seen again at falling worth (Muennighoff et al.). */
  data?: { tokens: number; repeat: boolean }
  /** Bytes while training, all devices together. */
  trainingMemory?: number
  /** Bytes of weights to serve in. */
  servingMemory?: number
  /** Bits per parameter served, scales included; P_post or the training weights' where absent. */
  servingBits?: number
  /** P_post for the law: the model is quantized after training to so many bits. */
  postBits?: number
  /** Tokens read and written over the model's life (Sardana et al.). */
  inferenceTokens?: number
  /** Training bits: one choice, a list to choose from, bounds of one number for all parts, or bounds of each part; 16 where absent. */
  bits?: Bounds | Record<'pw' | 'pa' | 'pkv', Bounds> | readonly TrainingBits[] | TrainingBits
  cost: CostModel
  /** Size of the vocabulary, so that memory holds the embeddings too (16 bits when serving); absent: they are left out. */
  vocab?: number
}

/** Bounds of a search, both included. */
export interface Bounds {
  low: number
  high: number
}

/** A plan; flops are what the cost model counts, training and inference together. */
export interface TrainPlan extends TrainingBits {
  n: number
  d: number
  loss: number
  flops: number
  trainingFlops: number
}

/** The optimum of a problem, the constraints that hold it back, and where there is none, why. */
export type TrainSolution = { plan: TrainPlan; binding: string[] } | { infeasible: string }

/** Bounds of what is searched: parameters and tokens. */
const N_RANGE = [1e4, 1e14] as const
const D_RANGE = [1e5, 1e17] as const

/** Half of a repetition's worth is lost after about 15 epochs: R*_D of Muennighoff et al. 2023, table of section 6. */
const REPETITION = 15.387756

/** Tokens worth as much as d tokens of which only `unique` are distinct: U + U R* (1 - exp(-R / R*)), R = d / U - 1. */
export function effectiveData(d: number, unique: number): number {
  if (d <= unique) return d
  const repeats = d / unique - 1
  return unique + unique * REPETITION * -Math.expm1(-repeats / REPETITION)
}

/** What a law is asked. */
function rowOf({ postBits }: TrainProblem, n: number, d: number, bits: TrainingBits): Configuration {
  const row = { N: n, D: d, P_w: bits.pw, P_a: bits.pa, P_kv: bits.pkv, P_post: postBits ?? null }
  return bits.columns ? { ...row, ...bits.columns } : row
}

/** Loss of a law at a configuration of the problem; infinite where the law says nothing. */
export function lossAt(
  law: Law,
  parameters: Parameters,
  problem: TrainProblem,
  n: number,
  d: number,
  bits: TrainingBits,
): number {
  const unique = problem.data?.repeat ? problem.data.tokens : undefined
  const ownRule = unique !== undefined && law.columns.some(column => column.name === 'D_unique')
  const row = rowOf(problem, n, unique === undefined || ownRule ? d : effectiveData(d, unique), bits)
  const { loss } = law.predict(parameters, ownRule ? { ...row, D_unique: unique } : row)
  return loss !== null && Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY
}

/** FLOPs of inference over the model's life; reading weights of k bits is counted as k/16 of the 16-bit work. */
export function servedFlops(problem: TrainProblem, n: number, bits: TrainingBits): number {
  if (!problem.inferenceTokens) return 0
  return (inferenceFlops(n, problem.inferenceTokens) * (problem.servingBits ?? problem.postBits ?? bits.pw)) / 16
}

/** Parameters of embedding and unembedding beside n others, in a model of the usual proportions. */
function embeddingsOf({ vocab = 0 }: TrainProblem, n: number): number {
  return 2 * vocab * usualWidth(n)
}

/** Bytes of weights to serve n parameters, embeddings in 16 bits. */
export function servingBytesOf(problem: TrainProblem, n: number, bits: TrainingBits): number {
  return (n * (problem.servingBits ?? problem.postBits ?? bits.pw)) / 8 + embeddingsOf(problem, n) * 2
}

/** Bytes of weights, gradients and optimizer while training n parameters. */
export function trainingBytesOf(problem: TrainProblem, n: number, bits: TrainingBits): number {
  return trainingBytes(n, bits.pw) + trainingBytes(embeddingsOf(problem, n), 16)
}

/** Largest N that memory allows at these bits. */
function largestN(problem: TrainProblem, bits: TrainingBits): number {
  const fits = (x: number) => {
    const n = Math.exp(x)
    return (
      servingBytesOf(problem, n, bits) <= (problem.servingMemory ?? Number.POSITIVE_INFINITY) &&
      trainingBytesOf(problem, n, bits) <= (problem.trainingMemory ?? Number.POSITIVE_INFINITY)
    )
  }
  let [low, high] = N_RANGE.map(Math.log)
  if (fits(high)) return N_RANGE[1]
  if (!fits(low)) return 0
  while (high - low > 1e-12) {
    const middle = (low + high) / 2
    if (fits(middle)) low = middle
    else high = middle
  }
  return Math.exp(low)
}

/** Largest D that data allows. */
function largestD(problem: TrainProblem): number {
  return problem.data && !problem.data.repeat ? problem.data.tokens : D_RANGE[1]
}

/** What a search may spend: points of its coarse grid over ln N, and the share of the range it ends at. */
interface Effort {
  steps: number
  tolerance: number
}
const ROUGH: Effort = { steps: 24, tolerance: 3e-5 }
const FINE: Effort = { steps: 48, tolerance: 1e-7 }

/** The best plan at given bits: N is searched, D follows from the budget or the wanted loss. */
function planAt(
  law: Law,
  parameters: Parameters,
  problem: TrainProblem,
  bits: TrainingBits,
  effort: Effort = FINE,
): TrainPlan | undefined {
  const factor = costFactor(bits, problem.cost)
  const dMax = largestD(problem)
  const budget = problem.compute ?? Number.POSITIVE_INFINITY
  const { loss: wanted } = problem
  const lossOf = (n: number, d: number) => lossAt(law, parameters, problem, n, d, bits)
  const totalFlops = (n: number, d: number) => trainingFlops(n, d) * factor + servedFlops(problem, n, bits)
  const most = (n: number) =>
    Math.min((budget - servedFlops(problem, n, bits)) / (6 * n * factor), problem.d ?? dMax, dMax)
  /** D for n, or how far out of reach it is. */
  const dOf = (n: number): { d: number } | { short: number } => {
    const limit = most(n)
    if (problem.d !== undefined) {
      if (limit < problem.d * (1 - 1e-9)) return { short: Number.POSITIVE_INFINITY }
      if (wanted === undefined) return { d: problem.d }
      const gap = lossOf(n, problem.d) - wanted
      return gap > 0 ? { short: gap } : { d: problem.d }
    }
    if (!(limit >= D_RANGE[0])) return { short: Number.POSITIVE_INFINITY }
    const turn = bestD(law, parameters, problem, n, limit, bits)
    if (wanted === undefined) return { d: turn }
    // With PTQ, loss falls with D up to the best D only.
    const [low, high] = [Math.log(D_RANGE[0]), Math.log(turn)]
    const found = solveDecreasing(x => lossOf(n, Math.exp(x)), wanted, low, high)
    return found === undefined ? { short: lossOf(n, turn) - wanted } : { d: Math.exp(found) }
  }
  /** What is made least. A wanted loss out of reach ranks behind all that reach it, nearer ones first, so that the search finds its way. */
  const value = (n: number): number => {
    const at = dOf(n)
    if ('short' in at) return 1e6 + at.short
    return wanted === undefined ? lossOf(n, at.d) : Math.log(totalFlops(n, at.d))
  }
  const high = largestN(problem, bits)
  if (problem.n !== undefined ? problem.n > high * (1 + 1e-9) : high < N_RANGE[0]) return undefined
  const n = problem.n ?? Math.exp(minimize(x => value(Math.exp(x)), Math.log(N_RANGE[0]), Math.log(high), effort).x)
  const at = dOf(n)
  if ('short' in at) return undefined
  const { d } = at
  const loss = lossOf(n, d)
  return Number.isFinite(loss)
    ? { n, d, ...bits, loss, flops: totalFlops(n, d), trainingFlops: trainingFlops(n, d) * factor }
    : undefined
}

/** The D up to `most` of least loss: `most` itself, unless quantization after training makes more data harmful. */
function bestD(
  law: Law,
  parameters: Parameters,
  problem: TrainProblem,
  n: number,
  most: number,
  bits: TrainingBits,
): number {
  if (problem.postBits === undefined) return most
  // Laws of the damage know where more data turns harmful, and it depends on D only through repetition.
  if (!problem.data?.repeat) {
    const { dCrit, loss: known } = law.predict(parameters, rowOf(problem, n, most, bits))
    if (known !== null && dCrit !== null && dCrit > 0) return Math.min(most, Math.max(D_RANGE[0], dCrit))
  }
  const loss = (d: number) => lossAt(law, parameters, problem, n, d, bits)
  if (loss(most) <= loss(most * 0.999)) return most
  return Math.exp(
    minimize(x => loss(Math.exp(x)), Math.log(D_RANGE[0]), Math.log(most), { steps: 40, tolerance: 1e-6 }).x,
  )
}

/** One number of bits for all parts. */
export const tied = (bits: number): TrainingBits => ({ pw: bits, pa: bits, pkv: bits })

/** What makes one plan better than another: its loss, or its cost where a loss is wanted. */
const meritOf = (problem: TrainProblem, plan: TrainPlan | undefined): number =>
  plan === undefined ? Number.POSITIVE_INFINITY : problem.loss === undefined ? plan.loss : plan.flops

/** Bits of the best plan: from a list, one number for all parts, or each part by itself. */
function bestBits(
  law: Law,
  parameters: Parameters,
  problem: TrainProblem,
  { bits = tied(16) }: TrainProblem,
  tolerance: number,
): TrainingBits {
  const merit = (at: TrainingBits) => meritOf(problem, planAt(law, parameters, problem, at, ROUGH))
  if (isList(bits)) return bits.reduce((a, b) => (merit(b) < merit(a) ? b : a))
  const along = ({ low, high }: Bounds, at: (p: number) => TrainingBits) =>
    minimize(p => merit(at(p)), low, high, { steps: Math.max(4, Math.ceil(high - low)), tolerance }).x
  if ('low' in bits) return tied(along(bits, tied))
  if (!isParts(bits)) return bits
  // One part after another, until none moves: the parts meet only in what they cost.
  let best: TrainingBits = { pw: bits.pw.high, pa: bits.pa.high, pkv: bits.pkv.high }
  for (let round = 0; round < 12; round++) {
    const before = best
    for (const part of ['pw', 'pa', 'pkv'] as const)
      best = { ...best, [part]: along(bits[part], p => ({ ...best, [part]: p })) }
    if (PARTS.every(part => Math.abs(best[part] - before[part]) < 0.01)) break
  }
  return best
}

const PARTS = ['pw', 'pa', 'pkv'] as const
const isList = (bits: object): bits is readonly TrainingBits[] => Array.isArray(bits)
const isParts = (bits: object): bits is Record<'pw' | 'pa' | 'pkv', Bounds> =>
  typeof (bits as Record<string, unknown>)['pw'] === 'object'

/** The best plan, by one law; every constraint that it touches is named. `tolerance` is the share of the range of bits that the search ends at; a rough one is right to about 1e-3 of N and 1e-6 of the loss. */
export function planTraining(
  law: Law,
  parameters: Parameters,
  problem: TrainProblem,
  { tolerance = 1e-4, rough = false } = {},
): TrainSolution {
  const plan = planAt(
    law,
    parameters,
    problem,
    bestBits(law, parameters, problem, problem, tolerance),
    rough ? ROUGH : FINE,
  )
  if (plan) return { plan, binding: bindingOf(problem, plan) }
  return { infeasible: rough ? 'no plan fits' : explainInfeasible(law, parameters, problem) }
}

const near = (a: number, b: number) => Math.abs(a / b - 1) < 1e-3

/** Names of the constraints that a plan touches. */
export function bindingOf(problem: TrainProblem, plan: TrainPlan): string[] {
  const binding: string[] = []
  if (problem.compute !== undefined && near(plan.flops, problem.compute)) binding.push('compute')
  if (problem.loss !== undefined) binding.push('loss')
  if (problem.data && !problem.data.repeat && near(plan.d, problem.data.tokens)) binding.push('data')
  if (problem.servingMemory !== undefined && near(servingBytesOf(problem, plan.n, plan), problem.servingMemory))
    binding.push('serving memory')
  if (problem.trainingMemory !== undefined && near(trainingBytesOf(problem, plan.n, plan), problem.trainingMemory))
    binding.push('training memory')
  if (problem.n !== undefined) binding.push('n')
  if (problem.d !== undefined) binding.push('d')
  return binding
}

/** Bits to try when asking what would be enough. */
function candidateBits({ bits = tied(16) }: TrainProblem): readonly TrainingBits[] {
  if (isList(bits)) return bits
  const bounds = 'low' in bits ? bits : isParts(bits) ? bits.pw : null
  if (bounds === null) return [bits as TrainingBits]
  const list: TrainingBits[] = []
  for (let p = bounds.low; p <= bounds.high; p += 0.5) {
    const part = (name: 'pa' | 'pkv') => (isParts(bits) ? Math.min(bits[name].high, Math.max(bits[name].low, p)) : p)
    list.push({ pw: p, pa: part('pa'), pkv: part('pkv') })
  }
  return list
}

/** Which constraint to relax, and by how much: each is dropped in turn and the least that is then needed is named. */
function explainInfeasible(law: Law, parameters: Parameters, problem: TrainProblem): string {
  const reasons: string[] = []
  const least = (relaxed: TrainProblem, measure: (plan: TrainPlan) => number): number => {
    let best = Number.POSITIVE_INFINITY
    for (const bits of candidateBits(problem)) {
      const plan = planAt(law, parameters, relaxed, bits)
      if (plan) best = Math.min(best, measure(plan))
    }
    return best
  }
  const factor = (needed: number, given: number) =>
    `${Number((needed / given).toPrecision(3))} times the ${given.toPrecision(3)} given`
  if (problem.compute !== undefined) {
    const fixed = problem.n !== undefined && problem.d !== undefined
    const relaxed = {
      ...problem,
      compute: undefined,
      ...(problem.loss === undefined && !fixed ? { d: problem.d ?? D_RANGE[0], n: problem.n ?? N_RANGE[0] } : {}),
    }
    const needed = least(relaxed, plan => plan.flops)
    if (Number.isFinite(needed))
      reasons.push(`compute: ${needed.toPrecision(3)} FLOP would do, ${factor(needed, problem.compute)}`)
  }
  for (const key of ['servingMemory', 'trainingMemory'] as const) {
    const given = problem[key]
    if (given === undefined) continue
    const needed = least({ ...problem, [key]: undefined }, plan =>
      (key === 'servingMemory' ? servingBytesOf : trainingBytesOf)(problem, plan.n, plan),
    )
    if (Number.isFinite(needed))
      reasons.push(
        `${key === 'servingMemory' ? 'serving' : 'training'} memory: ${needed.toPrecision(3)} bytes would do, ${factor(needed, given)}`,
      )
  }
  if (problem.data && !problem.data.repeat) {
    const needed = least({ ...problem, data: undefined }, plan => plan.d)
    if (Number.isFinite(needed))
      reasons.push(`data: ${needed.toPrecision(3)} tokens would do, ${factor(needed, problem.data.tokens)}`)
  }
  if (problem.loss !== undefined) {
    let best = Number.POSITIVE_INFINITY
    for (const bits of candidateBits(problem))
      best = Math.min(best, planAt(law, parameters, { ...problem, loss: undefined }, bits)?.loss ?? best)
    if (Number.isFinite(best)) reasons.push(`loss: ${best.toPrecision(5)} can be reached instead of ${problem.loss}`)
  }
  return `no plan fits${reasons.length > 0 ? `; relax one of: ${reasons.join('; ')}` : ', and no single constraint that is dropped makes one fit'}`
}
