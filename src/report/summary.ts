// What was run and what it shows, in a few sentences: the head of the report and the last lines of `bitlaw study run`.

import { findLaw } from '../laws/index.ts'
import type { StudyData } from '../study/read.ts'
import { judgeClaims } from './claims.ts'
import { damageExponents, plainDamage } from './damage.ts'
import { type ReportData, reportData, short } from './data.ts'
import { type FitDocument, PAPER_R2 } from './fits.ts'
import { jointRows, PARTS, seedNoise, sharePoints } from './shares.ts'
import { meanOf, rSquared } from './statistics.ts'

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
  const corpora = [...new Set(trainings.map(one => one.corpus).filter(Boolean))].join(', ') || 'corpus not named'
  return `${trainings.length} model${trainings.length > 1 ? 's' : ''} of ${range(trainings.map(one => one.n))} parameters on ${range(trainings.map(one => one.d))} tokens (${corpora}), and ${quantized.length} quantizations of them${rest ? `; ${rest}` : ''}.`
}

/** When and on what machines: dates, processors, instruction paths, seeds; nothing where the ledger does not say. */
export function whereItRan({ study, trainings }: ReportData): string {
  const unique = (values: readonly (string | null | undefined)[]) => [...new Set(values.filter(Boolean))]
  const days = unique(study.runs.map(run => run.finishedAt?.slice(0, 10))).sort()
  const machines = unique(
    study.runs.map(run => {
      const machine = run.machine as { cpu?: string; cores?: number } | null
      return machine?.cpu ? `${machine.cores ?? '?'} cores of ${machine.cpu}` : null
    }),
  )
  const paths = unique(study.runs.map(run => run.isa))
  const versions = unique(study.runs.map(run => (run.versions as { bitlaw?: string } | null)?.bitlaw))
  const seeds = [...new Set(trainings.map(one => one.seed))].sort((a, b) => a - b)
  const parts = [
    days.length > 0 ? (days.length > 1 ? `${days[0]} to ${days[days.length - 1]}` : days[0]) : '',
    machines.join('; '),
    paths.length > 0 ? `instruction path ${paths.join(', ')}` : '',
    seeds.length > 0 ? `seed${seeds.length > 1 ? 's' : ''} ${seeds.join(', ')}` : '',
    versions.length > 0 ? `Bitlaw ${versions.join(', ')}` : '',
  ]
  return parts.filter(Boolean).join(' · ')
}

function shareFindings(data: ReportData): string[] {
  const points = sharePoints(data)
  return PARTS.flatMap(part => {
    const own = points.filter(point => point.part === part.name)
    if (own.length === 0) return []
    const fewest = Math.min(...own.map(point => point.bits))
    const shares = own.filter(point => point.bits === fewest).map(point => point.share)
    const percent = (share: number) => (100 * share).toFixed(0)
    return [
      `Training with ${short(fewest)}-bit ${part.name} acted like ${percent(meanOf(shares))}% of the parameters (${shares.length === 1 ? 'one run' : `${shares.length} runs, from ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))}%`}).`,
    ]
  })
}

function damageFindings(data: ReportData): string[] {
  const exponents = damageExponents(data)
  return [3, 4].flatMap(k => {
    const rows = plainDamage(data).filter(one => one.k === k)
    if (rows.length < 2) return []
    const words = ({ delta, interval }: (typeof rows)[number]) =>
      `${delta.toFixed(4)} nats [${interval.map(x => x.toFixed(4)).join(', ')}]`
    const least = rows.reduce((a, b) => (a.delta <= b.delta ? a : b))
    const most = rows.reduce((a, b) => (a.delta >= b.delta ? a : b))
    const exponent = exponents.find(one => one.k === k)
    return [
      `Quantizing ${rows.length} models to ${k} bits cost between ${words(least)} and ${words(most)}${exponent ? `; at equal size it went as D^${exponent.exponent.toFixed(2)} [${exponent.low.toFixed(2)}, ${exponent.high.toFixed(2)}] (the paper: D^0.51)` : ''}.`,
    ]
  })
}

function lawFindings(data: ReportData): string[] {
  const noise = seedNoise(data)
  const lines = data.study.fits.flatMap(row => {
    const { law, rows, rSquared: r2, heldOut } = row.document as FitDocument
    if (r2 === undefined) return []
    const paper = PAPER_R2[law] ? ` (the paper prints ${PAPER_R2[law]})` : ''
    const apart = heldOut
      ? `; fitted without the runs held out, it is off by ${heldOut.rmse.toFixed(4)} nats on those${noise && findLaw(law).response !== 'delta' ? `, ${(heldOut.rmse / noise.spread).toPrecision(2)} times the spread between seeds` : ''}`
      : ''
    return [`${law} fits ${rows === undefined ? '' : `${rows} rows `}with R² ${r2.toFixed(4)}${paper}${apart}.`]
  })
  const joint = jointRows(data)
  const r2 = (predicted: (row: (typeof joint)[number]) => number) =>
    rSquared(
      joint.map(row => row.measured),
      joint.map(predicted),
    )
  const [product, fitted] = [r2(row => row.predicted), r2(row => row.fitted)]
  if (Number.isFinite(product))
    lines.push(
      `On ${joint.length} jointly quantized runs the product of the parts' own factors has R² ${product.toFixed(4)} (the paper: 0.9006)${Number.isFinite(fitted) ? `, the joint fit ${fitted.toFixed(4)} (the paper: 0.8973)` : ''}.`,
    )
  return lines
}

/** True sentences about what came out, each with its number. */
export function findings(data: ReportData): string[] {
  const lines = [...shareFindings(data), ...damageFindings(data), ...lawFindings(data)]
  const judged = judgeClaims(data)
  const count = (verdict: string) => judged.filter(one => one.judgement.verdict === verdict).length
  const testable = judged.length - count('not testable here')
  if (testable > 0)
    lines.push(
      `Of ${judged.length} claims this study can test ${testable}: it supports ${count('supported')}, contradicts ${count('contradicted')}, and calls ${count('tie')} a tie.`,
    )
  return lines
}

/** What was run and what it shows, for a terminal. */
export function describeStudy(study: StudyData): string[] {
  const data = reportData(study)
  return [whatWasRun(data), ...findings(data).map(line => `- ${line}`)]
}
