// `bitlaw study`: the whole sweep, resumable; and what is asked of it while and after it runs.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Command } from 'commander'
import { RequestError } from '../formats/error.ts'
import { writeReport } from '../report/report.ts'
import { describeStudy } from '../report/summary.ts'
import { EXPORT_FORMATS, exportStudy } from '../study/export.ts'
import { fitFolder } from '../study/fit.ts'
import { importRows } from '../study/import.ts'
import { profileStudy } from '../study/profile.ts'
import { readStudy, studyStatus } from '../study/read.ts'
import { repairStudy } from '../study/repair.ts'
import { openStudy } from '../study/study.ts'
import { printQuantity } from '../table/quantity.ts'
import { checkOutputFile, checkOutputFolder, oneOf, wholeNumber } from './options.ts'
import { printJson, printText } from './output.ts'
import { placeOf, type StudyOptions } from './study-place.ts'
import { runVerb } from './study-run.ts'
import { printFits, printProfile } from './study-tables.ts'

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
    .option(
      '--sample <share>',
      'a random share of the trainings with all that is done of them (0.05), to try the prediction',
    )
    .option('--seed <n>', 'of the sample', '0')
    .option('--threads <n>', 'runs at once, one thread each (one a core)')
    .option('--retry-failed', 'do again what failed')
    .action(runVerb)
  verb('status', 'where a study is, from another terminal too').action(statusVerb)
  verb('profile', 'predicted and measured time, by model and kind of work').action(profileVerb)
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

async function reportVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder } = placeOf(path, undefined)
  const report = options.out ?? join(folder, 'report.html')
  checkOutputFile(options.out, '--out')
  const study = await readStudy(folder)
  writeReport(study, report)
  if (options.json) printJson({ study: study.file.name, report, findings: describeStudy(study) })
  else printText(`${describeStudy(study).join('\n')}\n\nreport: ${report}`)
}

async function fitVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder, spec } = placeOf(path, options.out)
  const laws = options.laws?.split(',').map(name => name.trim()) ?? spec.fit?.laws ?? []
  if (!laws.length) throw new RequestError(`the study '${spec.name}' names no laws to fit, expected --laws or fit.laws`)
  const bootstrap =
    options.bootstrap === undefined ? {} : { bootstrap: wholeNumber(options.bootstrap, '--bootstrap', 0) }
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

async function profileVerb(path: string, options: StudyOptions): Promise<void> {
  const profile = profileStudy(await readStudy(placeOf(path, options.out).folder))
  if (options.json) printJson(profile)
  else printProfile(profile)
}

async function exportVerb(path: string, options: StudyOptions): Promise<void> {
  const { folder } = placeOf(path, undefined)
  const format = oneOf(String(options.format), EXPORT_FORMATS, 'format')
  checkOutputFolder(options.out, '--out')
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
  for (const file of files)
    if (!existsSync(file) || !statSync(file).isFile()) throw new RequestError(`no table at '${file}', expected a file`)
  const study = await openStudy(folder, { create: { text, source, spec } })
  try {
    const imported = []
    for (const file of files) {
      imported.push({
        file,
        ...(await importRows(folder, study.ledger, spec.name, basename(file), readFileSync(file), mapping)),
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
