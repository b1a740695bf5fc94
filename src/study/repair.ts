// Rebuilds a study's ledger from the result files in its runs' folders.
import { existsSync, renameSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expandRuns } from './expand.ts'
import { openLedger } from './ledger/open.ts'
import { saveMeasurements, saveRuns } from './ledger/queries.ts'
import { takeLock } from './lock.ts'
import { applyPlan, type Planned } from './plan.ts'
import { sumsOf } from './prepare.ts'
import { openQueue } from './queue.ts'
import { readResultFile, resultFiles } from './results.ts'
import { parseSpec } from './spec.ts'
import { readStudyFile } from './study.ts'

/** What a repair found. */
export interface RepairReport {
  results: number
  runs: number
  measurements: number
  /** Result files that cannot be read. */
  broken: string[]
  /** Where the embedded ledger that was there is now. */
  before: string | null
}

/** Rebuilds the ledger: an embedded one anew (the old one is kept beside it), on a server in place. What is not done is queued again. */
export async function repairStudy(folder: string, url = process.env['DATABASE_URL']): Promise<RepairReport> {
  const at = resolve(folder)
  const file = readStudyFile(at)
  const lock = url ? undefined : takeLock(at)
  try {
    let before: string | null = null
    if (!url && existsSync(join(at, 'ledger'))) {
      for (let i = 0; before === null || existsSync(before); i++)
        before = join(at, `ledger.before-repair${i ? `-${i}` : ''}`)
      renameSync(join(at, 'ledger'), before)
    }
    const spec = parseSpec(file.spec, file.source)
    const ledger = await openLedger(at, url)
    try {
      const queue = await openQueue(ledger, file.name)
      const report: RepairReport = { results: 0, runs: 0, measurements: 0, broken: [], before }
      const planned = expandRuns(spec)
      // Without a hash the next run plans anew, with this machine's calibration and what it is asked for.
      const plan: Planned = { ...sumsOf(spec, planned, 1), hash: '', runs: planned.length }
      // First the runs, so that their planned columns are there; then what is known of them over it; then the jobs that are left.
      await applyPlan(ledger, queue, spec, planned, { id: file.id, planned: plan, retryFailed: false })
      for (const path of resultFiles(at)) {
        const result = readResultFile(path)
        if (!result) {
          report.broken.push(path)
          continue
        }
        const { runs, measurements } = result.outcome
        await ledger.transaction(async connection => {
          await saveRuns(connection, file.name, runs, 'repair')
          await saveMeasurements(connection, file.name, measurements, 'repair')
        })
        report.results++
        report.runs += runs.length
        report.measurements += measurements.length
      }
      await applyPlan(ledger, queue, spec, planned, { id: file.id, planned: plan, retryFailed: false })
      await queue.close()
      return report
    } finally {
      await ledger.close()
    }
  } finally {
    lock?.release()
  }
}
