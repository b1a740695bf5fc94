// Bootstrap: whole clusters (runs, or single rows) are drawn with replacement and the law is fitted again from the best
// fit. A resample is a count for each row, so rows that were not drawn cost nothing.
import { reweigh } from './core.ts'
import { type Minimum, minimise } from './minimise.ts'
import { type Problem, thetaAt, withBound } from './problem.ts'
import { createRandom } from './random.ts'

/** theta of each resample (fitter's scale), and how many did not converge. */
export interface Resamples {
  thetas: readonly Float64Array[]
  failed: number
}

/** Fits `count` resamples of clusters; weights of the problem's own rows are multiplied by the draws. */
export function bootstrap(
  problem: Problem,
  best: Minimum,
  clusters: ArrayLike<number>,
  clusterCount: number,
  count: number,
  seed = 1,
): Resamples {
  const random = createRandom(seed)
  const { data } = problem.bound
  const own = new Float64Array(data.count)
  for (let i = 0; i < data.count; i++) own[data.order[i]] = data.weight[i]
  const draws = new Float64Array(clusterCount)
  const weight = new Float64Array(data.count)
  const thetas: Float64Array[] = []
  let failed = 0
  for (let b = 0; b < count; b++) {
    draws.fill(0)
    for (let i = 0; i < clusterCount; i++) draws[Math.floor(random() * clusterCount)]++
    for (let i = 0; i < weight.length; i++) weight[i] = own[i] * draws[clusters[i]]
    const resampled = withBound(problem, reweigh(problem.bound, weight))
    let found = minimise(resampled, best.phi, { scale: best.scale, maxEvaluations: 100 })
    if (!found.converged) found = minimise(resampled, best.phi, { maxEvaluations: 400 })
    if (!found.converged) failed++
    if (Number.isFinite(found.value)) thetas.push(thetaAt(problem, found.phi))
  }
  return { thetas, failed }
}

/** Value below which a share q of sorted numbers lies, linear between them. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN
  const at = q * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low] + (at - low) * (sorted[high] - sorted[low])
}
