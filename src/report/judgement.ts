// How a claim is judged: the rules that turn differences over independent models into a verdict with its number.
import { meanInterval, printInterval } from './statistics.ts'

/** What a study says to a claim; `figure` is the number, its interval and what it runs over. */
export interface Judgement {
  verdict: 'supported' | 'contradicted' | 'tie' | 'not testable here'
  figure: string
}

/** Fewer independent models than this speak for nothing: with two, Student's interval is as wide as the guess. */
export const LEAST_UNITS = 3

/** A study that cannot tell, and why. */
export const untestable = (why: string): Judgement => ({ verdict: 'not testable here', figure: why })

/** Supported where the whole interval lies on the claimed side, contradicted where it lies on the other, else a tie. */
export function bySign(values: readonly number[], claimed: 'below' | 'above', what: string, unit: string): Judgement {
  if (values.length < LEAST_UNITS)
    return untestable(`${what}: ${values.length} ${unit}, of which a verdict needs ${LEAST_UNITS}`)
  const found = meanInterval(values)
  const figure = `${what}: ${printInterval(found)} over ${found.count} ${unit}`
  if (found.low <= 0 && found.high >= 0) return { verdict: 'tie', figure }
  return { verdict: found.mean < 0 === (claimed === 'below') ? 'supported' : 'contradicted', figure }
}

/** A rival of the choice that a claim calls best: differences choice minus rival, one a unit. */
export interface Rival {
  name: string
  values: readonly number[]
}

/**
 * Is a choice the best? Contradicted where a rival is better by its whole interval, supported where none is level
 * (`best`) or where none is better and one at least is worse (`unbeaten`), else a tie. The intervals are widened for
 * the number of rivals (Bonferroni), so that many rivals do not make a contradiction by chance.
 */
export function againstRivals(
  rivals: readonly Rival[],
  choice: string,
  unit: string,
  standard: 'best' | 'unbeaten',
): Judgement {
  const met = rivals.filter(rival => rival.values.length >= LEAST_UNITS)
  if (met.length === 0) return untestable(`no rival of ${choice} was met in ${LEAST_UNITS} ${unit}`)
  const found = met.map(rival => ({ name: rival.name, ...meanInterval(rival.values, 1 - 0.05 / met.length) }))
  const figure = `${choice} minus ${found.map(one => `${one.name}: ${printInterval(one)} over ${one.count}`).join('; minus ')} ${unit}${met.length > 1 ? ` (95% for ${met.length} rivals together)` : ''}`
  if (found.some(one => one.low > 0)) return { verdict: 'contradicted', figure }
  const won = found.filter(one => one.high < 0).length
  return { verdict: won === found.length || (standard === 'unbeaten' && won > 0) ? 'supported' : 'tie', figure }
}
