// Predictions as documents: by published constants or by a fit of ours, with an interval, and with what of the
// configuration lies outside what the constants were made on.
import { RequestError } from '../formats/error.ts'
import { quantile } from './bootstrap.ts'
import { findLaw } from './catalogue.ts'
import type { Fit } from './fit.ts'
import type { Configuration, Law, Parameters, Prediction } from './law.ts'
import { hasPost } from './pieces.ts'
import { columnsOf, outside } from './rows.ts'

/** One prediction, as `bitlaw predict --json` prints it. */
export interface PredictionDocument extends Prediction {
  law: string
  /** Name of the published fit, or `own`. */
  fit: string
  /** Of the loss: where 90% of runs like this would lie; null where the constants come without a sample. */
  interval: [number, number] | null
  /** The same of the damage by PTQ. */
  deltaInterval: [number, number] | null
  level: number
  insideRange: boolean
  notes: string[]
}

/** Missing columns that leave a law without an answer, in words. */
function missing(law: Law, configuration: Configuration): string[] {
  const has = columnsOf([configuration])
  return law.columns
    .filter(c => c.fallback === undefined && !has.includes(c.name))
    .map(c => `${law.name} needs ${c.name} (${c.meaning})`)
}

/** What a law says by its published constants; all of them, or the one named. */
export function predictPublished(law: Law, configuration: Configuration, name?: string): PredictionDocument[] {
  const chosen = law.fits.filter(fit => name === undefined || fit.name === name)
  if (name !== undefined && chosen.length === 0)
    throw new RequestError(
      `law ${law.name} has no published fit '${name}', it has ${law.fits.map(f => f.name).join(', ') || 'none'}`,
    )
  return chosen.map(fit => {
    const prediction = law.predict(fit.parameters, configuration)
    const far = outside(fit.range, configuration)
    const notes = [...far, ...(fit.notes ?? []), ...missing(law, configuration)]
    return document(law, fit.name, prediction, null, null, 0.9, far.length === 0, notes)
  })
}

function document(
  law: Law,
  fit: string,
  prediction: Prediction,
  interval: [number, number] | null,
  deltaInterval: [number, number] | null,
  level: number,
  insideRange: boolean,
  notes: string[],
): PredictionDocument {
  const finite = (v: number | null) => (v === null || !Number.isFinite(v) ? null : v)
  if (
    prediction.loss === null &&
    prediction.deltaPtq === null &&
    prediction.extra === undefined &&
    !notes.some(n => n.includes('no loss'))
  )
    notes.push('these constants say nothing of the loss of this configuration')
  return {
    law: law.name,
    fit,
    loss: finite(prediction.loss),
    interval,
    nEff: finite(prediction.nEff),
    deltaPtq: finite(prediction.deltaPtq),
    deltaInterval,
    dCrit: finite(prediction.dCrit),
    optimalBits: finite(prediction.optimalBits),
    ...(prediction.extra ? { extra: prediction.extra } : {}),
    level,
    insideRange,
    notes,
  }
}

/** Parameters of each resample of a fit. */
function sampleOf({ sample }: Fit): Parameters[] {
  return sample.values.map(row => Object.fromEntries(sample.names.map((name, i) => [name, row[i]])))
}

/**
 * Where a share `level` of new runs would lie: the spread of the resampled constants and that of the runs about the
 * law (held-out residuals where the fit has them, else its own, made larger for the parameters that were fitted).
 */
export function predictionInterval(
  fit: Fit,
  value: (parameters: Parameters) => number | null,
  level = 0.9,
): [number, number] | null {
  if (fit.sample.values.length < 20) return null
  const values: number[] = []
  for (const parameters of sampleOf(fit)) {
    const at = value(parameters)
    if (at === null || !Number.isFinite(at)) continue
    for (const r of fit.sample.residuals) values.push(at * Math.exp(r))
  }
  if (values.length === 0) return null
  const sorted = Float64Array.from(values).sort()
  return [quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)]
}

/** What one of our own fits says, with its interval. */
export function predictFit(fit: Fit, configuration: Configuration, level = 0.9): PredictionDocument {
  const law = findLaw(fit.law)
  const prediction = law.predict(fit.parameters, configuration)
  const far = outside(fit.range, configuration)
  const notes = [...far, ...missing(law, configuration)]
  if (fit.unidentified.length > 0) notes.push(`not identified by the fitted rows: ${fit.unidentified.join(', ')}`)
  const own = (pick: 'loss' | 'deltaPtq') => (parameters: Parameters) => law.predict(parameters, configuration)[pick]
  const interval =
    law.response === 'loss' && prediction.loss !== null ? predictionInterval(fit, own('loss'), level) : null
  const deltaInterval =
    hasPost(configuration) && prediction.deltaPtq !== null
      ? law.response === 'delta'
        ? predictionInterval(fit, own('deltaPtq'), level)
        : predictionInterval({ ...fit, sample: { ...fit.sample, residuals: [0] } }, own('deltaPtq'), level)
      : null
  return document(law, 'own', prediction, interval, deltaInterval, level, far.length === 0, notes)
}

/** Fits in a parsed JSON file: a fit, or the document of `bitlaw fit --out`. */
export function readFits(value: unknown, name: string): Fit[] {
  const one = (v: unknown): v is Fit =>
    v !== null &&
    typeof v === 'object' &&
    typeof (v as Fit).law === 'string' &&
    typeof (v as Fit).parameters === 'object'
  const list = one(value) ? [value] : ((value as { fits?: unknown[] } | null)?.fits ?? [])
  if (!Array.isArray(list) || list.length === 0 || !list.every(one))
    throw new RequestError(`${name} holds no fit, expected a file written by bitlaw fit --out`)
  return list.map(fit => ({
    ...fit,
    range: fit.range ?? {},
    unidentified: fit.unidentified ?? [],
    sample: fit.sample ?? { names: [], values: [], residuals: [] },
  }))
}
