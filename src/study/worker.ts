// Joins a study whose ledger is on a server: takes its jobs like the process that began it, until none is left.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { patiently } from './ledger/errors.ts'
import { findStudy } from './ledger/queries.ts'
import { type RunnerState, runJobs } from './runner.ts'
import { openStudy, REAL_WORK } from './study.ts'

/** What a worker is told. */
export interface WorkerOptions {
  /** The study's folder, on a file system that all workers share. */
  folder: string
  processes: number
  url?: string
  work?: string
  leaseSeconds?: number
  /** How long to wait for the study to be begun. */
  waitSeconds?: number
  signal?: AbortSignal
  onChange?(state: RunnerState): void
}

async function until(
  done: () => boolean | Promise<boolean>,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  for (const end = Date.now() + seconds * 1000; ; ) {
    if (await done()) return true
    if (Date.now() > end || signal?.aborted) return false
    await new Promise(next => setTimeout(next, 500))
  }
}

/** Works for a study until it has no job left. */
export async function runWorker(options: WorkerOptions): Promise<RunnerState & { stopped: boolean }> {
  const {
    folder,
    processes,
    url = process.env['DATABASE_URL'],
    work = REAL_WORK,
    leaseSeconds = 60,
    waitSeconds = 60,
    signal,
  } = options
  if (!url)
    throw new RequestError(
      'a worker needs a server, expected its address in DATABASE_URL (an embedded ledger has one owner, whose --threads says how many runs go at once)',
    )
  const at = resolve(folder)
  if (!(await until(() => existsSync(join(at, 'study.json')), waitSeconds, signal)))
    throw new RequestError(
      `no study in '${folder}', expected a folder that 'bitlaw study run' made, on a file system that the workers share`,
    )
  const study = await openStudy(at, { url, leaseSeconds })
  const { ledger, queue, spec, file } = study
  try {
    if (
      !(await until(
        async () => Boolean(await patiently(ledger, () => findStudy(ledger, spec.name))),
        waitSeconds,
        signal,
      ))
    )
      throw new RequestError(
        `the study '${spec.name}' is not in ${ledger.place}, expected 'bitlaw study run' with the same DATABASE_URL`,
      )
    return await runJobs({
      ledger,
      queue,
      spec,
      folder: study.folder,
      roots: file.roots,
      processes,
      work,
      leaseSeconds,
      signal,
      onChange: options.onChange,
    })
  } finally {
    await study.close()
  }
}
