// Damage of k-bit quantization as the PTQ laws predict it for a model of N parameters trained on D tokens, each
// prediction with its interval, its validated range, and how far the same law is off where others measured.
import type { LawFit } from '../plan/index.ts'
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
  /** 95% of a bootstrap sample; null for published constants, whose error is not known. */
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
  rows: readonly (MeasuredElsewhere & { predicted: number })[]
  /** Off by more than twice on the geometric mean. */
  unreliable: boolean
}

/** Laws with constants that speak of damage after training. */
export function ptqFits(fits: readonly LawFit[]): LawFit[] {
  return fits.filter(({ law, parameters }) => {
    const { deltaPtq } = law.predict(parameters, { N: 1e8, D: 1e10, P_post: 4 })
    return deltaPtq !== null && Number.isFinite(deltaPtq)
  })
}

function ranged(fit: LawFit, n: number, d: number, k: number): string[] {
  const values: { [name: string]: number } = { N: n, D: d, P_post: k, 'D/N': d / n }
  return Object.entries(fit.range).flatMap(([name, [low, high]]) => {
    const value = values[name]
    return value === undefined || (value >= low && value <= high)
      ? []
      : [
          `${name} = ${Number(value.toPrecision(3))} lies outside the ${low.toPrecision(3)} to ${high.toPrecision(3)} of the fit`,
        ]
  })
}

function percentiles(values: number[]): [number, number] | null {
  if (values.length < 20) return null
  values.sort((a, b) => a - b)
  return [
    values[Math.floor(0.025 * values.length)],
    values[Math.min(values.length - 1, Math.ceil(0.975 * values.length) - 1)],
  ]
}

/** Every law's prediction for every width, for N non-embedding parameters and D tokens. */
export function predictDamage(
  fits: readonly LawFit[],
  n: number,
  d: number,
  widths: readonly number[] = WIDTHS,
): PredictedDamage[] {
  return ptqFits(fits).flatMap(fit =>
    widths.map(k => {
      const configuration = { N: n, D: d, P_post: k }
      const { deltaPtq, dCrit } = fit.law.predict(fit.parameters, configuration)
      const sampled = (fit.sample ?? []).flatMap(
        parameters => fit.law.predict(parameters, configuration).deltaPtq ?? [],
      )
      const notes = ranged(fit, n, d, k)
      return {
        law: fit.law.name,
        fit: fit.fit,
        k,
        deltaPtq: deltaPtq as number,
        interval: percentiles(sampled),
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
    const ratio = Math.exp(logs.reduce((sum, x) => sum + x, 0) / logs.length)
    return { law: fit.law.name, fit: fit.fit, ratio, rows: compared, unreliable: ratio > 2 || ratio < 0.5 }
  })
}

/** Models within this factor of the measured ones are of their size. */
const OF_THAT_SIZE = 4

/** True where a law's record elsewhere speaks about a model of n parameters. */
export function recordApplies(record: Record, n: number): boolean {
  return record.rows.some(row => n / row.n < OF_THAT_SIZE && row.n / n < OF_THAT_SIZE)
}

/** A record that is far off, in words. */
export function describeRecord({ law, fit, ratio }: Record): string {
  const times = ratio > 1 ? `${ratio.toPrecision(2)} times too high` : `${(1 / ratio).toPrecision(2)} times too low`
  return `${law} (${fit}) is ${times} on Llama 2 7B and Llama 3 8B as others measured them; do not rely on it for models of this size`
}
