// Every combination of N, D and bits at once: a million losses in tens of milliseconds, because laws of the common
// family are sums of powers whose factors are tables over one axis each; then the frontier of loss, compute and memory.
import { bind, coefficientsAt, jetsAt, slotsAt } from '../laws/core.ts'
import { costFactor, type TrainingBits } from './cost.ts'
import type { LawFit } from './fits.ts'
import { frontierOf } from './frontier.ts'
import { menuOf } from './menu.ts'
import {
  effectiveData,
  lossAt,
  servedFlops,
  servingBytesOf,
  type TrainProblem,
  tied,
  trainingBytesOf,
} from './train.ts'

/** The axes of a grid. */
export interface TrainGrid {
  n: ArrayLike<number>
  d: ArrayLike<number>
  bits: readonly TrainingBits[]
}

/** Losses of a grid, (bits, N, D); NaN where the law says nothing. */
export function gridLosses(fit: LawFit, problem: TrainProblem, grid: TrainGrid): Float64Array {
  const quick = tabled(fit, problem, grid)
  if (quick && agrees(fit, problem, grid, quick)) return quick
  const losses = new Float64Array(grid.bits.length * grid.n.length * grid.d.length)
  let at = 0
  for (const bits of grid.bits)
    for (let i = 0; i < grid.n.length; i++)
      for (let j = 0; j < grid.d.length; j++)
        losses[at++] = lossAt(fit.law, fit.parameters, problem, grid.n[i], grid.d[j], bits)
  return losses
}

/** Losses by tables, or null where the law is not of the family. */
function tabled({ law, parameters }: LawFit, problem: TrainProblem, { n, d, bits }: TrainGrid): Float64Array | null {
  const rows = bits.map(one => ({
    N: 1,
    D: 1,
    P_w: one.pw,
    P_a: one.pa,
    P_kv: one.pkv,
    P_post: problem.postBits ?? null,
    ...one.columns,
  }))
  const names = [...law.parameters, ...(law.parametersFor?.(rows) ?? [])]
  if (law.core.a === undefined || names.some(({ name }) => parameters[name] === undefined)) return null
  const bound = bind(law.core, names, rows, new Float64Array(rows.length))
  const theta = Float64Array.from(names, ({ name, transform }) => {
    // Only the product C_T e^b is in the family.
    const value = parameters[name] * (name === 'C_T' ? Math.exp(parameters['b'] ?? 0) : 1)
    return transform === 'log' ? Math.log(value) : value
  })
  const jets = jetsAt(bound, theta)
  const q = slotsAt(bound, theta)
  const k = new Float64Array(9)
  const sum = (list: readonly number[]) => list.reduce((total, use) => total + jets[use].v, 0)
  const lnN = Float64Array.from(n, Math.log)
  const unique = problem.data?.repeat ? problem.data.tokens : null
  const lnD = Float64Array.from(d, tokens => Math.log(unique === null ? tokens : effectiveData(tokens, unique)))
  const losses = new Float64Array(rows.length * lnN.length * lnD.length)
  for (const setting of bound.data.settings) {
    coefficientsAt(bound, q, sum(setting.F), sum(setting.G), sum(setting.H), k)
    const [k0, k1, k2, k3, k4, k5, k6, k7, k8] = k
    const ofD = lnD.map(y => Math.exp(k2 + k3 * y))
    const postOfD = lnD.map(y => (setting.post ? Math.exp(k6 * y) : 0))
    for (let row = setting.first; row < setting.end; row++) {
      let at = bound.data.order[row] * lnN.length * lnD.length
      for (const x of lnN) {
        const ofN = Math.exp(k0 + k1 * x)
        const post = setting.post ? Math.exp(k4 + k5 * x) : 0
        for (let j = 0; j < lnD.length; j++) {
          const inner = ofN + ofD[j]
          losses[at++] = (k8 === 1 ? inner : inner ** k8) + k7 + post * postOfD[j]
        }
      }
    }
  }
  return losses
}

/** Whether tabled losses equal the law's own words at the corners and in the middle of every width. */
function agrees(
  { law, parameters }: LawFit,
  problem: TrainProblem,
  { n, d, bits }: TrainGrid,
  losses: Float64Array,
): boolean {
  const places = (length: number) => [0, length >> 1, length - 1]
  return bits.every((one, b) =>
    places(n.length).every(i =>
      places(d.length).every(j => {
        const own = lossAt(law, parameters, problem, n[i], d[j], one)
        const quick = losses[(b * n.length + i) * d.length + j]
        return Number.isFinite(own) ? Math.abs(quick / own - 1) < 1e-9 : !Number.isFinite(quick)
      }),
    ),
  )
}

/** 100 sizes and 200 amounts of data within the problem's limits, at every half bit or every choice that the law knows. */
export function usualGrid(fit: LawFit, problem: TrainProblem): TrainGrid {
  const along = (low: number, high: number, count: number) =>
    Float64Array.from({ length: count }, (_, i) => low * (high / low) ** (i / (count - 1)))
  const { bits } = problem
  const bounds = bits && 'low' in bits ? bits : { low: 3, high: 16 }
  const halves = Array.from({ length: Math.floor((bounds.high - bounds.low) * 2) + 1 }, (_, i) =>
    tied(bounds.low + i / 2),
  )
  return {
    n: problem.n !== undefined ? [problem.n] : along(1e6, 1e13, 100),
    d: problem.d !== undefined ? [problem.d] : along(1e7, problem.data?.tokens ?? 1e15, 200),
    bits: menuOf(fit) ?? halves,
  }
}

/** One plan of a frontier. */
export interface FrontierPoint extends TrainingBits {
  n: number
  d: number
  flops: number
  /** To hold the weights when serving. */
  bytes: number
  loss: number
}

/** Plans of a grid that no other beats in compute, bytes to serve and loss at once; those outside the problem's limits left out. */
export function trainFrontier(fit: LawFit, problem: TrainProblem, grid: TrainGrid): FrontierPoint[] {
  const { n, d, bits } = grid
  const losses = gridLosses(fit, problem, grid)
  const flops = new Float64Array(losses.length)
  const bytes = new Float64Array(losses.length)
  const { compute, servingMemory, trainingMemory, data, loss: wanted } = problem
  const most = (limit: number | undefined) => limit ?? Number.POSITIVE_INFINITY
  const [budget, worst, dMost] = [most(compute), most(wanted), data && !data.repeat ? data.tokens : most(undefined)]
  const sizes = Float64Array.from(n)
  const tokens = Float64Array.from(d)
  let at = 0
  for (const one of bits) {
    const factor = costFactor(one, problem.cost)
    for (const size of sizes) {
      const serving = servingBytesOf(problem, size, one)
      const life = servedFlops(problem, size, one)
      const fits = serving <= most(servingMemory) && trainingBytesOf(problem, size, one) <= most(trainingMemory)
      const each = 6 * size * factor
      for (let j = 0; j < tokens.length; j++, at++) {
        flops[at] = each * tokens[j] + life
        bytes[at] = serving
        if (!fits || tokens[j] > dMost || flops[at] > budget || losses[at] > worst) losses[at] = Number.NaN
      }
    }
  }
  const marks = frontierOf(flops, bytes, losses)
  const points: FrontierPoint[] = []
  for (let i = 0; i < marks.length; i++)
    if (marks[i] === 1) {
      const b = Math.floor(i / (n.length * d.length))
      const rest = i - b * n.length * d.length
      const row = Math.floor(rest / d.length)
      const { pw, pa, pkv, label } = bits[b]
      points.push({
        pw,
        pa,
        pkv,
        ...(label !== undefined && { label }),
        n: n[row],
        d: d[rest - row * d.length],
        flops: flops[i],
        bytes: bytes[i],
        loss: losses[i],
      })
    }
  return points
}
