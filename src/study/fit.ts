// Fits laws to a study's rows and keeps the last fit of each in the ledger.
import { RequestError } from '../formats/error.ts'
import { type Fit, type FitOptions, fit } from '../laws/fit.ts'
import { findLaw } from '../laws/index.ts'
import { keyOf } from './key.ts'
import type { Ledger } from './ledger/open.ts'
import { allMeasurements, allRuns, saveFit } from './ledger/queries.ts'
import { rowsForLaw, tableRows } from './rows.ts'
import type { Spec } from './spec.ts'
import { openStudy } from './study.ts'

/** What became of one law: a fit, or why there is none. */
export interface LawFit {
  law: string
  fit: Fit | null
  reason: string | null
}

/** Fits each law to the rows that it speaks of; a law that too few rows speak of has a reason instead of a fit. */
export async function fitStudy(
  ledger: Ledger,
  spec: Spec,
  laws: readonly string[],
  options: FitOptions = {},
): Promise<LawFit[]> {
  const rows = tableRows(await allRuns(ledger, spec.name), await allMeasurements(ledger, spec.name))
  const fits: LawFit[] = []
  for (const name of laws) {
    const law = findLaw(name)
    const mine = rowsForLaw(law, rows)
    try {
      if (law.notFitted) throw new RequestError(law.notFitted)
      const holdOut = spec.fit?.holdOut === 'none' ? undefined : spec.fit?.holdOut
      const document = fit(mine, law, { skipBad: true, ...(holdOut ? { holdOut } : {}), ...options })
      await saveFit(ledger, { study: spec.name, law: law.name, rows: keyOf(mine), document })
      fits.push({ law: law.name, fit: document, reason: null })
    } catch (error) {
      // A law that these rows cannot be fitted to must not cost the reader the others.
      if (!(error instanceof Error)) throw error
      fits.push({ law: law.name, fit: null, reason: error.message })
    }
  }
  return fits
}

/** Fits laws to a finished (or half-finished) study; none where none are named. */
export async function fitFolder(
  folder: string,
  laws: readonly string[],
  options: { bootstrap?: number },
): Promise<LawFit[]> {
  if (!laws.length) return []
  const study = await openStudy(folder)
  try {
    return await fitStudy(study.ledger, study.spec, laws, options)
  } finally {
    await study.close()
  }
}
