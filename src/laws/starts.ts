// Where descents begin. Exponents, factors and outer powers are drawn at random; the prefactors and E that suit them
// best are then solved for (variable projection), so that a start is already a fair fit. All starts take a few steps,
// the better ones more, the best run to convergence.
import { coefficientsAt, jetsAt, slotsAt } from './core.ts'
import { cholesky, solveCholesky } from './linear.ts'
import { type Minimum, minimise, ROUNDING } from './minimise.ts'
import { type Problem, phiAt, thetaAt } from './problem.ts'
import { createRandom } from './random.ts'

/** Non-negative least squares by dropping the most negative unknown; `normal` is (m, m) and `right` (m). */
function solvePositive(normal: Float64Array, right: Float64Array, m: number): Float64Array {
  const out = new Float64Array(m)
  let live = Array.from({ length: m }, (_, i) => i).filter(i => normal[i * m + i] > 0)
  while (live.length > 0) {
    const size = live.length
    const a = new Float64Array(size * size)
    const b = Float64Array.from(live, i => right[i])
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) a[i * size + j] = normal[live[i] * m + live[j]] * (i === j ? 1 + 1e-12 : 1)
    if (!cholesky(a, size)) return out
    solveCholesky(a, size, b)
    const worst = b.indexOf(Math.min(...b))
    if (b[worst] >= 0) {
      live.forEach((i, j) => {
        out[i] = b[j]
      })
      return out
    }
    live = live.filter((_, j) => j !== worst)
  }
  return out
}

/** Sets the free prefactors and E in phi to what suits the rest; false where the law is not defined there. */
export function project(problem: Problem, phi: Float64Array): boolean {
  const { bound, prefactors, free } = problem
  const { data, core } = bound
  const atE = core.E ? free.indexOf(core.E.terms[0][0]) : -1
  const outer = core.gamma !== undefined
  for (const at of prefactors) if (at >= 0) phi[at] = 0
  const theta = thetaAt(problem, phi)
  const jets = jetsAt(bound, theta)
  const q = slotsAt(bound, theta)
  const k = new Float64Array(9)
  const sum = (list: readonly number[]) => list.reduce((s, u) => s + jets[u].v, 0)
  const normal = new Float64Array(16)
  const right = new Float64Array(4)
  const column = new Float64Array(4)
  const loss = core.a !== undefined
  let meanLog = 0
  let totalWeight = 0
  for (const setting of data.settings) {
    coefficientsAt(bound, q, sum(setting.F), sum(setting.G), sum(setting.H), k)
    for (let i = setting.first; i < setting.end; i++) {
      const w = data.weight[i]
      if (w === 0) continue
      const tail = setting.post ? k[4] + k[5] * data.x[i] + k[6] * data.y[i] : 0
      totalWeight += w
      if (!loss) {
        meanLog += w * (data.logTarget[i] - tail)
        continue
      }
      column[0] = Math.exp(k[0] + k[1] * data.x[i])
      column[1] = Math.exp(k[2] + k[3] * data.y[i])
      column[2] = atE >= 0 && !outer ? 1 : 0
      column[3] = setting.post && !outer ? Math.exp(tail) : 0
      const target = data.target[i]
      const rest = target - (column[2] === 1 ? 0 : k[7])
      if (!(rest > 0)) continue
      const wanted = outer ? rest ** (1 / k[8]) : rest
      const relative = outer ? (k[8] * rest) / (target * wanted) : 1 / target
      const weight = w * relative * relative
      for (let a = 0; a < 4; a++) {
        right[a] += weight * column[a] * wanted
        for (let b = 0; b < 4; b++) normal[a * 4 + b] += weight * column[a] * column[b]
      }
    }
  }
  if (!loss) {
    if (prefactors[2] >= 0) phi[prefactors[2]] = meanLog / totalWeight
    return Number.isFinite(meanLog)
  }
  for (const v of right) if (!Number.isFinite(v)) return false
  const solved = solvePositive(normal, right, 4)
  const columns = [0, 1, 3]
  for (let j = 0; j < 3; j++) {
    if (prefactors[j] < 0) continue
    const c = columns[j]
    const least = (1e-3 * right[c]) / (normal[c * 4 + c] || 1)
    phi[prefactors[j]] = Math.log(Math.max(solved[c], least, 1e-200))
  }
  if (atE >= 0 && !outer) phi[atE] = Math.min(Math.max(solved[2], problem.low[atE]), problem.high[atE])
  return true
}

/** One random start, or undefined where no draw of twenty lies in the law's domain. */
function drawStart(problem: Problem, random: () => number): Float64Array | undefined {
  const { bound, free } = problem
  const least = bound.data.target.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const floor = bound.core.gamma !== undefined ? bound.core.E?.terms[0][0] : undefined
  for (let attempt = 0; attempt < 20; attempt++) {
    const phi = new Float64Array(free.length)
    free.forEach((name, i) => {
      const parameter = bound.parameters.find(p => p.name === name)
      if (!parameter) return
      const [a, b] = parameter.start
      const u = random()
      if (name === floor) phi[i] = u * 0.95 * least
      else if (parameter.transform === 'log') phi[i] = Math.log(a) + u * (Math.log(b) - Math.log(a))
      else phi[i] = a > 0 ? a * (b / a) ** u : a + u * (b - a)
      phi[i] = Math.min(Math.max(phi[i], problem.low[i]), problem.high[i])
    })
    if (project(problem, phi)) return phi
  }
  return undefined
}

/** The best of many descents, and how sure that is. */
export interface Search {
  best: Minimum
  /** Starts drawn, descents finished, and of those how many ended within 1e-6 of the best. */
  starts: number
  finished: number
  agreed: number
  evaluations: number
}

/** Options of a search. */
export interface SearchOptions {
  starts?: number
  seed?: number
  /** Further starts, tried to the end: free coordinates. */
  from?: readonly Float64Array[]
  /** The same, all parameters on the fitter's scale. */
  fromTheta?: readonly Float64Array[]
}

/** Minimises from many starts by successive halving. */
export function search(
  problem: Problem,
  { starts = 200, seed = 0, from = [], fromTheta = [] }: SearchOptions = {},
): Search {
  const random = createRandom(seed)
  const drawn: Float64Array[] = []
  for (let i = 0; i < starts; i++) {
    const phi = drawStart(problem, random)
    if (phi) drawn.push(phi)
  }
  return halve(problem, drawn, [...from, ...fromTheta.map(theta => phiAt(problem, theta))])
}

/** Gives every start a few steps, the better eighth (at least 32) more, and the best twelve to twenty-four all they need. */
export function halve(problem: Problem, starts: readonly Float64Array[], from: readonly Float64Array[] = []): Search {
  let evaluations = 0
  const run = (list: readonly Float64Array[], maxEvaluations: number): Minimum[] => {
    const out = list.map(phi => minimise(problem, phi, { maxEvaluations }))
    for (const { evaluations: used } of out) evaluations += used
    return out.filter(m => Number.isFinite(m.value)).sort((a, b) => a.value - b.value)
  }
  const phis = (list: readonly Minimum[], count: number) => list.slice(0, count).map(m => m.phi)
  const first = run(starts, 5)
  const second = run(phis(first, Math.max(32, Math.ceil(starts.length / 8))), 12)
  const last = phis(second, Math.min(24, Math.max(12, Math.ceil(starts.length / 12))))
  const finished = run([...last, ...from], 600)
  const best = finished[0]
  if (best === undefined) {
    const phi = starts[0] ?? from[0] ?? new Float64Array(problem.free.length)
    return {
      best: {
        phi,
        value: Number.POSITIVE_INFINITY,
        converged: false,
        evaluations,
        scale: new Float64Array(phi.length),
      },
      starts: starts.length,
      finished: 0,
      agreed: 0,
      evaluations,
    }
  }
  const agreed = finished.filter(m => m.value <= best.value * (1 + 1e-6) + ROUNDING * problem.bound.data.count).length
  return { best, starts: starts.length + from.length, finished: finished.length, agreed, evaluations }
}
