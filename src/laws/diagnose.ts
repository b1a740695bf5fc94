// What the data cannot tell: parameters that trade off, exponents at a bound, one D/N ratio only, rows far from the
// law. Each finding is a plain sentence; names of parameters that are not identified are listed apart.
import { type Bound, type Objective, predictions } from './core.ts'
import { createEvaluation } from './derivatives.ts'
import type { Law } from './law.ts'
import { eigen } from './linear.ts'
import type { Minimum } from './minimise.ts'
import { type Constraints, evaluateAt, type Problem, thetaAt } from './problem.ts'
import { type Profile, profile, toleranceOf } from './profile.ts'
import type { Prepared } from './rows.ts'

/** A row far from the law. */
export interface Outlier {
  line: number
  measured: number
  predicted: number
  /** ln measured − ln predicted, in robust standard deviations. */
  deviations: number
}

/** Findings about a fit. */
export interface Diagnosis {
  warnings: string[]
  /** Names of parameters. */
  unidentified: string[]
  /** Ranges over which the objective rises by at most the tolerance. */
  profiles: Record<string, [number, number]>
  /** Condition number of the curvature scaled to unit diagonal, and its flattest direction. */
  condition: number
  flatDirection: Record<string, number>
  outliers: Outlier[]
}

const print = (v: number) =>
  v === 0 ? '0' : Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5 ? v.toExponential(2) : Number(v.toPrecision(3)).toString()

/** Names of the parameters in a law's exponents and floor: what a reader takes a fit for. */
function shapeParameters(law: Law): string[] {
  const { alpha, beta, E } = law.core
  return [...new Set([alpha, beta, E].flatMap(spec => spec?.terms.map(([name]) => name) ?? []))]
}

/** Everything worth saying about a fit. */
export function diagnose(
  law: Law,
  prepared: Prepared,
  problem: Problem,
  best: Minimum,
  constraints: Constraints,
): Diagnosis {
  const warnings: string[] = []
  const { bound, objective, free } = problem
  const theta = thetaAt(problem, best.phi)
  const tolerance = toleranceOf(objective, best.value)
  const n = free.length
  const at = createEvaluation(n)
  evaluateAt(problem, best.phi, 'reweighted', at)
  const scaled = new Float64Array(n * n)
  const diagonal = Float64Array.from({ length: n }, (_, i) => Math.sqrt(Math.max(at.curvature[i * n + i], 1e-300)))
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) scaled[i * n + j] = at.curvature[i * n + j] / diagonal[i] / diagonal[j]
  const { values, vectors } = eigen(scaled, n)
  const condition = values[n - 1] / Math.max(values[0], values[n - 1] * 1e-16)
  const flatDirection = Object.fromEntries(
    free.map((name, i) => [name, Number(vectors[0][i].toFixed(2))] as const).filter(([, v]) => Math.abs(v) >= 0.3),
  )

  const shape = shapeParameters(law).filter(name => free.includes(name))
  const unidentified = new Set<string>()
  const profiles: Record<string, [number, number]> = {}
  const found = new Map<string, Profile>()
  const rise = objective.kind === 'huber' && tolerance > 0.0101 * best.value ? `${print(tolerance)}` : '1%'
  const look = (name: string): [number, number] => {
    const range = profile(bound, objective, constraints, name, theta, best.value, tolerance)
    found.set(name, range)
    profiles[name] = [range.low, range.high]
    return profiles[name]
  }
  const natural = (i: number) => (bound.parameters[i].transform === 'log' ? Math.exp(theta[i]) : theta[i])
  for (const name of shape) {
    const i = bound.parameters.findIndex(p => p.name === name)
    const value = natural(i)
    const [low, high] = look(name)
    const k = free.indexOf(name)
    const bounded =
      best.phi[k] <= problem.low[k] ? problem.low[k] : best.phi[k] >= problem.high[k] ? problem.high[k] : null
    if (bounded !== null) {
      unidentified.add(name)
      warnings.push(`${name} is at its bound ${print(bounded)}: the data would take it further`)
    }
    if (high - low > 0.2 * Math.abs(value)) unidentified.add(name)
  }
  // the others by the curvature, whose inverse gives how far each may go; checked by a profile where that is far
  const live = free.map((_, k) => k).filter(k => best.phi[k] > problem.low[k] && best.phi[k] < problem.high[k])
  for (const k of live) {
    const name = free[k]
    if (shape.includes(name)) continue
    let variance = 0
    values.forEach((value, e) => {
      variance += vectors[e][k] ** 2 / Math.max(value, values[n - 1] * 1e-15)
    })
    const reach = Math.sqrt(2 * tolerance * variance) / diagonal[k]
    const { transform, name: own } = bound.parameters.find(p => p.name === name) ?? bound.parameters[0]
    const prefactor = problem.prefactors.includes(k)
    const far = transform === 'log' ? reach > 0.35 : reach > 0.5
    if (!far) continue
    if (prefactor) {
      unidentified.add(name) // its term at the rows' centre is not known within a factor of 2
      continue
    }
    const [low, high] = look(own)
    if (transform === 'log' ? high > 3 * low : high - low > 4) unidentified.add(name)
  }
  for (const [name, range] of found) {
    if (!unidentified.has(name)) continue
    const partner = partnerOf(problem, bound, name, range, diagonal, theta)
    const any = `any ${name} in ${print(range.low)}–${print(range.high)} fits within ${rise}`
    warnings.push(partner ? `${name} and ${partner} trade off: ${any}` : `${name} is not identified: ${any}`)
  }
  for (const name of unidentified)
    if (!found.has(name))
      warnings.push(`${name} is not identified: its term may be twice or half as large with as good a fit`)
  warnings.push(...ratioWarning(bound, law))
  if (law.core.c && law.parameters.some(p => p.name === 'C_T'))
    warnings.push(
      'C_T and b cannot be told apart: only the product C_T·e^b is identified; b is held at 0 and C_T is that product',
    )
  const outliers = outliersOf(prepared, bound, theta, objective)
  for (const outlier of outliers.slice(0, 5))
    warnings.push(
      `the row at ${outlier.line} lies ${print(Math.abs(outlier.deviations))} robust standard deviations ${outlier.deviations > 0 ? 'above' : 'below'} the law: measured ${print(outlier.measured)}, predicted ${print(outlier.predicted)} (kept)`,
    )
  if (outliers.length > 5) warnings.push(`${outliers.length - 5} more rows lie as far from the law`)
  return { warnings, unidentified: [...unidentified], profiles, condition, flatDirection, outliers }
}

/** The parameter that moves most, in units of the curvature, along a profile. */
function partnerOf(
  problem: Problem,
  bound: Bound,
  name: string,
  { atLow, atHigh }: Profile,
  diagonal: Float64Array,
  best: Float64Array,
): string | undefined {
  let most = 0
  let partner: string | undefined
  problem.free.forEach((other, k) => {
    if (other === name) return
    const i = bound.parameters.findIndex(p => p.name === other)
    const span = Math.max(Math.abs(atHigh[i] - best[i]), Math.abs(atLow[i] - best[i]))
    const share = problem.prefactors.includes(k) ? 0 : span * diagonal[k]
    if (share > most) {
      most = share
      partner = other
    }
  })
  return partner
}

/** Says so when N and D rise together, or one of them does not vary. */
function ratioWarning({ data }: Bound, law: Law): string[] {
  if (!law.columns.some(c => c.name === 'D')) return []
  let [xx, xy, yy] = [0, 0, 0]
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < data.count; i++) {
    const x = data.x[i]
    const y = data.y[i]
    xx += x * x
    xy += x * y
    yy += y * y
    const ratio = Math.exp(y + data.meanY - x - data.meanX)
    low = Math.min(low, ratio)
    high = Math.max(high, ratio)
  }
  if (xx < 1e-6 * data.count) return ['every row has the same N: nothing can be said of how the loss depends on it']
  if (yy < 1e-6 * data.count) return ['every row has the same D: nothing can be said of how the loss depends on it']
  if (high / low < 1.3)
    return [
      `every row has D/N near ${print(Math.sqrt(low * high))}: N and D cannot be told apart, and A, B and the exponents trade off`,
    ]
  const correlation = xy / Math.sqrt(xx * yy)
  return Math.abs(correlation) > 0.99
    ? [
        `N and D rise together in these rows (correlation of their logarithms ${correlation.toFixed(3)}): their effects are hard to tell apart`,
      ]
    : []
}

/** Rows beyond six robust standard deviations (1.4826 times the median absolute residual), farthest first. */
function outliersOf({ target, lines }: Prepared, bound: Bound, theta: Float64Array, { kind }: Objective): Outlier[] {
  const predicted = predictions(bound, theta)
  const residual = Float64Array.from(target, (t, i) =>
    kind === 'squares' ? t - predicted[i] : Math.log(t / predicted[i]),
  )
  const sizes = Float64Array.from(residual, Math.abs).sort()
  const sigma = 1.4826 * (sizes[Math.floor(sizes.length / 2)] || 0)
  if (sizes.length < 8 || sigma < 1e-12) return []
  const out: Outlier[] = []
  residual.forEach((r, i) => {
    if (Math.abs(r) > 6 * sigma)
      out.push({ line: lines[i], measured: target[i], predicted: predicted[i], deviations: r / sigma })
  })
  return out.sort((a, b) => Math.abs(b.deviations) - Math.abs(a.deviations))
}
