// Damage of k-bit quantization as the PTQ laws predict it for a model of N parameters trained on D tokens, each
// prediction with its interval, its validated range, and how far the same law is off where others measured.
import { predictFit } from '../laws/index.ts'
import { outside } from '../laws/rows.ts'
import type { LawFit, TrainingBits } from '../plan/index.ts'
import { MEASURED_ELSEWHERE, type MeasuredElsewhere } from './elsewhere.ts'

/** Widths that are asked for. */
export const WIDTHS = [3, 4, 5, 6, 8] as const

/** One law's prediction for one width. */
export interface PredictedDamage {
  law: string
  fit: string
  k: number
  /** Nats a token. */
  deltaPtq: number
  /** Where 95% of runs like this would lie, by a fit of one's own; null for published constants, whose error is not known. */
  interval: [number, number] | null
  insideRange: boolean
  /** Tokens past which more training makes the quantized model worse; null where the law has none. */
  dCrit: number | null
  notes: string[]
}

/** A law beside what others measured. */
export interface Record {
  law: string
  fit: string
  /** Geometric mean of predicted over measured damage. */
  ratio: number
  /** Typical factor, up or down, by which a row is missed: e to the mean of |ln(predicted / measured)|. */
  error: number
  rows: readonly (MeasuredElsewhere & { predicted: number })[]
  /** Typically off by more than twice. */
  unreliable: boolean
}

/** Laws with constants that speak of damage after training. */
function ptqFits(fits: readonly LawFit[]): LawFit[] {
  return fits.filter(({ law, parameters }) => {
    const { deltaPtq } = law.predict(parameters, { N: 1e8, D: 1e10, P_post: 4 })
    return deltaPtq !== null && Number.isFinite(deltaPtq)
  })
}

/** Every law's prediction for every width, for N non-embedding parameters, D tokens and the bits of training. */
export function predictDamage(
  fits: readonly LawFit[],
  n: number,
  d: number,
  { widths = WIDTHS, trained }: { widths?: readonly number[]; trained?: TrainingBits } = {},
): PredictedDamage[] {
  const { pw = 16, pa = 16, pkv = 16 } = trained ?? {}
  return ptqFits(fits).flatMap(fit =>
    widths.flatMap(k => {
      const configuration = { N: n, D: d, P_w: pw, P_a: pa, P_kv: pkv, P_post: k }
      const { deltaPtq, dCrit } = fit.law.predict(fit.parameters, configuration)
      if (deltaPtq === null || !Number.isFinite(deltaPtq)) return []
      const notes = outside(fit.range, configuration)
      return {
        law: fit.law.name,
        fit: fit.fit,
        k,
        deltaPtq,
        interval: fit.own ? predictFit(fit.own, configuration, 0.95).deltaInterval : null,
        insideRange: notes.length === 0,
        dCrit,
        notes,
      }
    }),
  )
}

/** Each law against what others measured, rows without an importance matrix, whole widths. */
export function lawRecords(fits: readonly LawFit[], rows: readonly MeasuredElsewhere[] = MEASURED_ELSEWHERE): Record[] {
  const plain = rows.filter(row => row.imatrix === '' && row.deltaPtq > 0)
  return ptqFits(fits).map(fit => {
    const compared = plain.map(row => ({
      ...row,
      predicted: fit.law.predict(fit.parameters, { N: row.n, D: row.d, P_post: row.k }).deltaPtq as number,
    }))
    const logs = compared.map(row => Math.log(Math.max(row.predicted, 1e-12) / row.deltaPtq))
    const mean = (values: readonly number[]) => Math.exp(values.reduce((sum, x) => sum + x, 0) / values.length)
    const error = mean(logs.map(Math.abs))
    return { law: fit.law.name, fit: fit.fit, ratio: mean(logs), error, rows: compared, unreliable: error > 2 }
  })
}

/** Models within this factor of the measured ones are of their size. */
const OF_THAT_SIZE = 4

/** True where a law's record elsewhere speaks about a model of n parameters. */
export function recordApplies(record: Record, n: number): boolean {
  return record.rows.some(row => n / row.n < OF_THAT_SIZE && row.n / n < OF_THAT_SIZE)
}

/** A record that is far off, in words. */
export function describeRecord({ law, fit, ratio, error }: Record): string {
  const times = (x: number) => Number(x.toPrecision(2)).toString()
  const way =
    ratio > 2
      ? `${times(ratio)} times too high`
      : ratio < 0.5
        ? `${times(1 / ratio)} times too low`
        : `off by a factor of ${times(error)}, up or down,`
  return `${law} (${fit}) is ${way} on Llama 2 7B and Llama 3 8B as others measured them, so it is not to be relied on for models of this size`
}

/** What records say about a model of n parameters, by the laws that are far off at its size. */
export function recordWarnings(fits: readonly LawFit[], n: number): string[] {
  return lawRecords(fits)
    .filter(record => record.unreliable && recordApplies(record, n))
    .map(describeRecord)
}
