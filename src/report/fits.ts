// The study's own fits as the report reads them: which law speaks, its resamples, effective parameters of single runs.
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

/** R² that Kumar et al. 2024 print for the laws they fitted: N_eff in training, damage of PTQ, the unified law. */
export const PAPER_R2: Readonly<Record<string, string>> = {
  kumar_unified_train: '0.9655',
  kumar_delta: '0.97',
  kumar_unified: '0.90',
}
