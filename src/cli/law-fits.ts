// Laws with constants, for the verbs that plan and check: fits from files of `bitlaw fit --out`, and published ones by name.
import { readFileSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'
import { findLaw, LAWS } from '../laws/index.ts'
import { type LawFit, ownFits, publishedFits } from '../plan/index.ts'

/** Fits of one's own first, then published ones by the names of their laws (comma-separated, or all); those that speak of damage alone only where `delta` asks. */
export function lawFits(names: string, files: readonly string[] = [], { delta = false } = {}): LawFit[] {
  const laws = names === 'all' ? LAWS : names.split(',').map(name => findLaw(name.trim()))
  const fits = [...files.flatMap(readOwn), ...publishedFits(laws, { delta })]
  if (fits.length === 0)
    throw new RequestError(
      laws.some(law => law.fits.length > 0)
        ? `law ${names} speaks of the damage by PTQ alone, expected one that gives a loss`
        : `law ${names} has no published constants, fit it to your runs with bitlaw fit and pass --fit FILE`,
    )
  return fits
}

function readOwn(path: string): LawFit[] {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new RequestError(
      error instanceof SyntaxError
        ? `'${path}' is not JSON, expected a file written by bitlaw fit --out`
        : `cannot read the fit '${path}'`,
    )
  }
  return ownFits(value, path)
}
