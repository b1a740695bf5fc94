// The minimiser: damped Newton steps with exact Hessians and bounds. Laws have few parameters and cheap exact second
// derivatives, so this takes a tenth of the evaluations of L-BFGS and ends at the minimum, not near it. Far from the
// minimum, where Huber's loss is almost straight and its Hessian says little, the curvature of reweighted least squares
// steers instead.
import { createEvaluation, type Evaluation } from './derivatives.ts'
import { cholesky, solveCholesky } from './linear.ts'
import { evaluateAt, type Problem } from './problem.ts'

/** Where a descent ended. */
export interface Minimum {
  phi: Float64Array
  value: number
  /** The next Newton step would gain less than 1e-13 of the value. */
  converged: boolean
  evaluations: number
  /** Curvature scale of each coordinate, for a later descent near by. */
  scale: Float64Array
}

/** Settings of one descent. */
export interface DescentOptions {
  maxEvaluations?: number
  /** `far`: begin with reweighted curvature; `near`: begin with exact curvature and this scale. */
  scale?: Float64Array
}

const TOLERANCE = 1e-13
/** Square of the rounding error of a logarithm: an objective of this much a row is zero. */
export const ROUNDING = 1e-27

/** Descends from phi (not changed). */
export function minimise(
  problem: Problem,
  start: Float64Array,
  { maxEvaluations = 400, scale: near }: DescentOptions = {},
): Minimum {
  const n = start.length
  const { low, high } = problem
  let phi = Float64Array.from(start, (v, i) => Math.min(Math.max(v, low[i]), high[i]))
  let at = createEvaluation(n)
  let trial = createEvaluation(n)
  let next = new Float64Array(n)
  const step = new Float64Array(n)
  const room = { system: new Float64Array(n * n), right: new Float64Array(n), live: new Int32Array(n) }
  const scale = new Float64Array(n)
  let exact = near !== undefined
  let damping = exact ? 1e-8 : 1e-3
  let growth = 2
  evaluateAt(problem, phi, exact ? 'exact' : 'reweighted', at)
  let evaluations = 1
  if (near) scale.set(near)
  else measureScale(at, n, scale)
  if (!Number.isFinite(at.value)) return { phi, value: at.value, converged: false, evaluations, scale }
  const zero = ROUNDING * problem.bound.data.count
  let converged = false
  while (evaluations < maxEvaluations) {
    const solved = boundedStep(phi, at, low, high, scale, damping, step, room)
    if (!solved) {
      damping = Math.max(damping * 8, 1e-9)
      if (damping > 1e16) break
      continue
    }
    let size = 0
    for (let i = 0; i < n; i++) {
      next[i] = Math.min(Math.max(phi[i] + step[i], low[i]), high[i])
      step[i] = next[i] - phi[i]
      size = Math.max(size, Math.abs(step[i]) / (1 + Math.abs(phi[i])))
    }
    let gain = 0
    for (let i = 0; i < n; i++) {
      let bend = 0
      for (let j = 0; j < n; j++) bend += at.curvature[i * n + j] * step[j]
      gain -= step[i] * (at.gradient[i] + bend / 2)
    }
    if (exact && (gain <= TOLERANCE * at.value + zero || size < 1e-15) && damping < 1e-2) {
      converged = true
      break
    }
    evaluateAt(problem, next, exact ? 'exact' : 'reweighted', trial)
    evaluations++
    const drop = at.value - trial.value
    if (drop > 0 && gain > 0 && drop > 1e-4 * gain) {
      const before = at.value
      ;[phi, next] = [next, phi]
      ;[at, trial] = [trial, at]
      const ratio = drop / gain
      damping = Math.max(damping * Math.max(1 / 9, 1 - (2 * ratio - 1) ** 3), 1e-16)
      growth = 2
      if (!exact) measureScale(at, n, scale)
      if (!exact && drop < 0.02 * before) {
        exact = true
        evaluateAt(problem, phi, 'exact', at)
        evaluations++
      }
    } else {
      if (!exact) {
        exact = true
        evaluateAt(problem, phi, 'exact', at)
        evaluations++
      }
      if (size < 1e-14) {
        converged = gain <= 1e-9 * at.value + zero
        break
      }
      damping = Math.max(damping, 1e-10) * growth
      growth *= 2
      if (damping > 1e20) break
    }
  }
  return { phi, value: at.value, converged, evaluations, scale }
}

/** Diagonal of the reweighted curvature, kept positive. */
function measureScale(at: Evaluation, n: number, scale: Float64Array): void {
  let top = 0
  for (let i = 0; i < n; i++) top = Math.max(top, at.curvature[i * n + i])
  for (let i = 0; i < n; i++) scale[i] = Math.max(at.curvature[i * n + i], top * 1e-12, 1e-300)
}

/**
 * The damped Newton step inside the bounds: coordinates that the step would carry over a bound are put on it and the
 * rest solved again, until none is left over. False where the damped curvature is not positive definite.
 */
function boundedStep(
  phi: Float64Array,
  { gradient, curvature }: Evaluation,
  low: Float64Array,
  high: Float64Array,
  scale: Float64Array,
  damping: number,
  step: Float64Array,
  { system, right, live }: { system: Float64Array; right: Float64Array; live: Int32Array },
): boolean {
  const n = phi.length
  step.fill(0)
  let m = 0
  for (let i = 0; i < n; i++) {
    const stuck = (phi[i] <= low[i] && gradient[i] > 0) || (phi[i] >= high[i] && gradient[i] < 0)
    if (!stuck) live[m++] = i
  }
  while (m > 0) {
    for (let i = 0; i < m; i++) {
      const row = live[i] * n
      let g = gradient[live[i]]
      for (let j = 0; j < n; j++) g += curvature[row + j] * step[j]
      right[i] = -g
      for (let j = 0; j < m; j++) system[i * m + j] = curvature[row + live[j]]
      system[i * m + i] += damping * scale[live[i]]
    }
    if (!cholesky(system, m)) return false
    solveCholesky(system, m, right)
    let kept = 0
    for (let i = 0; i < m; i++) {
      const k = live[i]
      const to = phi[k] + right[i]
      if (to < low[k]) step[k] = low[k] - phi[k]
      else if (to > high[k]) step[k] = high[k] - phi[k]
      else live[kept++] = k
    }
    if (kept === m) {
      for (let i = 0; i < m; i++) step[live[i]] = right[i]
      return true
    }
    m = kept
  }
  return true
}
