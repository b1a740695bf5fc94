// A study from its specification to a ledger that is complete: opens, plans, runs, closes. Doing it again goes on where it was.
import { randomUUID } from 'node:crypto'
import { existsSync, linkSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { RequestError } from '../formats/error.ts'
import type { PlannedRun } from './expand.ts'
import { machineError, makeFolder, readJson, writeWhole } from './files.ts'
import { keyOf } from './key.ts'
import { explain, patiently } from './ledger/errors.ts'
import { type Ledger, openLedger } from './ledger/open.ts'
import { countStates, findStudy } from './ledger/queries.ts'
import { type Lock, takeLock } from './lock.ts'
import { applyPlan, type Planned } from './plan.ts'
import { killOrphans, type Pool, startPool } from './pool.ts'
import { openQueue, type Queue } from './queue.ts'
import { forgetFailedResults } from './results.ts'
import { type RunnerState, runJobs } from './runner.ts'
import { parseSpec, type Spec } from './spec.ts'
import { removeStatus, startStatus } from './status.ts'

/** How long a worker of a server may be silent before its jobs are given to others. */
const LEASE_SECONDS = 60

/** The document that makes a folder a study's. */
export interface StudyFile {
  id: string
  name: string
  /** The specification's text, as it was last run. */
  spec: string
  /** Where it came from, for messages. */
  source: string
  /** Where its relative paths are looked for, in this order. */
  roots: string[]
}

/** An open study. */
export interface OpenStudy {
  folder: string
  ledger: Ledger
  queue: Queue
  file: StudyFile
  spec: Spec
  close(): Promise<void>
}

/** Address of the functions that really train and score. */
export const REAL_WORK = new URL(import.meta.url.endsWith('.ts') ? './real-work.ts' : './real-work.js', import.meta.url)
  .href

/** Paths are looked for where the command runs, then beside the specification. */
export function rootsOf(source: string): string[] {
  return [...new Set([process.cwd(), dirname(resolve(source))])]
}

/** The study's document, or a RequestError that says that the folder is none. */
export function readStudyFile(folder: string): StudyFile {
  const file = readJson<StudyFile>(join(folder, 'study.json'))
  if (!file)
    throw new RequestError(
      `'${folder}' is not a study's folder (it has no study.json), expected what 'bitlaw study run' made`,
    )
  return file
}

/** Writes the study's document, with the id that it has or, of processes that begin at the same moment, the one that the first of them gave it. */
function claimStudyFile(
  at: string,
  folder: string,
  { text, source, spec: { name } }: { text: string; source: string; spec: Spec },
): StudyFile {
  const path = join(at, 'study.json')
  const file = { id: randomUUID(), name, spec: text, source, roots: rootsOf(source) }
  const lines = (document: StudyFile) => `${JSON.stringify(document, null, 1)}\n`
  try {
    if (!existsSync(path)) {
      const mine = `${path}.${file.id}`
      writeWhole(mine, lines(file))
      try {
        linkSync(mine, path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      } finally {
        rmSync(mine, { force: true })
      }
    }
    const { id, name: before } = readStudyFile(at)
    if (before !== name)
      throw new RequestError(`the folder '${folder}' holds the study '${before}', expected '${name}' or another folder`)
    writeWhole(path, lines({ ...file, id }))
    return { ...file, id }
  } catch (error) {
    if (error instanceof RequestError) throw error
    throw machineError(`cannot write in the folder '${folder}'`, error)
  }
}

/** Takes the folder (unless a server holds the ledger), opens ledger and queue, and checks that this folder is this study's. */
export async function openStudy(
  folder: string,
  {
    url = process.env['DATABASE_URL'],
    create,
    leaseSeconds = LEASE_SECONDS,
    onHeld = () => {},
  }: {
    url?: string
    create?: { text: string; source: string; spec: Spec }
    leaseSeconds?: number
    /** Called when the folder is this process's own, before the ledger is opened. */
    onHeld?: (folder: string) => void
  } = {},
): Promise<OpenStudy> {
  const at = resolve(folder)
  let lock: Lock | undefined
  let ledger: Ledger | undefined
  try {
    try {
      if (create) makeFolder(at)
      else readStudyFile(at)
      if (!url) lock = takeLock(at)
    } catch (error) {
      if (error instanceof RequestError) throw error
      throw machineError(`cannot use the folder '${folder}'`, error)
    }
    const file = create ? claimStudyFile(at, folder, create) : readStudyFile(at)
    const spec = create?.spec ?? parseSpec(file.spec, file.source)
    try {
      onHeld(at)
    } catch (error) {
      throw machineError(`cannot use the folder '${folder}'`, error)
    }
    ledger = await openLedger(at, url)
    const here = ledger
    const row = await patiently(here, () => findStudy(here, file.name))
    if (row && row.id !== file.id)
      throw new RequestError(
        `the study '${file.name}' in ${ledger.place} belongs to another folder than '${folder}', expected that folder or another name`,
      )
    const queue = await patiently(here, () => openQueue(here, file.name, { leaseSeconds }))
    const [held, open] = [lock, ledger]
    return {
      folder: at,
      ledger,
      queue,
      file,
      spec,
      async close() {
        await queue.close().catch(() => {})
        await open.close().catch(() => {})
        held?.release()
      },
    }
  } catch (error) {
    await ledger?.close().catch(() => {})
    lock?.release()
    throw ledger ? explain(ledger, error) : error
  }
}

/** What a study run is told. */
export interface RunOptions {
  folder: string
  text: string
  source: string
  processes: number
  /** Which runs are wanted and what they cost; called only where the plan is not in the ledger yet. */
  plan(spec: Spec): Promise<{ runs: PlannedRun[] } & Omit<Planned, 'hash' | 'runs'>>
  /** Anything besides the specification that the plan depends on: a budget. */
  planKey?: unknown
  url?: string
  work?: string
  leaseSeconds?: number
  retryFailed?: boolean
  signal?: AbortSignal
  /** `before` jobs were done when this began; `secondsLeft` is null until something is known of it. */
  onChange?(state: RunnerState, planned: Planned, before: number, secondsLeft: number | null): void
}

/** Runs a study to its end, or until the signal; returns where it is. */
export async function runStudy(options: RunOptions): Promise<RunnerState & { stopped: boolean; planned: Planned }> {
  const {
    folder,
    text,
    source,
    processes,
    work = REAL_WORK,
    leaseSeconds = LEASE_SECONDS,
    retryFailed = false,
    signal,
  } = options
  const create = { text, source, spec: parseSpec(text, source) }
  let pool: Pool | undefined
  // The children load their modules while the ledger is opened.
  const onHeld = (at: string) => {
    killOrphans(at)
    pool = startPool(at, processes, create.spec.threads, work)
    pool.warm()
  }
  let study: OpenStudy
  try {
    study = await openStudy(folder, { url: options.url, create, leaseSeconds, onHeld })
  } catch (error) {
    await pool?.close()
    throw error
  }
  const { ledger, queue, spec, file } = study
  try {
    // The owner of an embedded ledger is alone: whatever is held, a dead one held.
    await patiently(ledger, () => queue.recover(ledger.kind === 'pglite'))
    const hash = keyOf({ spec, planKey: options.planKey ?? null })
    const row = await patiently(ledger, () => findStudy(ledger, spec.name))
    let planned = row?.planned as Planned | undefined
    if (planned?.hash !== hash || retryFailed) {
      const { runs, ...sums } = await options.plan(spec)
      if (retryFailed) forgetFailedResults(study.folder)
      const next: Planned = { hash, runs: runs.length, ...sums }
      await patiently(ledger, () => applyPlan(ledger, queue, spec, runs, { id: file.id, planned: next, retryFailed }))
      planned = next
    }
    const now = planned
    const { waiting, running } = await patiently(ledger, () => countStates(ledger, spec.name))
    const open = await patiently(ledger, () => queue.open())
    const before = Math.max(0, now.jobs - open.waiting - open.running - waiting - running)
    const status = startStatus(study, now, processes)
    try {
      const onChange = (state: RunnerState) => {
        status.update(state)
        options.onChange?.(state, now, before, status.secondsLeft())
      }
      const result = await runJobs({
        ledger,
        queue,
        spec,
        folder: study.folder,
        roots: file.roots,
        processes,
        work,
        leaseSeconds,
        pool,
        signal,
        onChange,
      })
      return { ...result, planned: now }
    } finally {
      status.stop()
      removeStatus(study.folder)
    }
  } catch (error) {
    throw explain(ledger, error)
  } finally {
    await pool?.close()
    await study.close()
  }
}
