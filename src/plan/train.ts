// The training plan: N, D and bits that reach the least loss under compute, memory and data, or the cheapest plan that
// reaches a wanted loss, by one law with one set of constants. Pure; region.ts sets several laws side by side.
import type { Law, Parameters } from '../laws/law.ts'
import { trainingBytes } from './bytes.ts'
import { type CostModel, costFactor, inferenceFlops, type TrainingBits, trainingFlops } from './cost.ts'
import { minimize, solveDecreasing } from './search.ts'

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
  /** Bits per parameter served; the training weights' where absent. */
  servingBits?: number
  /** P_post for the law: the model is quantized after training to so many bits. */
  postBits?: number
  /** Tokens read and written over the model's life (Sardana et al.). */
  inferenceTokens?: number
  /** Training bits: one number for all parts, or bounds to search, or a part held. */
  bits?: { low: number; high: number } | TrainingBits
  cost: CostModel
  /** Embedding parameters over non-embedding ones, for memory. */
  embeddingShare?: number
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

/** Loss of a law at a configuration of the problem; infinite where the law says nothing. */
export function lossAt(
  law: Law,
  parameters: Parameters,
  problem: TrainProblem,
  n: number,
  d: number,
  bits: TrainingBits,
): number {
  const tokens = problem.data?.repeat ? effectiveData(d, problem.data.tokens) : d
  const { loss } = law.predict(parameters, {
    N: n,
    D: tokens,
    P_w: bits.pw,
    P_a: bits.pa,
    P_kv: bits.pkv,
    P_post: problem.postBits ?? null,
  })
  return loss !== null && Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY
}

/** FLOPs of inference over the model's life; reading weights of k bits is counted as k/16 of the 16-bit work. */
function lifetimeFlops(problem: TrainProblem, n: number, bits: TrainingBits): number {
  if (!problem.inferenceTokens) return 0
  return (inferenceFlops(n, problem.inferenceTokens) * (problem.servingBits ?? problem.postBits ?? bits.pw)) / 16
}

/** Largest N that memory allows at these bits. */
function largestN(problem: TrainProblem, bits: TrainingBits): number {
  const share = 1 + (problem.embeddingShare ?? 0)
  const serving =
    problem.servingMemory === undefined
      ? N_RANGE[1]
      : (problem.servingMemory * 8) / (problem.servingBits ?? problem.postBits ?? bits.pw) / share
  const training =
    problem.trainingMemory === undefined ? N_RANGE[1] : problem.trainingMemory / trainingBytes(1, bits.pw) / share
  return Math.min(N_RANGE[1], serving, training)
}

/** Largest D that data allows. */
function largestD(problem: TrainProblem): number {
  return problem.data && !problem.data.repeat ? problem.data.tokens : D_RANGE[1]
}

/** The best plan at given bits: N is searched, D follows from the budget or the wanted loss. */
function planAt(law: Law, parameters: Parameters, problem: TrainProblem, bits: TrainingBits): TrainPlan | undefined {
  const factor = costFactor(bits, problem.cost)
  const dMax = largestD(problem)
  const budget = problem.compute ?? Number.POSITIVE_INFINITY
  const dOf = (n: number): number | undefined => {
    const left = budget - lifetimeFlops(problem, n, bits)
    const affordable = left / (6 * n * factor)
    if (problem.d !== undefined)
      return problem.d <= affordable * (1 + 1e-9) && problem.d <= dMax ? problem.d : undefined
    const most = Math.min(affordable, dMax)
    if (!(most >= D_RANGE[0])) return undefined
    if (problem.loss === undefined) return bestD(law, parameters, problem, n, most, bits)
    // With PTQ, loss falls with D up to the best D only.
    const turn = bestD(law, parameters, problem, n, most, bits)
    const found = solveDecreasing(
      x => lossAt(law, parameters, problem, n, Math.exp(x), bits),
      problem.loss,
      Math.log(D_RANGE[0]),
      Math.log(turn),
    )
    return found === undefined ? undefined : Math.exp(found)
  }
  const totalFlops = (n: number, d: number) => trainingFlops(n, d) * factor + lifetimeFlops(problem, n, bits)
  const value = (n: number): number => {
    const d = dOf(n)
    if (d === undefined) return Number.POSITIVE_INFINITY
    if (problem.loss === undefined) return lossAt(law, parameters, problem, n, d, bits)
    if (problem.d !== undefined && lossAt(law, parameters, problem, n, d, bits) > problem.loss)
      return Number.POSITIVE_INFINITY
    return totalFlops(n, d)
  }
  const high = largestN(problem, bits)
  const n =
    problem.n ??
    Math.exp(minimize(x => value(Math.exp(x)), Math.log(N_RANGE[0]), Math.log(high), { steps: 60, tolerance: 1e-7 }).x)
  if (n > high * (1 + 1e-9)) return undefined
  const d = dOf(n)
  if (d === undefined || !Number.isFinite(value(n))) return undefined
  const training = trainingFlops(n, d) * factor
  return {
    n,
    d,
    ...bits,
    loss: lossAt(law, parameters, problem, n, d, bits),
    flops: totalFlops(n, d),
    trainingFlops: training,
  }
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
  const loss = (d: number) => lossAt(law, parameters, problem, n, d, bits)
  if (loss(most) <= loss(most * 0.999)) return most
  return Math.exp(
    minimize(x => loss(Math.exp(x)), Math.log(D_RANGE[0]), Math.log(most), { steps: 40, tolerance: 1e-6 }).x,
  )
}

/** One number of bits for all parts. */
export const tied = (bits: number): TrainingBits => ({ pw: bits, pa: bits, pkv: bits })

/** The best plan, by one law; every constraint that it touches is named. */
export function planTraining(law: Law, parameters: Parameters, problem: TrainProblem): TrainSolution {
  const { bits = tied(16) } = problem
  let plan: TrainPlan | undefined
  if ('low' in bits) {
    const merit = (p: number) => {
      const candidate = planAt(law, parameters, problem, tied(p))
      return candidate === undefined
        ? Number.POSITIVE_INFINITY
        : problem.loss === undefined
          ? candidate.loss
          : candidate.flops
    }
    const { x } = minimize(merit, bits.low, bits.high, {
      steps: Math.max(4, Math.ceil(bits.high - bits.low)),
      tolerance: 1e-4,
    })
    plan = planAt(law, parameters, problem, tied(x))
  } else plan = planAt(law, parameters, problem, bits)
  return plan
    ? { plan, binding: bindingOf(problem, plan) }
    : { infeasible: explainInfeasible(law, parameters, problem) }
}

const near = (a: number, b: number) => Math.abs(a / b - 1) < 1e-3

function bindingOf(problem: TrainProblem, plan: TrainPlan): string[] {
  const binding: string[] = []
  if (problem.compute !== undefined && near(plan.flops, problem.compute)) binding.push('compute')
  if (problem.loss !== undefined) binding.push('loss')
  if (problem.data && !problem.data.repeat && near(plan.d, problem.data.tokens)) binding.push('data')
  if (near(plan.n, largestN({ ...problem, trainingMemory: undefined }, plan)) && problem.servingMemory !== undefined)
    binding.push('serving memory')
  if (near(plan.n, largestN({ ...problem, servingMemory: undefined }, plan)) && problem.trainingMemory !== undefined)
    binding.push('training memory')
  if (problem.n !== undefined) binding.push('n')
  if (problem.d !== undefined) binding.push('d')
  return binding
}

/** Bits to try when asking what would be enough. */
function candidateBits({ bits = tied(16) }: TrainProblem): TrainingBits[] {
  if (!('low' in bits)) return [bits]
  const list: TrainingBits[] = []
  for (let p = bits.low; p <= bits.high; p += 0.5) list.push(tied(p))
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
    const perParameter = (plan: TrainPlan) =>
      (key === 'servingMemory' ? (problem.servingBits ?? problem.postBits ?? plan.pw) / 8 : trainingBytes(1, plan.pw)) *
      (1 + (problem.embeddingShare ?? 0))
    const needed = least({ ...problem, [key]: undefined }, plan => plan.n * perParameter(plan))
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
