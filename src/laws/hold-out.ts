// Held-out error: fit without some rows, predict them. The rows left out are the largest models, the most tokens, one
// precision at a time, one size at a time, or random folds (whole clusters).

import { RequestError } from '../formats/error.ts'
import { bind, predictions, reweigh } from './core.ts'
import type { FitOptions, Solved } from './fit.ts'
import { bitsOf, type Configuration, numberOf, textOf } from './law.ts'
import { largestOf, smallestOf } from './linear.ts'
import { minimise } from './minimise.ts'
import { formatName, given } from './pieces.ts'
import { thetaAt, withBound } from './problem.ts'
import { createRandom } from './random.ts'
import { search } from './starts.ts'

/** How rows are held out. `folds` is 5 random folds, `folds:k` k of them. */
export type HoldOut = 'largest-n' | 'largest-d' | 'precision' | 'sizes' | 'folds' | `folds:${number}`

/** Error on rows that the fit did not see. */
export interface HeldOut {
  /** Nats. */
  rmse: number
  rows: number
  split: string
  /** ln measured − ln predicted of each held-out row, by row index; null where not held out or not predictable. */
  residuals: (number | null)[]
  /** What was left out, in words. */
  left: string
  warnings: string[]
}

const precisionOf = (row: Configuration): string =>
  [
    formatName(row, 'w'),
    formatName(row, 'a'),
    bitsOf(row, 'P_kv'),
    given(row['P_post']) ? numberOf(row, 'P_post') : '',
    textOf(row, 'forward') ?? '',
    textOf(row, 'backward') ?? '',
  ].join('/')

/** Groups of a positive number: a new one begins where sorted neighbours differ by more than 10%. */
export function sizeGroups(values: readonly number[]): Int32Array {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b])
  const group = new Int32Array(values.length)
  let current = 0
  order.forEach((i, at) => {
    if (at > 0 && values[i] > values[order[at - 1]] * 1.1) current++
    group[i] = current
  })
  return group
}

/** The rows of the largest values: the top size, extended downwards until it has at least three rows and a twentieth of all. */
function largest(values: readonly number[]): Int32Array {
  const group = sizeGroups(values)
  const need = Math.max(3, values.length / 20)
  for (let from = largestOf(group); from > 0; from--) {
    const out = group.map(g => (g >= from ? 1 : 0))
    if (out.reduce((a, b) => a + b, 0) >= need) return out
  }
  const sorted = [...values].sort((a, b) => b - a)
  const limit = sorted[Math.min(Math.ceil(need), values.length) - 1]
  return Int32Array.from(values, v => (v >= limit && v > sorted[values.length - 1] ? 1 : 0))
}

/** Sets of row indices to leave out, one after the other. */
export function splitsOf(
  rows: readonly Configuration[],
  clusters: ArrayLike<number>,
  clusterCount: number,
  holdOut: HoldOut,
  seed: number,
): number[][] {
  const byGroup = (group: ArrayLike<number>, skip?: number): number[][] => {
    const out = new Map<number, number[]>()
    for (let i = 0; i < rows.length; i++) {
      if (group[i] === skip) continue
      const members = out.get(group[i])
      if (members) members.push(i)
      else out.set(group[i], [i])
    }
    return [...out.values()]
  }
  const column = (name: string) => rows.map(row => numberOf(row, name))
  if (holdOut === 'largest-n') return byGroup(largest(column('N')), 0)
  if (holdOut === 'largest-d') return byGroup(largest(column('D')), 0)
  if (holdOut === 'sizes') return byGroup(sizeGroups(column('N')))
  if (holdOut === 'precision') {
    const names = [...new Set(rows.map(precisionOf))]
    return byGroup(rows.map(row => names.indexOf(precisionOf(row))))
  }
  const folds = /^folds(?::(\d+))?$/.exec(holdOut)
  const k = folds ? Number(folds[1] ?? 5) : 0
  if (k < 2)
    throw new RequestError(
      `unknown hold-out '${holdOut}', expected largest-n, largest-d, precision, sizes, folds or folds:<k> with k at least 2`,
    )
  const random = createRandom(seed + 17)
  const order = Array.from({ length: clusterCount }, (_, i) => [random(), i] as const).sort((a, b) => a[0] - b[0])
  const fold = new Int32Array(clusterCount)
  order.forEach(([, cluster], i) => {
    fold[cluster] = i % k
  })
  return byGroup(Int32Array.from(rows, (_, i) => fold[clusters[i]]))
}

/** Held-out residuals ln measured − ln predicted by row; null where a row was not held out or needs a parameter that only it has. */
export function heldOutResiduals(
  solved: Solved,
  splits: readonly number[][],
  { starts = 40, seed = 0 }: { starts?: number; seed?: number } = {},
) {
  const { problem, prepared, found, law, parameters } = solved
  const { rows, target } = prepared
  const own = new Float64Array(rows.length)
  problem.bound.data.order.forEach((row, i) => {
    own[row] = problem.bound.data.weight[i]
  })
  const residuals: (number | null)[] = rows.map(() => null)
  let unknown = 0
  for (const left of splits) {
    const weight = own.slice()
    for (const i of left) weight[i] = 0
    if (weight.every(w => w === 0)) continue
    const seen = new Set(law.parametersFor?.(rows.filter((_, i) => weight[i] > 0))?.map(p => p.name) ?? [])
    const reduced = withBound(problem, reweigh(problem.bound, weight))
    const near = minimise(reduced, found.best.phi, { maxEvaluations: 400 })
    const searched = starts > 0 ? search(reduced, { starts, seed, from: [near.phi] }).best : near
    const best = searched.value <= near.value ? searched : near
    const theta = thetaAt(problem, best.phi)
    const some = left.map(i => rows[i])
    const predicted = predictions(
      bind(
        law.core,
        parameters,
        some,
        left.map(i => target[i]),
      ),
      theta,
    )
    left.forEach((i, j) => {
      const needed = law.parametersFor?.([rows[i]]).map(p => p.name) ?? []
      const predictable = needed.every(name => seen.has(name)) && predicted[j] > 0
      if (predictable) residuals[i] = Math.log(target[i] / predicted[j])
      else unknown++
    })
  }
  return { residuals, unknown }
}

/** The held-out error of a solved fit. */
export function heldOutFit(solved: Solved, holdOut: HoldOut, options: FitOptions): HeldOut {
  const { rows, target, clusters, clusterCount } = solved.prepared
  const splits = splitsOf(rows, clusters, clusterCount, holdOut, options.seed ?? 0)
  if (splits.length === 0 || splits.every(left => left.length === rows.length))
    throw new RequestError(`nothing can be held out by ${holdOut}: all ${rows.length} rows are alike in it`)
  const free = solved.problem.free.length
  const most = largestOf(splits.map(left => left.length))
  const warnings: string[] = []
  if (rows.length - most <= free)
    warnings.push(`holding out ${most} of ${rows.length} rows leaves too few for ${free} parameters`)
  const { residuals, unknown } = heldOutResiduals(solved, splits, { seed: options.seed })
  if (unknown > 0) warnings.push(`${unknown} held-out rows have a format that the other rows lack: not predicted`)
  let squares = 0
  let count = 0
  residuals.forEach((r, i) => {
    if (r === null) return
    squares += (target[i] - target[i] * Math.exp(-r)) ** 2
    count++
  })
  const values = (name: string) => splits[0].map(i => numberOf(rows[i], name))
  const left =
    holdOut === 'largest-n'
      ? `N >= ${smallestOf(values('N')).toPrecision(4)}`
      : holdOut === 'largest-d'
        ? `D >= ${smallestOf(values('D')).toPrecision(4)}`
        : `${splits.length} groups in turn`
  return {
    rmse: count > 0 ? Math.sqrt(squares / count) : Number.NaN,
    rows: count,
    split: holdOut,
    left,
    residuals,
    warnings,
  }
}
