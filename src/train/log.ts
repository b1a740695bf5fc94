// The log of a run: log.jsonl, one JSON object a step. A resumed run drops the lines after the state it goes on from.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from '../text/cache.ts'

/** A line of the log. */
export interface LogLine {
  step: number
  tokens: number
  /** Training loss of the step's batch, before its update; null where it is not a number. */
  loss: number | null
  lr: number
  /** Before clipping. */
  gradNorm: number | null
  tokensPerSecond: number
  /** Seconds of the whole run so far, validation and saving included. */
  seconds: number
  /** After the update, where the step was one of validation. */
  validLoss?: number | null
  validStandardError?: number | null
}

/** A log that is being written. */
export interface RunLog {
  readonly lines: LogLine[]
  add(line: LogLine): void
}

/** Opens the log of a folder, with the lines up to `step` (a line that a crash cut short is dropped too). */
export async function openLog(folder: string, step: number): Promise<RunLog> {
  const path = join(folder, 'log.jsonl')
  const lines: LogLine[] = []
  if (step > 0 && existsSync(path))
    for (const text of readFileSync(path, 'utf8').split('\n').slice(0, -1)) {
      const line = JSON.parse(text) as LogLine
      if (line.step <= step) lines.push(line)
    }
  await writeWhole(path, lines.map(line => `${JSON.stringify(line)}\n`).join(''))
  return {
    lines,
    add(line) {
      lines.push(line)
      appendFileSync(path, `${JSON.stringify(line)}\n`)
    },
  }
}
