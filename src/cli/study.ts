// `bitlaw study`: the whole sweep, resumable; and what is asked of it while and after it runs.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Command } from 'commander'
import { didYouMean, RequestError } from '../formats/error.ts'
import { writeReport } from '../report/report.ts'
import { describeStudy } from '../report/summary.ts'
import { calibrate, usualProcesses } from '../study/calibrate.ts'
import { type PlanCost, planCost } from '../study/cost.ts'
import { type PlannedRun, plannedColumns } from '../study/expand.ts'
import { EXPORT_FORMATS, type ExportFormat, exportStudy } from '../study/export.ts'
import { fitStudy, type LawFit } from '../study/fit.ts'
import { importRows } from '../study/import.ts'
import { choosePlan, prepareData, sumsOf } from '../study/prepare.ts'
import { readStudy, studyStatus } from '../study/read.ts'
import { repairStudy } from '../study/repair.ts'
import { tableRows } from '../study/rows.ts'
import { parseSpec, type Spec } from '../study/spec.ts'
import { taskName } from '../study/status.ts'
import { openStudy, runStudy } from '../study/study.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { printJson, printText, table } from './output.ts'
import { startProgress } from './progress.ts'

interface StudyOptions {
  out?: string
  budget?: string
  threads?: string
  dryRun?: boolean
  list?: boolean
  retryFailed?: boolean
  json?: boolean
  laws?: string
  bootstrap?: string
  format?: string
  columns?: string
}

/** Arguments, options and actions of the verb. */
export function register(command: Command): void {
  const verb = (name: string, summary: string) =>
    command
      .command(name)
      .description(summary)
      .argument('<spec>', "specification (YAML or JSON), or the study's folder")
      .option('--out <dir>', "the study's folder (out/ and the study's name)")
      .option('--json', 'print one JSON document')
  verb('run', 'trains, quantizes, scores and fits what is not done yet')
    .option('--dry-run', 'say what would run, how long and how large, and stop')
    .option('--list', 'with --dry-run: a line for each run')
    .option('--budget <time>', 'at most so long on this machine (6h, 90m): the least informative runs are left out')
    .option('--threads <n>', 'runs at once, one thread each (one a core)')
    .option('--retry-failed', 'do again what failed')
    .action(runVerb)
  verb('status', 'where a study is, from another terminal too').action(statusVerb)
  verb('fit', "fits laws to the study's rows")
    .option('--laws <names>', "comma-separated (the specification's)")
    .option('--bootstrap <n>', 'resamples for the intervals')
    .action(fitVerb)
  verb('report', 'draws the report: one HTML file').action(reportVerb)
  verb('export', 'writes rows, runs, measurements and a dictionary of their columns')
    .option('--format <name>', EXPORT_FORMATS.join(', '), 'csv')
    .action(exportVerb)
  command
    .command('import')
    .description('adds runs that were measured elsewhere (CSV, JSON lines, Parquet, a W&B export)')
    .argument('<spec>', "specification, or the study's folder")
    .argument('<file...>', 'tables of runs')
    .option('--out <dir>', "the study's folder (out/ and the study's name)")
    .option('--columns <names>', 'columns under other names: N=params,loss=val_loss')
    .option('--json', 'print one JSON document')
    .action(importVerb)
  verb('repair', "rebuilds the ledger from the runs' folders").action(repairVerb)
}

interface Place {
  folder: string
  text: string
  source: string
  spec: Spec
}

/** The specification and the folder that an argument means: a specification's file, or a study's folder. */
function placeOf(path: string, out: string | undefined): Place {
  if (!existsSync(path)) throw new RequestError(`no specification or study at '${path}'`)
  if (statSync(path).isDirectory()) {
    const study = join(path, 'study.json')
    if (!existsSync(study))
      throw new RequestError(`'${path}' is not a study's folder, expected one with study.json, or a specification`)
    const { spec: text, source } = JSON.parse(readFileSync(study, 'utf8')) as { spec: string; source: string }
    return { folder: path, text, source, spec: parseSpec(text, source) }
  }
  const text = readFileSync(path, 'utf8')
  const spec = parseSpec(text, path)
  return { folder: out ?? join('out', spec.name), text, source: path, spec }
}

function processesOf(options: StudyOptions): number {
  if (options.threads === undefined) return usualProcesses()
  const threads = parseQuantity(options.threads, 'count', '--threads')
  if (!Number.isSafeInteger(threads) || threads < 1)
    throw new RequestError(`--threads '${options.threads}' is not a whole number from 1`)
  return threads
}

const budgetOf = (options: StudyOptions, spec: Spec) =>
  options.budget === undefined
    ? spec.budget
      ? spec.budget.hours * 3600
      : null
    : parseQuantity(options.budget, 'seconds', '--budget')

function printPlan(spec: Spec, cost: PlanCost, leftOut: number, processes: number): void {
  const kinds = Object.entries(cost.byKind).map(([kind, { runs, flops, seconds }]) => [
    kind,
    runs,
    printQuantity(flops, 'flops'),
    printQuantity(seconds, 'seconds'),
  ])
  printText(table(['model', 'runs', 'training', 'one core'], kinds))
  printText(
    `\n${spec.name}: ${cost.runs} runs, ${cost.quantizations} quantizations, ${cost.evaluations} evaluations; ${printQuantity(cost.flops, 'flops')}, about ${printQuantity(cost.seconds, 'seconds')} with ${processes} at once, ${printQuantity(cost.bytes, 'bytes')} of checkpoints${leftOut ? `; ${leftOut} runs left out for the budget` : ''}`,
  )
}

function listRuns(runs: readonly PlannedRun[]): void {
  const lines = runs.map(run => {
    const { n, d, pW, pA, pKv, schedule, seed, corpus } = plannedColumns(run)
    const name = run.point ? `${printQuantity(n ?? 0)} parameters` : String(run.config['model'])
    return `${run.key.slice(0, 16)}  ${name}, ${d === null ? '?' : printQuantity(d)} tokens, ${pW ?? 16}/${pA ?? 16}/${pKv ?? 16} bits, ${schedule ?? ''}, seed ${seed ?? ''}, ${corpus ?? ''}`
  })
  process.stdout.write(`${lines.join('\n')}\n`)
}

async function runVerb(path: string, options: StudyOptions): Promise<void> {
  const place = placeOf(path, options.out)
  const processes = processesOf(options)
  const seconds = budgetOf(options, place.spec)
  const plan = async (spec: Spec) => choosePlan(spec, calibrate(), processes, seconds)
  if (options.dryRun) {
    const { runs, leftOut } = await plan(place.spec)
    const cost = planCost(place.spec, runs, calibrate(), processes)
    if (options.json) return printJson({ ...cost, leftOut, processes })
    if (options.list) listRuns(runs)
    return printPlan(place.spec, cost, leftOut, processes)
  }
  await prepareData(place.spec, place.source)
  const stop = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130)
    process.stderr.write('\nstopping: running trainings save their state (again to stop at once)\n')
    stop.abort()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  let progress: ReturnType<typeof startProgress> | undefined
  const result = await runStudy({
    ...place,
    processes,
    plan: async spec => sumsOf(spec, (await plan(spec)).runs, processes, calibrate()),
    planKey: seconds,
    retryFailed: options.retryFailed,
    signal: stop.signal,
    onChange(state, planned, before) {
      const total = Math.max(planned.jobs, before + state.finished)
      progress ??= startProgress(place.spec.name, total, 'jobs', { quiet: options.json })
      const share = state.running.reduce((sum, { progress: { share } }) => sum + share, 0)
      const note = state.running
        .map(({ task, progress: { loss } }) => `${taskName(task)}${loss === undefined ? '' : ` ${loss.toFixed(3)}`}`)
        .join(' | ')
      progress.update(Math.min(total, before + state.finished + share), note)
    },
  })
  progress?.stop()
  process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  if (result.stopped) {
    process.stderr.write(`stopped; 'bitlaw study run ${path}' goes on\n`)
    process.exitCode = 130
    return
  }
  const fits = await fitFolder(place.folder, place.spec.fit?.laws ?? [], {})
  const study = await readStudy(place.folder)
  const failures = [...study.runs, ...study.measurements].filter(row => row.state === 'failed')
  const report = join(place.folder, 'report.html')
  writeReport(study, report)
  if (options.json)
    return printJson({
      study: study.file.name,
      folder: place.folder,
      report,
      runs: study.runs.length,
      measurements: study.measurements.length,
      failed: failures.length,
      rows: tableRows(study.runs, study.measurements),
      fits: fits.map(one => one.fit ?? one),
    })
  printRows(tableRows(study.runs, study.measurements))
  for (const failure of failures.slice(0, 10)) printText(`failed: ${failure.key.slice(0, 16)}: ${failure.reason}`)
  if (failures.length > 10) printText(`… and ${failures.length - 10} more failures`)
  printFits(fits)
  printText(`\n${describeStudy(study).join('\n')}\n\nreport: ${report}`)
}

async function reportVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder } = placeOf(path, undefined)
  const report = options.out ?? join(folder, 'report.html')
  const study = await readStudy(folder)
  writeReport(study, report)
  if (options.json) printJson({ study: study.file.name, report, findings: describeStudy(study) })
  else printText(`${describeStudy(study).join('\n')}\n\nreport: ${report}`)
}

const ROWS_SHOWN = 40

function printRows(rows: ReturnType<typeof tableRows>): void {
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

function printFits(fits: readonly LawFit[]): void {
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

async function fitFolder(folder: string, laws: readonly string[], options: { bootstrap?: number }): Promise<LawFit[]> {
  if (!laws.length) return []
  const study = await openStudy(folder)
  try {
    return await fitStudy(study.ledger, study.spec, laws, options)
  } finally {
    await study.close()
  }
}

async function fitVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder, spec } = placeOf(path, options.out)
  const laws = options.laws?.split(',').map(name => name.trim()) ?? spec.fit?.laws ?? []
  if (!laws.length) throw new RequestError(`the study '${spec.name}' names no laws to fit, expected --laws or fit.laws`)
  const bootstrap =
    options.bootstrap === undefined ? {} : { bootstrap: parseQuantity(options.bootstrap, 'count', '--bootstrap') }
  const fits = await fitFolder(folder, laws, bootstrap)
  if (options.json) printJson({ study: spec.name, fits: fits.map(one => one.fit ?? one) })
  else printFits(fits)
}

async function statusVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder } = placeOf(path, options.out)
  const status = await studyStatus(folder)
  if (options.json) return printJson(status)
  const { runs, measurements, secondsLeft, running } = status
  printText(
    `${status.name}: runs ${runs.done} done, ${runs.running} running, ${runs.waiting} waiting, ${runs.failed} failed, ${runs.diverged} diverged; ${measurements.done} of ${measurements.planned} measurements${secondsLeft === null || secondsLeft === 0 ? '' : `; about ${printQuantity(secondsLeft, 'seconds')} left`}`,
  )
  for (const task of running)
    printText(
      `  ${task.kind} ${task.name}: ${Math.round(100 * task.share)}%${task.loss === null ? '' : `, loss ${task.loss.toFixed(3)}`}${task.tokensPerSecond === null ? '' : `, ${printQuantity(task.tokensPerSecond)} tokens/s`}`,
    )
}

async function exportVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder } = placeOf(path, undefined)
  const format = options.format as ExportFormat
  if (!EXPORT_FORMATS.includes(format))
    throw new RequestError(
      `unknown format '${options.format}', expected one of ${EXPORT_FORMATS.join(', ')}${didYouMean(String(options.format), EXPORT_FORMATS)}`,
    )
  const files = exportStudy(await readStudy(folder), options.out ?? join(folder, 'export'), format)
  if (options.json) printJson({ files })
  else for (const file of files) printText(file)
}

async function importVerb(path: string, files: string[], options: StudyOptions): Promise<void> {
  const { folder, text, source, spec } = placeOf(path, options.out)
  const mapping = Object.fromEntries(
    (options.columns?.split(',') ?? []).map(pair => {
      const [name, column] = pair.split('=').map(part => part.trim())
      if (!name || !column) throw new RequestError(`--columns '${pair}' is not of the form N=params`)
      return [name, column]
    }),
  )
  const study = await openStudy(folder, { create: { text, source, spec } })
  try {
    const imported = []
    for (const file of files) {
      if (!existsSync(file)) throw new RequestError(`no table at '${file}'`)
      imported.push({
        file,
        ...(await importRows(study.ledger, spec.name, basename(file), readFileSync(file), mapping)),
      })
    }
    if (options.json) return printJson({ study: spec.name, imported })
    for (const { file, rows, columns, leftOut } of imported) {
      printText(
        `${file}: ${rows} rows (${Object.entries(columns)
          .map(([name, column]) => (name === column ? name : `${name} from ${column}`))
          .join(', ')})`,
      )
      for (const reason of leftOut.slice(0, 10)) printText(`  left out: ${reason}`)
      if (leftOut.length > 10) printText(`  … and ${leftOut.length - 10} more`)
    }
  } finally {
    await study.close()
  }
}

async function repairVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder } = placeOf(path, options.out)
  const report = await repairStudy(folder)
  if (options.json) return printJson(report)
  printText(
    `${report.results} result files: ${report.runs} runs, ${report.measurements} measurements are in the ledger again`,
  )
  if (report.before) printText(`the ledger that was there is '${report.before}'`)
  for (const path of report.broken) printText(`cannot be read: ${path}`)
}
