// From a bound law to a minimisation: which parameters are free, which are held or tied, in which coordinates.
// Prefactors are moved by the value of their term at the rows' mean ln N and ln D, not at N = 1: A and alpha then
// hardly trade off, which makes the problem a thousand times better conditioned.
import { RequestError } from '../formats/error.ts'
import type { Bound, Objective } from './core.ts'
import { type Curvature, createEvaluation, type Evaluation, evaluate } from './derivatives.ts'
import type { Parameter, Slot } from './law.ts'

/** What is held where: values in natural units. */
export interface Constraints {
  fix?: Readonly<Record<string, number>>
  /** Parameter by the parameter that it equals. */
  tie?: Readonly<Record<string, string>>
  bounds?: Readonly<Record<string, readonly [number, number]>>
}

/** theta = map · phi + offset: phi are the free coordinates. */
export interface Problem {
  bound: Bound
  objective: Objective
  /** Names of the free parameters, in the order of phi. */
  free: readonly string[]
  low: Float64Array
  high: Float64Array
  /** For each theta: indices of phi and their coefficients. */
  map: readonly { index: readonly number[]; coefficient: readonly number[] }[]
  offset: Float64Array
  /** Index in phi of the prefactors a, b, c; −1 where they are not free. */
  prefactors: readonly [number, number, number]
  /** Evaluation by theta, reused. */
  work: Evaluation
}

const onScale = (parameter: Parameter, value: number) => (parameter.transform === 'log' ? Math.log(value) : value)

function known(name: string, parameters: readonly Parameter[], what: string): Parameter {
  const found = parameters.find(p => p.name === name)
  if (!found)
    throw new RequestError(
      `cannot ${what} '${name}', expected one of the law's parameters ${parameters.map(p => p.name).join(', ')}`,
    )
  return found
}

/** Sets up the free coordinates. */
export function createProblem(
  bound: Bound,
  objective: Objective,
  { fix = {}, tie = {}, bounds = {} }: Constraints = {},
): Problem {
  const { parameters, data, core } = bound
  const p = parameters.length
  for (const name of Object.keys(bounds)) known(name, parameters, 'bound')
  for (const [name, value] of Object.entries(fix))
    if (!Number.isFinite(onScale(known(name, parameters, 'fix'), value)))
      throw new RequestError(
        `cannot fix ${name} at ${value}, expected a number${known(name, parameters, 'fix').transform === 'log' ? ' above 0' : ''}`,
      )
  for (const [name, other] of Object.entries(tie))
    if (
      known(name, parameters, 'tie').transform !== known(other, parameters, 'tie').transform ||
      tie[other] !== undefined ||
      name === other
    )
      throw new RequestError(`cannot tie '${name}' to '${other}', expected a free parameter of the same kind`)
  const tiedTo = new Set(Object.values(tie))
  const freeIndex = new Map<string, number>()
  const low: number[] = []
  const high: number[] = []
  for (const parameter of parameters) {
    const { name } = parameter
    if (fix[name] !== undefined || tie[name] !== undefined) continue
    freeIndex.set(name, freeIndex.size)
    const range = bounds[name] ?? parameter.bounds
    low.push(parameter.transform === 'log' ? Math.log(Math.max(range[0], 1e-300)) : range[0])
    high.push(parameter.transform === 'log' ? Math.log(range[1]) : range[1])
  }
  const n = freeIndex.size
  const offset = new Float64Array(p)
  const dense = parameters.map((parameter, i) => {
    const row = new Float64Array(n)
    const value = fix[parameter.name] ?? fix[tie[parameter.name] ?? '']
    if (value !== undefined) offset[i] = onScale(parameter, value)
    else row[freeIndex.get(tie[parameter.name] ?? parameter.name) as number] = 1
    return row
  })
  /** theta of a prefactor: its slot equals phi plus the other slots times the means. */
  const anchor = (spec: Slot | undefined, others: readonly (readonly [Slot | undefined, number])[]): number => {
    if (!spec) return -1
    const [name, own] = spec.terms[0]
    if (own !== 1) return -1
    const at = freeIndex.get(name)
    if (at === undefined) return -1
    if (bounds[name] !== undefined || tiedTo.has(name)) return -1
    const i = parameters.findIndex(parameter => parameter.name === name)
    const add = (term: Slot, factor: number, from: number) => {
      offset[i] += factor * (from === 0 ? (term.constant ?? 0) : 0)
      for (const [other, coefficient] of term.terms.slice(from)) {
        const j = parameters.findIndex(parameter => parameter.name === other)
        offset[i] += factor * coefficient * offset[j]
        for (let k = 0; k < n; k++) dense[i][k] += factor * coefficient * dense[j][k]
      }
    }
    for (const [other, factor] of others) if (other) add(other, factor, 0)
    add(spec, -1, 1)
    low[at] = Number.NEGATIVE_INFINITY
    high[at] = Number.POSITIVE_INFINITY
    return at
  }
  const prefactors = [
    anchor(core.a, [[core.alpha, data.meanX]]),
    anchor(core.b, [[core.beta, data.meanY]]),
    anchor(core.c, [
      [core.gammaN, data.meanX],
      [core.gammaD, -data.meanY],
    ]),
  ] as const
  const map = dense.map(row => {
    const index = [...row.keys()].filter(k => row[k] !== 0)
    return { index, coefficient: index.map(k => row[k]) }
  })
  return {
    bound,
    objective,
    free: [...freeIndex.keys()],
    low: Float64Array.from(low),
    high: Float64Array.from(high),
    map,
    offset,
    prefactors,
    work: createEvaluation(p),
  }
}

/** The same problem on other rows' weights or targets (same parameters, same means). */
export function withBound(problem: Problem, bound: Bound): Problem {
  return { ...problem, bound }
}

/** theta at phi. */
export function thetaAt({ map, offset }: Problem, phi: Float64Array): Float64Array {
  const theta = offset.slice()
  for (let i = 0; i < map.length; i++)
    for (let k = 0; k < map[i].index.length; k++) theta[i] += map[i].coefficient[k] * phi[map[i].index[k]]
  return theta
}

/** phi at a theta that keeps the constraints. */
export function phiAt({ map, offset, free, bound }: Problem, theta: Float64Array): Float64Array {
  const phi = new Float64Array(free.length)
  const own = free.map(name => bound.parameters.findIndex(p => p.name === name))
  const plain = own.map(i => map[i].index.length === 1 && map[i].coefficient[0] === 1)
  for (let k = 0; k < phi.length; k++) if (plain[k]) phi[k] = theta[own[k]] - offset[own[k]]
  for (let k = 0; k < phi.length; k++) {
    if (plain[k]) continue
    let rest = theta[own[k]] - offset[own[k]]
    let scale = 1
    map[own[k]].index.forEach((at, j) => {
      if (at === k) scale = map[own[k]].coefficient[j]
      else rest -= map[own[k]].coefficient[j] * phi[at]
    })
    phi[k] = rest / scale
  }
  return phi
}

/** Natural values by name at theta. */
export function naturalAt(parameters: readonly Parameter[], theta: ArrayLike<number>): Record<string, number> {
  return Object.fromEntries(
    parameters.map(({ name, transform }, i) => [name, transform === 'log' ? Math.exp(theta[i]) : theta[i]]),
  )
}

/** Objective, gradient (n) and curvature (n, n) at phi. */
export function evaluateAt(problem: Problem, phi: Float64Array, curvature: Curvature, out: Evaluation): void {
  const { map, work } = problem
  const n = phi.length
  const p = map.length
  evaluate(problem.bound, thetaAt(problem, phi), problem.objective, curvature, work)
  out.value = work.value
  out.gradient.fill(0)
  out.curvature.fill(0)
  for (let i = 0; i < p; i++) {
    const a = map[i]
    for (let k = 0; k < a.index.length; k++) {
      const ck = a.coefficient[k]
      const row = a.index[k] * n
      out.gradient[a.index[k]] += ck * work.gradient[i]
      for (let j = 0; j < p; j++) {
        const h = work.curvature[i * p + j] * ck
        if (h === 0) continue
        const b = map[j]
        for (let l = 0; l < b.index.length; l++) out.curvature[row + b.index[l]] += h * b.coefficient[l]
      }
    }
  }
}
