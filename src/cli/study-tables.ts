// Rows, fits and times of a study as tables for people.
import type { LawFit } from '../study/fit.ts'
import type { StudyProfile } from '../study/profile.ts'
import type { tableRows } from '../study/rows.ts'
import { printQuantity } from '../table/quantity.ts'
import { printText, table } from './output.ts'

const ROWS_SHOWN = 40

/** The first rows of the table of runs. */
export function printRows(rows: ReturnType<typeof tableRows>): void {
  const digits = (value: unknown, places: number) => (typeof value === 'number' ? value.toFixed(places) : '')
  const bits = (row: (typeof rows)[number]) =>
    ['P_w', 'P_a', 'P_kv'].map((name, i) => row[['format_w', 'format_a', 'format_kv'][i]] ?? row[name]).join('/')
  const cells = rows
    .slice(0, ROWS_SHOWN)
    .map(row => [
      printQuantity(Number(row['N'])),
      printQuantity(Number(row['D'])),
      bits(row),
      row['method'] ? `${row['method']} ${row['format_post'] ?? ''}` : '',
      digits(row['loss'], 4),
      row['loss_before_ptq'] === null ? '' : digits(Number(row['loss']) - Number(row['loss_before_ptq']), 4),
    ])
  printText(table(['N', 'D', 'trained at', 'then', 'loss', 'change'], cells))
  if (rows.length > ROWS_SHOWN) printText(`… and ${rows.length - ROWS_SHOWN} more rows (bitlaw study export)`)
}

/** Each law with its parameters, or why it was not fitted. */
export function printFits(fits: readonly LawFit[]): void {
  for (const { law, fit, reason } of fits) {
    if (!fit) {
      printText(`\n${law}: not fitted, ${reason}`)
      continue
    }
    printText(
      `\n${law}: ${fit.rows} rows, rmse ${fit.rmse.toPrecision(3)}, R² ${fit.rSquared.toFixed(4)}, objective ${fit.objective.toPrecision(6)}`,
    )
    const cells = Object.entries(fit.parameters).map(([name, value]) => [
      name,
      value.toPrecision(4),
      fit.intervals[name]?.map(end => end.toPrecision(3)).join(' … ') ?? '',
    ])
    printText(table(['parameter', 'value', '95% interval'], cells))
    for (const warning of fit.warnings) printText(`note: ${warning}`)
  }
}

/** Predicted and measured time, by model and kind of work. */
export function printProfile(profile: StudyProfile): void {
  const seconds = (value: number) => (value > 0 ? printQuantity(value, 'seconds') : '')
  const ratio = (a: number, b: number) => (a > 0 && b > 0 ? (b / a).toFixed(2) : '')
  const kinds = ['training', 'quantizing', 'evaluating'] as const
  const lines = Object.entries(profile.byKind).flatMap(([name, group]) =>
    kinds.map(kind => [name, String(group.runs), kind, group[kind]] as const),
  )
  const sums = [...kinds.map(kind => ['all', String(profile.finished), kind, profile.work[kind]] as const)]
  const cells = [...lines, ...sums, ['all', String(profile.finished), 'together', profile.total] as const]
    .filter(([, , , { predicted, measured }]) => predicted > 0 || measured > 0)
    .map(([name, runs, kind, { predicted, measured, clock }]) => [
      name,
      runs,
      kind,
      seconds(predicted),
      seconds(measured),
      ratio(predicted, measured),
      seconds(clock),
    ])
  printText(table(['model', 'runs', 'work', 'predicted', 'measured', 'ratio', 'by the clock'], cells))
  const { clock, whole, processes, sample, finished, planned } = profile
  const of = sample ? ` (a random ${100 * sample.share}% of the study, seed ${sample.seed})` : ''
  printText(
    `\n${profile.study}: ${finished} of ${planned} runs are finished${of}. Seconds of one core: predicted before, and of the processor; by the clock other work on the machine counts too. With ${processes} at once ${printQuantity(clock.predicted, 'seconds')} were predicted${clock.measured === null ? '' : ` and ${printQuantity(clock.measured, 'seconds')} went by from the first start to the last result`}. The whole study: ${printQuantity(whole.predicted, 'seconds')} predicted, ${printQuantity(whole.corrected, 'seconds')} at the measured rates.`,
  )
}
