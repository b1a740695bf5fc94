// The result files in a study's folder: what repair reads, and what is taken away before failures are tried again.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readJson } from './files.ts'
import type { ResultFile } from './work.ts'

/** All result files of a study: of trainings in runs/<key>, of scorings one folder below, of rows measured elsewhere in runs/import-<key>. */
export function resultFiles(folder: string): string[] {
  const runs = join(folder, 'runs')
  if (!existsSync(runs)) return []
  return readdirSync(runs)
    .sort()
    .flatMap(name => {
      const inside = join(runs, name)
      const scored = readdirSync(inside)
        .filter(entry => entry.startsWith('measure-'))
        .sort()
      return [inside, ...scored.map(entry => join(inside, entry))]
        .map(place => join(place, 'result.json'))
        .filter(existsSync)
    })
}

/** A result file, or undefined where it cannot be read as one. */
export function readResultFile(path: string): ResultFile | undefined {
  try {
    const result = readJson<ResultFile>(path)
    return result?.outcome ? result : undefined
  } catch {
    return undefined
  }
}

/** Takes away the results that hold failures, so that their jobs are done again: of a scoring all that it left, of a training the result (its checkpoints stay), of someone else's trainer its folder. */
export function forgetFailedResults(folder: string): void {
  for (const path of resultFiles(folder)) {
    const result = readResultFile(path)
    if (!result) continue
    const { runs, measurements } = result.outcome
    if (![...runs, ...measurements].some(row => row.state === 'failed')) continue
    if (result.kind === 'measure') rmSync(dirname(path), { recursive: true })
    else {
      if (runs.some(run => run.kind === 'external'))
        rmSync(join(dirname(path), 'training'), { recursive: true, force: true })
      rmSync(path)
    }
  }
}
