// "At most 6 hours": keeps the runs that say most about the loss surface for their time, and leaves out the others.
//
// The surface is taken as a second-order polynomial in ln N and ln D, with terms for the bits of each part and for every
// other setting (schedule, corpus, family, seed …). A run's information is its leverage in the regression on those terms:
// the share of its own fitted value that it alone decides. Runs with the least leverage a second go first, and leverages
// are computed again as the others must speak for them; the last run of any setting has leverage 1 and stays longest.

import type { PrecisionConfig } from '../train/config.ts'
import { createCosts, planCost, type Rates } from './cost.ts'
import type { PlannedRun } from './expand.ts'
import { canonicalJson } from './key.ts'
import { precisionColumns } from './points.ts'
import type { Spec } from './spec.ts'

const RIDGE = 1e-6
/** Share of the runs that is left out between two computations of the leverages. */
const STEP = 0.02
/** Of more trainings than this a larger share: one of thousands hardly changes what the others must speak for. */
const MANY = 2000
const MANY_STEP = 0.1

/** A row of the regression: a few numbers, and a one for each setting; the columns that are not zero and what they hold. */
interface Row {
  at: readonly number[]
  value: readonly number[]
}

/** The regression's row of each run, and how many columns there are. */
function features(runs: readonly PlannedRun[]): { rows: Row[]; columns: number } {
  const settings = new Map<string, number>()
  const numbers = runs.map(run => {
    const precision = run.config['precision'] as PrecisionConfig
    const coarse = (part: 'weights' | 'activations' | 'kv') => Math.exp(-precisionColumns(precision[part]).bits / 3)
    const n = Math.log(run.point?.n ?? 1)
    const d = Math.log(run.d ?? 1)
    const parts = [coarse('weights'), coarse('activations'), coarse('kv')]
    return [n, d, n * n, d * d, n * d, ...parts, ...parts.map(part => part * n), ...parts.map(part => part * d)]
  })
  const width = numbers[0]?.length ?? 0
  const named = runs.map(run => {
    const { schedule, data, optimizer, seed } = run.config
    const precision = run.config['precision'] as PrecisionConfig
    const { family, qkNorm, activation } = run.point?.model ?? {}
    const all = {
      kind: (schedule as { kind: string }).kind,
      data,
      optimizer,
      seed,
      family,
      qkNorm,
      activation,
      w: precision.weights,
      a: precision.activations,
      kv: precision.kv,
    }
    return Object.entries(all).map(([name, value]) => {
      const id = `${name}=${canonicalJson(value)}`
      if (!settings.has(id)) settings.set(id, settings.size)
      return settings.get(id) as number
    })
  })
  const mean = new Float64Array(width)
  const spread = new Float64Array(width)
  for (const row of numbers) for (let i = 0; i < width; i++) mean[i] += row[i] / numbers.length
  for (const row of numbers) for (let i = 0; i < width; i++) spread[i] += (row[i] - mean[i]) ** 2 / numbers.length
  const used = [...spread.keys()].filter(i => spread[i] > 1e-12)
  const rows = numbers.map((row, r) => {
    const ones = named[r].map(at => 1 + width + at)
    return {
      at: [0, ...used.map(i => 1 + i), ...ones],
      value: [1, ...used.map(i => (row[i] - mean[i]) / Math.sqrt(spread[i])), ...ones.map(() => 1)],
    }
  })
  return { rows, columns: 1 + width + settings.size }
}

/** Inverse of X'X + ridge over the rows that are kept, by its Cholesky factor. */
function inverse(rows: readonly Row[], kept: readonly number[], columns: number): Float64Array[] {
  const a = Array.from({ length: columns }, () => new Float64Array(columns))
  for (const run of kept) {
    const { at, value } = rows[run]
    for (let i = 0; i < at.length; i++) for (let j = 0; j < at.length; j++) a[at[i]][at[j]] += value[i] * value[j]
  }
  for (let i = 0; i < columns; i++) {
    a[i][i] += RIDGE * Math.max(1, kept.length)
    for (let j = 0; j <= i; j++) {
      let sum = a[i][j]
      for (let k = 0; k < j; k++) sum -= a[i][k] * a[j][k]
      a[i][j] = i === j ? Math.sqrt(Math.max(sum, 1e-300)) : sum / a[j][j]
    }
  }
  return Array.from({ length: columns }, (_, column) => {
    const x = new Float64Array(columns)
    x[column] = 1
    for (let i = column; i < columns; i++) {
      for (let k = column; k < i; k++) x[i] -= a[i][k] * x[k]
      x[i] /= a[i][i]
    }
    for (let i = columns - 1; i >= 0; i--) {
      for (let k = i + 1; k < columns; k++) x[i] -= a[k][i] * x[k]
      x[i] /= a[i][i]
    }
    return x
  })
}

function leverage(inverted: readonly Float64Array[], { at, value }: Row): number {
  let sum = 0
  for (let i = 0; i < at.length; i++) {
    const row = inverted[at[i]]
    let others = 0
    for (let j = 0; j < i; j++) others += value[j] * row[at[j]]
    sum += value[i] * (2 * others + value[i] * row[at[i]])
  }
  return sum
}

/** The runs that fit into so many seconds of the clock; runs of one trunk stay or go together, checkpoints always stay. */
export function withinBudget(
  spec: Spec,
  runs: readonly PlannedRun[],
  rates: Rates,
  processes: number,
  seconds: number,
): PlannedRun[] {
  if (planCost(spec, runs, rates, processes).seconds <= seconds) return [...runs]
  const trained = runs.filter(run => run.point)
  const others = runs.filter(run => !run.point)
  const groups = new Map<string, number[]>()
  trained.forEach((run, i) => {
    groups.set(run.cluster, [...(groups.get(run.cluster) ?? []), i])
  })
  const { rows, columns } = features(trained)
  const secondsOf = createCosts(spec, rates)
  const costs = trained.map(run => {
    const { training, quantizing, evaluating } = secondsOf(run)
    return training + quantizing + evaluating
  })
  let left = [...groups.values()]
  const capacity = seconds * processes
  // A run longer than the whole budget cannot be part of it.
  left = left.filter(group => Math.max(...group.map(i => costs[i])) <= seconds)
  const costOf = (group: readonly number[]) => group.reduce((sum, i) => sum + costs[i], 0)
  let total = left.reduce((sum, group) => sum + costOf(group), 0)
  while (total > capacity && left.length) {
    const inverted = inverse(rows, left.flat(), columns)
    const worth = (group: readonly number[]) =>
      group.reduce((sum, i) => sum + leverage(inverted, rows[i]), 0) / costOf(group)
    const ordered = left.map(group => ({ group, value: worth(group) })).sort((a, b) => a.value - b.value)
    let dropped = 0
    const most = Math.max(1, Math.floor(left.length * (left.length > MANY ? MANY_STEP : STEP)))
    while (dropped < most && total > capacity && dropped < ordered.length) total -= costOf(ordered[dropped++].group)
    left = ordered.slice(dropped).map(({ group }) => group)
  }
  const kept = new Set(left.flat())
  return [...trained.filter((_, i) => kept.has(i)), ...others]
}
