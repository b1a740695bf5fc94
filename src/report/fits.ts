// Small fits that figures need at hand: the plain law of the 16-bit runs by the study's own fit, effective parameters
// of single runs, R².
import type { Fit } from '../laws/fit.ts'
import { findLaw } from '../laws/index.ts'
import type { Configuration, Law, Parameters } from '../laws/law.ts'
import type { ReportData, Training } from './data.ts'

/** A fit document of the ledger; imported ones may lack parts. */
export type FitDocument = Pick<Fit, 'law' | 'parameters'> & Partial<Fit>

/** Parameters of a fit's bootstrap resamples. */
export function resamplesOf({ sample }: FitDocument): Parameters[] {
  if (!sample) return []
  return sample.values.map(values => Object.fromEntries(sample.names.map((name, i) => [name, values[i]])))
}

/** The study's fit of a law, or undefined. */
export function fitOf(data: ReportData, ...laws: string[]): { law: Law; document: FitDocument } | undefined {
  for (const name of laws) {
    const row = data.study.fits.find(fit => fit.law === name)
    if (row) return { law: findLaw(name), document: row.document as FitDocument }
  }
  return undefined
}

/** A run as laws read it. */
export function configurationOf(training: Training): Configuration {
  return { N: training.n, D: training.d, P_w: training.pw, P_a: training.pa, P_kv: training.pkv }
}

/** N_eff / N of a run by the constants of a fitted law: the size at which the law's 16-bit loss equals the run's; null where no size does. */
export function effectiveShare(
  law: Law,
  parameters: Parameters,
  training: Training,
  loss = training.loss,
): number | null {
  const at = (n: number) => law.predict(parameters, { N: n, D: training.d }).loss ?? Number.NaN
  let low = Math.log(training.n / 1e4)
  let high = Math.log(training.n * 100)
  if (!(at(Math.exp(low)) >= loss && loss >= at(Math.exp(high)))) return null
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (at(Math.exp(middle)) > loss) low = middle
    else high = middle
  }
  return Math.exp(low) / training.n
}

/** 1 - residual over total sum of squares; NaN for fewer than 3 pairs. */
export function rSquared(measured: readonly number[], predicted: readonly number[]): number {
  if (measured.length < 3) return Number.NaN
  const mean = measured.reduce((sum, x) => sum + x, 0) / measured.length
  let residual = 0
  let total = 0
  measured.forEach((value, i) => {
    residual += (value - predicted[i]) ** 2
    total += (value - mean) ** 2
  })
  return 1 - residual / total
}

/** Least-squares line y = a + b x with the standard error of b; null for fewer than 3 points. */
export function line(x: readonly number[], y: readonly number[]): { a: number; b: number; bError: number } | null {
  const count = x.length
  if (count < 3) return null
  const mx = x.reduce((sum, v) => sum + v, 0) / count
  const my = y.reduce((sum, v) => sum + v, 0) / count
  let xx = 0
  let xy = 0
  for (let i = 0; i < count; i++) {
    xx += (x[i] - mx) ** 2
    xy += (x[i] - mx) * (y[i] - my)
  }
  if (xx === 0) return null
  const b = xy / xx
  const a = my - b * mx
  const residual = y.reduce((sum, v, i) => sum + (v - a - b * x[i]) ** 2, 0)
  return { a, b, bError: Math.sqrt(residual / (count - 2) / xx) }
}
