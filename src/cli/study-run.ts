// `bitlaw study run`: plans a study and runs it to its end, or says with --dry-run what that would take.
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { writeReport } from '../report/report.ts'
import { describeStudy } from '../report/summary.ts'
import { usualProcesses } from '../study/calibrate.ts'
import { type PlanCost, planCost } from '../study/cost.ts'
import { type PlannedRun, plannedColumns } from '../study/expand.ts'
import { fitFolder } from '../study/fit.ts'
import { type Choice, choosePlan, prepareData, sumsOf } from '../study/prepare.ts'
import { profileStudy } from '../study/profile.ts'
import { readStudy } from '../study/read.ts'
import { tableRows } from '../study/rows.ts'
import type { Spec } from '../study/spec.ts'
import { taskName } from '../study/status.ts'
import { runStudy } from '../study/study.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { checkOutputFolder, threadsOf } from './options.ts'
import { printJson, printText, table } from './output.ts'
import { startProgress } from './progress.ts'
import { placeOf, type StudyOptions } from './study-place.ts'
import { printFits, printProfile, printRows } from './study-tables.ts'

const processesOf = (options: StudyOptions): number => threadsOf(options.threads) ?? usualProcesses()

function sampleOf(options: StudyOptions): { share: number; seed: number } | null {
  if (options.sample === undefined) return null
  const share = options.sample.endsWith('%') ? Number(options.sample.slice(0, -1)) / 100 : Number(options.sample)
  if (!(share > 0 && share <= 1))
    throw new RequestError(`--sample '${options.sample}' is not a share above 0, at most 1, like 0.05`)
  const seed = Number(options.seed ?? 0)
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RequestError(`--seed '${options.seed}' is not a whole number from 0`)
  return { share, seed }
}

const budgetOf = (options: StudyOptions, spec: Spec) =>
  options.budget === undefined
    ? spec.budget
      ? spec.budget.hours * 3600
      : null
    : parseQuantity(options.budget, 'seconds', '--budget')

function printPlan(
  spec: Spec,
  cost: PlanCost,
  {
    leftOut,
    processes,
    sample,
    whole,
  }: { leftOut: number; processes: number; sample: Choice['sample']; whole: PlanCost },
): void {
  const kinds = Object.entries(cost.byKind).map(([kind, { runs, flops, seconds }]) => [
    kind,
    runs,
    printQuantity(flops, 'flops'),
    printQuantity(seconds, 'seconds'),
  ])
  const time = (seconds: number) => printQuantity(seconds, 'seconds')
  const { training, quantizing, evaluating } = cost.work
  printText(table(['model', 'runs', 'training', 'one core'], kinds))
  printText(
    `\n${spec.name}: ${cost.runs} runs, ${cost.quantizations} quantizations, ${cost.evaluations} evaluations; ${printQuantity(cost.flops, 'flops')}, about ${time(cost.seconds)} with ${processes} at once (of one core: training ${time(training)}, quantizing ${time(quantizing)}, evaluating ${time(evaluating)}), ${printQuantity(cost.bytes, 'bytes')} of checkpoints`,
  )
  if (sample)
    printText(
      `a random ${100 * sample.share}% of the study (seed ${sample.seed}): ${cost.runs} of ${whole.runs} runs, ${((100 * cost.seconds) / Math.max(whole.seconds, 1e-9)).toFixed(1)}% of its ${time(whole.seconds)}`,
    )
  else if (leftOut) printText(`${leftOut} runs left out for the budget`)
}

function listRuns(runs: readonly PlannedRun[]): void {
  const lines = runs.map(run => {
    const { n, d, pW, pA, pKv, schedule, seed, corpus } = plannedColumns(run)
    const name = run.point ? `${printQuantity(n ?? 0)} parameters` : String(run.config['model'])
    return `${run.key.slice(0, 16)}  ${name}, ${d === null ? '?' : printQuantity(d)} tokens, ${pW ?? 16}/${pA ?? 16}/${pKv ?? 16} bits, ${schedule ?? ''}, seed ${seed ?? ''}, ${corpus ?? ''}`
  })
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** `study run`: what is not done yet, or with --dry-run what that would be. */
export async function runVerb(path: string, options: StudyOptions): Promise<void> {
  const place = placeOf(path, options.out)
  const processes = processesOf(options)
  const seconds = budgetOf(options, place.spec)
  const sample = sampleOf(options)
  const plan = (spec: Spec) => choosePlan(spec, { processes, seconds, sample })
  if (options.dryRun) {
    const { runs, leftOut, rates, whole } = await plan(place.spec)
    const cost = planCost(place.spec, runs, rates, processes)
    if (options.json)
      return printJson({ ...cost, leftOut, processes, ...(sample ? { sample, wholeSeconds: whole.seconds } : {}) })
    if (options.list) listRuns(runs)
    return printPlan(place.spec, cost, { leftOut, processes, sample, whole })
  }
  checkOutputFolder(place.folder, '--out')
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
    async plan(spec) {
      const { runs, rates, leftOut, whole } = await plan(spec)
      const cost = planCost(spec, runs, rates, processes)
      if (sample && !options.json) printPlan(spec, cost, { leftOut, processes, sample, whole })
      return sumsOf(spec, runs, processes, rates, sample)
    },
    planKey: sample === null ? seconds : { seconds, sample },
    retryFailed: options.retryFailed,
    signal: stop.signal,
    onChange(state, planned, before, secondsLeft) {
      const total = Math.max(planned.jobs, before + state.finished)
      progress ??= startProgress(place.spec.name, total, 'jobs', { quiet: options.json, before })
      const share = state.running.reduce((sum, { progress: { share } }) => sum + share, 0)
      const note = state.running
        .map(({ task, progress: { loss } }) => `${taskName(task)}${loss === undefined ? '' : ` ${loss.toFixed(3)}`}`)
        .join(' | ')
      progress.update(Math.min(total, before + state.finished + share), note, secondsLeft)
    },
  })
  progress?.stop()
  process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  if (result.stopped) {
    process.stderr.write(
      `stopped; 'bitlaw study run ${path}${options.out === undefined ? '' : ` --out ${options.out}`}' goes on\n`,
    )
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
      ...(sample ? { profile: profileStudy(study) } : {}),
      rows: tableRows(study.runs, study.measurements),
      fits: fits.map(one => one.fit ?? one),
    })
  printRows(tableRows(study.runs, study.measurements))
  for (const failure of failures.slice(0, 10)) printText(`failed: ${failure.key.slice(0, 16)}: ${failure.reason}`)
  if (failures.length > 10) printText(`… and ${failures.length - 10} more failures`)
  printFits(fits)
  if (sample) printProfile(profileStudy(study))
  printText(`\n${describeStudy(study).join('\n')}\n\nreport: ${report}`)
}
