// What was run and what it shows, in a few sentences: the head of the report and the last lines of `bitlaw study run`.

import type { StudyData } from '../study/read.ts'
import { judgeClaims } from './claims.ts'
import { type ReportData, reportData, short } from './data.ts'
import { dataExponents, plainDamage } from './figures/ptq.ts'
import { sharePoints } from './figures/training.ts'
import type { FitDocument } from './fits.ts'

const range = (values: readonly number[]) =>
  values.length === 0
    ? ''
    : Math.min(...values) === Math.max(...values)
      ? short(values[0])
      : `${short(Math.min(...values))} to ${short(Math.max(...values))}`

/** One sentence: sizes, data, runs, quantizations, where. */
export function whatWasRun(data: ReportData): string {
  const { trainings, quantized, failed, waiting } = data
  if (trainings.length === 0)
    return `No run has finished yet${failed.length > 0 ? `, ${failed.length} failed` : ''}${waiting > 0 ? `, ${waiting} wait` : ''}.`
  const rest = [
    failed.length > 0 ? `${failed.length} failed or diverged` : '',
    waiting > 0 ? `${waiting} are still to run` : '',
  ]
    .filter(Boolean)
    .join(', ')
  return `${trainings.length} models of ${range(trainings.map(one => one.n))} parameters on ${range(trainings.map(one => one.d))} tokens (${[...new Set(trainings.map(one => one.corpus).filter(Boolean))].join(', ') || 'corpus not named'}), and ${quantized.length} quantizations of them${rest ? `; ${rest}` : ''}.`
}

/** True sentences about what came out, each with its number. */
export function findings(data: ReportData): string[] {
  const lines: string[] = []
  for (const part of ['weights', 'activations', 'KV cache']) {
    const points = sharePoints(data).filter(point => point.part === part)
    if (points.length === 0) continue
    const fewest = Math.min(...points.map(point => point.bits))
    const shares = points.filter(point => point.bits === fewest).map(point => point.share)
    const mean = shares.reduce((sum, x) => sum + x, 0) / shares.length
    lines.push(
      `Training with ${short(fewest)}-bit ${part} acted like ${(mean * 100).toFixed(0)}% of the parameters (${shares.length} run${shares.length > 1 ? 's' : ''}, ${(Math.min(...shares) * 100).toFixed(0)} to ${(Math.max(...shares) * 100).toFixed(0)}%).`,
    )
  }
  for (const k of [3, 4]) {
    const rows = plainDamage(data).filter(one => one.k === k)
    if (rows.length < 2) continue
    const least = rows.reduce((a, b) => (a.delta <= b.delta ? a : b))
    const most = rows.reduce((a, b) => (a.delta >= b.delta ? a : b))
    const exponent = dataExponents(data).find(one => one.k === k)
    lines.push(
      `Quantizing to ${k} bits cost ${least.delta.toFixed(4)} nats [${least.interval.map(x => x.toFixed(4)).join(', ')}] at the least and ${most.delta.toFixed(4)} [${most.interval.map(x => x.toFixed(4)).join(', ')}] at the most${exponent ? `; it grew as D^${exponent.exponent.toFixed(2)} ± ${(1.96 * exponent.error).toFixed(2)}` : ''}.`,
    )
  }
  for (const row of data.study.fits) {
    const { law, rSquared, heldOut } = row.document as FitDocument
    if (rSquared !== undefined)
      lines.push(
        `${law} fits with R² ${rSquared.toFixed(4)}${heldOut ? ` and is off by ${heldOut.rmse.toFixed(4)} nats on the runs held out` : ''}.`,
      )
  }
  const judged = judgeClaims(data).filter(one => one.judgement.verdict !== 'not testable here')
  if (judged.length > 0) {
    const count = (verdict: string) => judged.filter(one => one.judgement.verdict === verdict).length
    lines.push(
      `Of ${judged.length} claims that this study can test, it supports ${count('supported')}, contradicts ${count('contradicted')}, and calls ${count('tie')} a tie.`,
    )
  }
  return lines
}

/** What was run and what it shows, for a terminal. */
export function describeStudy(study: StudyData): string[] {
  const data = reportData(study)
  return [whatWasRun(data), ...findings(data).map(line => `- ${line}`)]
}
