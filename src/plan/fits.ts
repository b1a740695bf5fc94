// Laws with constants, as plans take them: published ones, and fits of one's own with their bootstrap sample.
import { findLaw, LAWS } from '../laws/catalogue.ts'
import type { Fit } from '../laws/fit.ts'
import type { Law, Parameters, Range } from '../laws/law.ts'
import { readFits } from '../laws/prediction.ts'

/** A law with constants. */
export interface LawFit {
  law: Law
  /** Name of the fit: `kumar2024`, or the file of one's own. */
  fit: string
  parameters: Parameters
  range: Range
  /** The document of a fit of one's own: its resamples give intervals. */
  own?: Fit
  /** What a reader must know of these constants. */
  notes?: readonly string[]
}

/** The fit that lends A, B and E to published multipliers, which have none. */
const BASE = { law: 'chinchilla', fit: 'besiroglu2024' } as const

/** Published fits of laws; those that speak of the damage alone only where `delta` asks. Multipliers without a loss are put on Chinchilla's. */
export function publishedFits(laws: readonly Law[] = LAWS, { delta = false } = {}): LawFit[] {
  const base = LAWS.find(law => law.name === BASE.law)?.fits.find(fit => fit.name === BASE.fit)
  return laws
    .filter(law => delta || law.response === 'loss')
    .flatMap(law =>
      law.fits.map(fit => {
        const bare = law.columns.some(column => column.name === 'format_w') && fit.parameters['E'] === undefined
        const lent = bare && base !== undefined && Object.keys(fit.parameters).some(name => name.startsWith('eff '))
        return {
          law,
          fit: fit.name,
          parameters: lent ? { ...base.parameters, ...fit.parameters } : fit.parameters,
          range: fit.range,
          ...(lent
            ? { notes: [`its multipliers have no loss of their own: A, B and E are those of ${BASE.fit}`] }
            : {}),
        }
      }),
    )
}

/** Fits in a parsed file of `bitlaw fit --out`; throws RequestError where it holds none. */
export function ownFits(value: unknown, name: string): LawFit[] {
  return readFits(value, name).map(own => ({
    law: findLaw(own.law),
    fit: name,
    parameters: own.parameters,
    range: own.range,
    own,
  }))
}

/** Parameters of the first `count` resamples of a fit of one's own; none for published constants. */
export function resamplesOf({ own }: LawFit, count = Number.POSITIVE_INFINITY): Parameters[] {
  if (!own) return []
  const { names, values } = own.sample
  return values.slice(0, count).map(row => Object.fromEntries(names.map((name, i) => [name, row[i]])))
}
