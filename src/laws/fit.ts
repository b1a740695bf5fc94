// Fits a law to rows: checks them, searches the minimum from many starts, resamples, diagnoses, and returns a plain
// JSON document that predictions, plans and reports read.
import { RequestError } from '../formats/error.ts'
import { bootstrap, quantile } from './bootstrap.ts'
import { type Confound, findConfounds } from './confound.ts'
import { bind, type Objective, predictions } from './core.ts'
import { diagnose, type Outlier } from './diagnose.ts'
import { type HeldOut, type HoldOut, heldOutFit, heldOutResiduals, splitsOf } from './hold-out.ts'
import { bestBits, fitKbit, kbit, totalBits } from './kbit.ts'
import type { Configuration, Law, Parameter, Parameters, Range } from './law.ts'
import { type Constraints, createProblem, naturalAt, type Problem, thetaAt } from './problem.ts'
import { type Prepared, type PrepareOptions, prepareRows, rangeOf } from './rows.ts'
import { type Search, search } from './starts.ts'

/** Options of a fit. */
export interface FitOptions extends Constraints, PrepareOptions {
  /** huber (default) and log-squares of ln predicted − ln measured; squares of predicted − measured, in nats. */
  objective?: Objective['kind']
  /** Where Huber's loss turns linear: 1e-3. */
  delta?: number
  starts?: number
  seed?: number
  /** Resamples for the intervals: 200; 0: no intervals. */
  bootstrap?: number
  holdOut?: HoldOut
  /** Column of weights of rows; `loss_standard_error` is turned into 1/error². */
  weights?: string
  /** Profiles, outliers and confounds: on unless false. */
  diagnose?: boolean
  /** Earlier fits of the same law, as further starts. */
  from?: readonly Parameters[]
}

/** A fit: a plain JSON document. */
export interface Fit {
  law: string
  /** The value reached: a sum over rows. */
  objective: number
  objectiveKind: Objective['kind']
  delta: number
  parameters: Record<string, number>
  /** 95%, by bootstrap. */
  intervals: Record<string, [number, number]>
  rmse: number
  rSquared: number
  rows: number
  warnings: string[]
  /** Names of parameters that the rows cannot identify. */
  unidentified: string[]
  heldOut: HeldOut | null
  profiles: Record<string, [number, number]>
  condition: number | null
  flatDirection: Record<string, number>
  outliers: Outlier[]
  confounds: Confound[]
  /** Range of N, D, D/N, bits in the rows. */
  range: Range
  convergence: { converged: boolean; starts: number; finished: number; agreed: number; evaluations: number }
  bootstrap: { resamples: number; failed: number; clusters: number; by: string | null; seed: number }
  /** Parameters of each resample, in the order of `names`; ln measured − ln predicted at 41 evenly spaced shares. */
  sample: { names: string[]; values: number[][]; residuals: number[] }
  options: { starts: number; seed: number; fix: Record<string, number>; tie: Record<string, string> }
  versions: { bitlaw: string }
}

/** Everything in memory of a solved fit, for comparisons and figures. */
export interface Solved {
  law: Law
  prepared: Prepared
  parameters: readonly Parameter[]
  problem: Problem
  found: Search
  theta: Float64Array
}

/** Parameters of a law on given rows: its own, and one for each format. */
function parametersOn(law: Law, rows: readonly Configuration[]): Parameter[] {
  return [...law.parameters, ...(law.parametersFor?.(rows) ?? [])]
}

function objectiveOf({ objective = 'huber', delta = 1e-3 }: FitOptions): Objective {
  if (!['huber', 'squares', 'log-squares'].includes(objective))
    throw new RequestError(`unknown objective '${objective}', expected huber, squares or log-squares`)
  if (!(delta > 0)) throw new RequestError(`delta ${delta} is not above 0`)
  return { kind: objective, delta }
}

function weightsOf(rows: readonly Configuration[], column: string | undefined): Float64Array | undefined {
  if (column === undefined) return undefined
  const weights = Float64Array.from(rows, (row, i) => {
    const value = Number(row[column])
    if (!(value > 0))
      throw new RequestError(
        `weight column '${column}' is '${row[column] ?? ''}' in row ${i + 1}, expected a number above 0`,
      )
    return column === 'loss_standard_error' ? 1 / value ** 2 : value
  })
  const mean = weights.reduce((a, b) => a + b, 0) / weights.length
  return weights.map(w => w / mean)
}

/** Finds the minimum; no intervals, no diagnosis. */
export function solve(law: Law, prepared: Prepared, options: FitOptions = {}): Solved {
  if (law.notFitted !== undefined) throw new RequestError(`law ${law.name} cannot be fitted: ${law.notFitted}`)
  const { fix, tie, bounds, starts = 200, seed = 0, from = [] } = options
  const parameters = parametersOn(law, prepared.rows)
  const objective = objectiveOf(options)
  const bound = bind(law.core, parameters, prepared.rows, prepared.target, weightsOf(prepared.rows, options.weights))
  const problem = createProblem(bound, objective, { fix, tie, bounds })
  const { length: free } = problem.free
  if (prepared.rows.length <= free)
    throw new RequestError(
      `${prepared.rows.length} rows are too few for law ${law.name}: it has ${free} free parameters (${problem.free.join(', ')}), expected at least ${free + 1} rows`,
    )
  const earlier = from.flatMap(values => {
    const theta = Float64Array.from(parameters, ({ name, transform }) =>
      transform === 'log' ? Math.log(values[name]) : values[name],
    )
    return theta.every(Number.isFinite) ? [theta] : []
  })
  const found = search(problem, { starts, seed, fromTheta: earlier })
  if (!Number.isFinite(found.best.value))
    throw new Error(
      `law ${law.name} could not be fitted: none of ${starts} starts lies where it is defined for these rows`,
    )
  return { law, prepared, parameters, problem, found, theta: thetaAt(problem, found.best.phi) }
}

/** Fits one law to rows (columns N, D, loss, bits …); throws RequestError that names bad rows, missing columns, too few rows. */
export function fit(rows: readonly Configuration[], law: Law, options: FitOptions = {}): Fit {
  const prepared = prepareRows(rows, law, options)
  return law === kbit ? describeKbit(prepared, options) : describe(solve(law, prepared, options), options)
}

/** Error of predictions in nats, and the share of the target's variance that they explain. */
function accuracyOf(target: Float64Array, predicted: Float64Array): { rmse: number; rSquared: number } {
  const count = target.length
  const mean = target.reduce((a, b) => a + b, 0) / count
  let squares = 0
  let total = 0
  for (let i = 0; i < count; i++) {
    squares += (predicted[i] - target[i]) ** 2
    total += (target[i] - mean) ** 2
  }
  return { rmse: Math.sqrt(squares / count), rSquared: 1 - squares / total }
}

/** The document of the k-bit law, with the precision that is best at the same total bits. */
function describeKbit(prepared: Prepared, options: FitOptions): Fit {
  const { bootstrap: resamples = 200, seed = 0 } = options
  const { rows, target, clusters, clusterCount, clusterColumn } = prepared
  const found = fitKbit(rows, { bootstrap: resamples, seed, clusters })
  const names = Object.keys(found.parameters)
  const curve = names.filter(name => name.startsWith('curve')).map(name => found.parameters[name])
  const higher = curve[curve.length - 1] > curve[0] // an accuracy rises with total bits, a loss falls
  const bits = rows.map(totalBits).sort((a, b) => a - b)
  const { best, tie } = bestBits(found, bits[Math.floor(bits.length / 2)], { higher })
  const tied = tie.filter(k => k !== best)
  const warnings = [
    ...prepared.warnings,
    `at equal total bits ${best} bits are best${tied.length > 0 ? `, tied with ${tied.join(', ')}` : ''} (${higher ? 'a higher score' : 'a lower loss'} is taken as better)`,
  ]
  const residuals = Float64Array.from(target, (t, i) => Math.log(t / found.predicted[i])).sort()
  return {
    law: 'kbit',
    objective: found.objective,
    objectiveKind: 'squares',
    delta: options.delta ?? 1e-3,
    parameters: found.parameters,
    intervals: found.intervals,
    ...accuracyOf(target, found.predicted),
    rows: rows.length,
    warnings,
    unidentified: [],
    heldOut: null,
    profiles: {},
    condition: null,
    flatDirection: {},
    outliers: [],
    confounds: [],
    range: rangeOf(kbit, rows),
    convergence: { converged: true, starts: 1, finished: 1, agreed: 1, evaluations: 1 },
    bootstrap: { resamples: found.sample.length, failed: 0, clusters: clusterCount, by: clusterColumn, seed: seed + 1 },
    sample: {
      names,
      values: found.sample.map(one => names.map(name => one[name])),
      residuals: Array.from({ length: 41 }, (_, i) => quantile(residuals, i / 40)),
    },
    options: { starts: 1, seed, fix: {}, tie: {} },
    versions: { bitlaw: '0.1.0' },
  }
}

/**
 * Sorted ln measured − ln predicted, the noise of a prediction: the residuals of the fit, made larger for the
 * parameters that were fitted, and beside them, where there are sizes enough, those of each size of model predicted
 * from the others, since runs of one size err together.
 */
function noiseOf(solved: Solved, predicted: Float64Array): Float64Array {
  const { prepared, problem } = solved
  const { target, rows, clusters, clusterCount } = prepared
  const free = problem.free.length
  const spread = Math.sqrt(rows.length / Math.max(1, rows.length - free))
  const own = Array.from(target, (t, i) => Math.log(t / predicted[i]) * spread)
  const splits = splitsOf(rows, clusters, clusterCount, 'sizes', 0)
  const enough = splits.length >= 4 && splits.every(left => rows.length - left.length > free)
  const held = enough ? heldOutResiduals(solved, splits, { starts: 0 }).residuals.filter(r => r !== null) : []
  return Float64Array.from([...own, ...held]).sort()
}

/** The document of a solved fit: intervals, diagnosis, held-out error. */
export function describe(solved: Solved, options: FitOptions = {}): Fit {
  const { law, prepared, parameters, problem, found, theta } = solved
  const { bootstrap: resamples = 200, seed = 0, fix = {}, tie = {} } = options
  const { best } = found
  const { target, clusters, clusterCount } = prepared
  const predicted = predictions(problem.bound, theta)
  const warnings = [...prepared.warnings]
  if (!best.converged) warnings.push('the search did not converge: the objective may still fall')
  else if (found.agreed < 2 && found.finished > 2)
    warnings.push(`only ${found.agreed} of ${found.finished} finished descents reached this minimum: try more --starts`)
  const free = new Set(problem.free)
  const sampled =
    resamples > 0 && clusterCount > 1
      ? bootstrap(problem, best, clusters, clusterCount, resamples, seed + 1)
      : { thetas: [], failed: 0 }
  if (sampled.failed > 0.05 * resamples) warnings.push(`${sampled.failed} of ${resamples} resamples did not converge`)
  const names = parameters.map(p => p.name)
  const values = sampled.thetas.map(at => Object.values(naturalAt(parameters, at)))
  const intervals: Record<string, [number, number]> = {}
  if (values.length > 1)
    names.forEach((name, i) => {
      if (!free.has(name) && tie[name] === undefined) return
      const sorted = Float64Array.from(values, row => row[i]).sort()
      intervals[name] = [quantile(sorted, 0.025), quantile(sorted, 0.975)]
    })
  const diagnosis =
    options.diagnose === false ? null : diagnose(law, prepared, problem, best, { fix, tie, bounds: options.bounds })
  warnings.push(...(diagnosis?.warnings ?? []))
  const confounds = options.diagnose === false ? [] : findConfounds(solved, options, warnings)
  const residuals = noiseOf(solved, predicted)
  return {
    law: law.name,
    objective: best.value,
    objectiveKind: problem.objective.kind,
    delta: problem.objective.delta,
    parameters: naturalAt(parameters, theta),
    intervals,
    ...accuracyOf(target, predicted),
    rows: target.length,
    warnings,
    unidentified: diagnosis?.unidentified ?? [],
    heldOut: options.holdOut ? heldOutFit(solved, options.holdOut, options) : null,
    profiles: diagnosis?.profiles ?? {},
    condition: diagnosis?.condition ?? null,
    flatDirection: diagnosis?.flatDirection ?? {},
    outliers: diagnosis?.outliers ?? [],
    confounds,
    range: rangeOf(law, prepared.rows),
    convergence: {
      converged: best.converged,
      starts: found.starts,
      finished: found.finished,
      agreed: found.agreed,
      evaluations: found.evaluations,
    },
    bootstrap: {
      resamples: values.length,
      failed: sampled.failed,
      clusters: clusterCount,
      by: prepared.clusterColumn,
      seed: seed + 1,
    },
    sample: { names, values, residuals: Array.from({ length: 41 }, (_, i) => quantile(residuals, i / 40)) },
    options: { starts: options.starts ?? 200, seed, fix: { ...fix }, tie: { ...tie } },
    versions: { bitlaw: '0.1.0' },
  }
}
