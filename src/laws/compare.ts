// Which law is better: laws are fitted to the same rows, predict the same held-out rows, and the difference of their
// errors has an interval of its own, since the same rows make both errors.
import { quantile } from './bootstrap.ts'
import { describe, type Fit, type FitOptions, fit, type Solved, solve } from './fit.ts'
import type { HoldOut } from './hold-out.ts'
import { kbit } from './kbit.ts'
import type { Configuration, Law } from './law.ts'
import { createRandom } from './random.ts'
import { prepareRows } from './rows.ts'

/** Held-out RMSE of a minus that of b on the rows that both predict, with its 95% interval. */
export interface Comparison {
  a: string
  b: string
  /** Nats; negative: a is better. */
  difference: number
  interval: [number, number]
  rows: number
  verdict: string
}

/** Fits of several laws to the same rows. */
export interface FitDocument {
  fits: Fit[]
  /** Law of least held-out error. */
  best: string
  comparison: Comparison[]
  warnings: string[]
}

/** Squared held-out error of each row in nats, by line. */
function errorsOf(fit: Fit, { prepared }: Solved): Map<number, { error: number; cluster: string }> {
  const out = new Map<number, { error: number; cluster: string }>()
  fit.heldOut?.residuals.forEach((r, i) => {
    if (r === null) return
    const error = (prepared.target[i] * Math.expm1(-r)) ** 2
    out.set(prepared.lines[i], {
      error,
      cluster: `${prepared.clusterColumn ? prepared.clusters[i] : prepared.lines[i]}`,
    })
  })
  return out
}

function compare(a: Fit, b: Fit, solvedA: Solved, solvedB: Solved, seed: number): Comparison {
  const ofA = errorsOf(a, solvedA)
  const ofB = errorsOf(b, solvedB)
  const clusters = new Map<string, [number, number, number]>()
  for (const [line, { error, cluster }] of ofA) {
    const other = ofB.get(line)
    if (!other) continue
    const sum = clusters.get(cluster) ?? [0, 0, 0]
    clusters.set(cluster, [sum[0] + error, sum[1] + other.error, sum[2] + 1])
  }
  const list = [...clusters.values()]
  const differenceOf = (chosen: readonly (readonly [number, number, number])[]) => {
    let [x, y, n] = [0, 0, 0]
    for (const [p, q, m] of chosen) {
      x += p
      y += q
      n += m
    }
    return Math.sqrt(x / n) - Math.sqrt(y / n)
  }
  const random = createRandom(seed + 29)
  const draws = Float64Array.from({ length: 1000 }, () =>
    differenceOf(list.map(() => list[Math.floor(random() * list.length)])),
  ).sort()
  const interval: [number, number] = [quantile(draws, 0.025), quantile(draws, 0.975)]
  const difference = differenceOf(list)
  const rows = list.reduce((n, c) => n + c[2], 0)
  const verdict =
    interval[1] < 0
      ? `${a.law} is better`
      : interval[0] > 0
        ? `${b.law} is better`
        : `${a.law} and ${b.law} cannot be told apart`
  return { a: a.law, b: b.law, difference, interval, rows, verdict }
}

/** Fits laws to the same rows; with several, or where asked, each with its held-out error, and all pairs compared. */
export function fitLaws(
  rows: readonly Configuration[],
  laws: readonly Law[],
  options: FitOptions = {},
): FitDocument & { solved: Solved[] } {
  const holdOut: HoldOut | undefined = options.holdOut ?? (laws.length > 1 ? 'folds' : undefined)
  const warnings: string[] = []
  const fits: Fit[] = []
  const solved: Solved[] = []
  const pairs: [Fit, Solved][] = []
  for (const law of laws) {
    if (law === kbit) {
      fits.push(fit(rows, law, options))
      if (laws.length > 1) warnings.push('kbit predicts by total bits and is not compared with the others')
      continue
    }
    const one = solve(law, prepareRows(rows, law, options), options)
    solved.push(one)
    fits.push(describe(one, { ...options, holdOut }))
    pairs.push([fits[fits.length - 1], one])
  }
  const comparison: Comparison[] = []
  pairs.forEach(([a, solvedA], i) => {
    for (const [b, solvedB] of pairs.slice(i + 1)) {
      if (solvedA.law.response !== solvedB.law.response)
        warnings.push(`${a.law} and ${b.law} are not compared: one predicts the loss, the other the damage by PTQ`)
      else comparison.push(compare(a, b, solvedA, solvedB, options.seed ?? 0))
    }
  })
  const error = (one: Fit) => one.heldOut?.rmse ?? (pairs.length > 0 ? Number.POSITIVE_INFINITY : one.rmse)
  const best = fits.reduce((a, b) => (error(b) < error(a) ? b : a)).law
  return { fits, best, comparison, warnings, solved }
}
