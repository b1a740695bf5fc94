// Which law is better: laws are fitted to the same rows, predict the same held-out rows, and the difference of their
// errors has an interval of its own, since the same rows make both errors.
import { quantile } from './bootstrap.ts'
import { describe, type Fit, type FitOptions, type Solved, solve } from './fit.ts'
import type { HoldOut } from './hold-out.ts'
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
  const solved = laws.map(law => solve(law, prepareRows(rows, law, options), options))
  const fits = solved.map(one => describe(one, { ...options, holdOut }))
  const comparison: Comparison[] = []
  for (let i = 0; i < fits.length; i++)
    for (let j = i + 1; j < fits.length; j++) {
      if (solved[i].law.response !== solved[j].law.response)
        warnings.push(
          `${fits[i].law} and ${fits[j].law} are not compared: one predicts the loss, the other the damage by PTQ`,
        )
      else comparison.push(compare(fits[i], fits[j], solved[i], solved[j], options.seed ?? 0))
    }
  const error = (fit: Fit) => fit.heldOut?.rmse ?? fit.rmse
  const best = fits.reduce((a, b) => (error(b) < error(a) ? b : a)).law
  return { fits, best, comparison, warnings, solved }
}
