// Reads a study: what is finished, what came out, where it is. For reports, exports, fits and `study status`.
import { join } from 'node:path'
import { readJson } from './files.ts'
import { allFits, allMeasurements, allRuns, findStudy } from './ledger/queries.ts'
import type { FitRow, MeasurementRow, RunRow } from './ledger/schema.ts'
import { lockHolder } from './lock.ts'
import type { Planned } from './plan.ts'
import type { Spec } from './spec.ts'
import { type StudyStatus, statusFromLedger } from './status.ts'
import { openStudy, type StudyFile } from './study.ts'

/** Everything that a study's ledger holds. */
export interface StudyData {
  folder: string
  file: StudyFile
  spec: Spec
  planned: Planned | null
  runs: RunRow[]
  measurements: MeasurementRow[]
  fits: FitRow[]
}

/** Reads a whole study; throws a RequestError while another process owns its embedded ledger. */
export async function readStudy(
  folder: string,
  { url = process.env['DATABASE_URL'] }: { url?: string } = {},
): Promise<StudyData> {
  const study = await openStudy(folder, { url })
  const { ledger, file, spec } = study
  try {
    return {
      folder: study.folder,
      file,
      spec,
      planned: ((await findStudy(ledger, file.name))?.planned as Planned | undefined) ?? null,
      runs: await allRuns(ledger, file.name),
      measurements: await allMeasurements(ledger, file.name),
      fits: await allFits(ledger, file.name),
    }
  } finally {
    await study.close()
  }
}

/** Where a study is: from its owner's file while one runs, else from its ledger. */
export async function studyStatus(folder: string, url = process.env['DATABASE_URL']): Promise<StudyStatus> {
  // An owner that has just begun opens its ledger first.
  for (let i = 0; i < 20 && !url && lockHolder(folder); i++) {
    const written = readJson<StudyStatus>(join(folder, 'status.json'))
    if (written) return written
    await new Promise(resolve => setTimeout(resolve, 250))
  }
  const study = await openStudy(folder, { url })
  try {
    const planned = (await findStudy(study.ledger, study.spec.name))?.planned as Planned | undefined
    const none: Planned = { hash: '', runs: 0, measurements: 0, jobs: 0, flops: 0, seconds: 0 }
    const { left: _, ...counts } = await statusFromLedger(study.ledger, study.spec.name, planned ?? none, 0)
    // Nobody holds the folder: what the ledger still calls running was killed, and waits for the next owner.
    const { running, waiting, ...ended } = counts.runs
    const runs = url ? counts.runs : { ...ended, running: 0, waiting: waiting + running }
    return { ...counts, runs, running: [], updatedAt: new Date().toISOString() }
  } finally {
    await study.close()
  }
}
