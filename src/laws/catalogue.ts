// The list of laws by name, and the one function that asks any of them.
import { didYouMean, RequestError } from '../formats/error.ts'
import { appleQat } from './apple-qat.ts'
import { chen } from './chen.ts'
import { chinchilla, chinchillaTied } from './chinchilla.ts'
import { gadre } from './gadre.ts'
import { gmse, gmseWa } from './gmse.ts'
import { kbit } from './kbit.ts'
import { kumarTied, kumarTiedOffset, kumarUnifiedTrain, kumarWa, kumarWaOffset } from './kumar.ts'
import { kumarDelta, kumarUnified } from './kumar-ptq.ts'
import { kumarAdditive, kumarDEff, kumarMultiplicative, kumarNdEff, kumarNdEffTied } from './kumar-rivals.ts'
import type { Configuration, Law, Parameters, Prediction } from './law.ts'
import { muennighoff } from './muennighoff.ts'
import { frantar, multiplier } from './multiplier.ts'
import { ouyang } from './ouyang.ts'
import { quartet, quartetBase } from './quartet.ts'
import { sardana } from './sardana.ts'
import { sun } from './sun.ts'

/** Every law, in the order of `bitlaw laws`. */
export const LAWS: readonly Law[] = [
  chinchilla,
  chinchillaTied,
  kumarTied,
  kumarTiedOffset,
  kumarWa,
  kumarWaOffset,
  kumarUnifiedTrain,
  kumarDelta,
  kumarUnified,
  multiplier,
  frantar,
  gmse,
  gmseWa,
  quartetBase,
  quartet,
  gadre,
  kbit,
  kumarAdditive,
  kumarDEff,
  kumarNdEffTied,
  kumarNdEff,
  kumarMultiplicative,
  ouyang,
  sun,
  chen,
  sardana,
  muennighoff,
  appleQat,
]

/** Short names of laws. */
const ALIASES: Readonly<Record<string, string>> = { kumar: 'kumar_unified' }

/** The law of that name (`kumar` is short for `kumar_unified`); throws RequestError naming it and the nearest. */
export function findLaw(name: string): Law {
  const law = LAWS.find(candidate => candidate.name === (ALIASES[name] ?? name))
  if (law) return law
  const names = LAWS.map(candidate => candidate.name)
  const near = didYouMean(name, [...names, ...Object.keys(ALIASES)])
  throw new RequestError(`unknown law '${name}'${near}, expected one of ${names.join(', ')}`)
}

/** What a law with these parameters says about a configuration (N, D, and bits: absent = 16); pure and cheap. */
export function predict(law: Law | string, parameters: Parameters, configuration: Configuration): Prediction {
  return (typeof law === 'string' ? findLaw(law) : law).predict(parameters, configuration)
}
