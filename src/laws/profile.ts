// Profile likelihood: a parameter is moved away from its best value, all others are fitted again, and the range is
// where the objective has risen by no more than a tolerance.
import type { Bound, Objective } from './core.ts'
import { minimise } from './minimise.ts'
import { type Constraints, createProblem, naturalAt, type Problem, phiAt, thetaAt } from './problem.ts'
import { search } from './starts.ts'

/** Range of one parameter (natural units), whether an end is a bound, and all parameters at both ends. */
export interface Profile {
  low: number
  high: number
  atLow: Float64Array
  atHigh: Float64Array
}

/** How much the objective may rise: 1%, but at least 1e-6 (Huber) or 1.5e-5 (squares), about 0.002 nats of repeatability. */
export function toleranceOf(objective: Objective, best: number): number {
  return Math.max(0.01 * best, objective.kind === 'huber' ? 1e-6 : 1.5e-5)
}

/** The profile of a free parameter `name` around the best theta. */
export function profile(
  bound: Bound,
  objective: Objective,
  constraints: Constraints,
  name: string,
  best: Float64Array,
  bestValue: number,
  tolerance: number,
): Profile {
  const index = bound.parameters.findIndex(p => p.name === name)
  const { transform, bounds } = bound.parameters[index]
  const [least, most] = (constraints.bounds?.[name] ?? bounds).map(v => (transform === 'log' ? Math.log(v) : v))
  const natural = (theta: number) => (transform === 'log' ? Math.exp(theta) : theta)
  const held = (theta: number): Problem =>
    createProblem(bound, objective, { ...constraints, fix: { ...constraints.fix, [name]: natural(theta) } })
  const side = (direction: 1 | -1): Float64Array => {
    const end = direction > 0 ? most : least
    let inside = best
    let at = best[index]
    let rise = 0 // of the objective at `at`, in tolerances, as a square root: nearly linear in the parameter
    let outsideAt = Number.NaN
    let outsideRise = 0
    let step = Math.max(Math.abs(at) * 0.02, 0.005)
    let rescues = 0
    for (let tries = 0; tries < 80; tries++) {
      if ((end - at) * direction <= 1e-12 * Math.max(1, Math.abs(end))) return inside
      const known = Number.isFinite(outsideAt)
      const share = Math.min(Math.max((1 - rise) / (outsideRise - rise), 0.1), 0.9)
      let next = known ? at + (outsideAt - at) * share : at + direction * step
      if ((next - end) * direction > 0) next = end
      const problem = held(next)
      const settled = known && Math.abs(outsideAt - at) < 2e-3 * Math.max(Math.abs(at - best[index]), 1e-6)
      if (settled && rescues >= 3) return inside
      const start = inside.slice()
      start[index] = next
      // a descent from the last point may end on another ridge: before the range is closed, look once more from afar
      const found = settled
        ? search(problem, { starts: 8, seed: ++rescues }).best
        : minimise(problem, phiAt(problem, start), { maxEvaluations: 200 })
      const root = Math.sqrt(Math.max(0, found.value - bestValue) / tolerance)
      if (root <= 1) {
        inside = thetaAt(problem, found.phi)
        at = next
        rise = root
        if (settled) outsideAt = Number.NaN
        step = settled ? Math.abs(at - best[index]) * 0.1 : step * 2
      } else if (settled) return inside
      else {
        outsideAt = next
        outsideRise = Number.isFinite(root) ? root : 1e3
      }
    }
    return inside
  }
  const atLow = side(-1)
  const atHigh = side(1)
  return {
    low: naturalAt(bound.parameters, atLow)[name],
    high: naturalAt(bound.parameters, atHigh)[name],
    atLow,
    atHigh,
  }
}
