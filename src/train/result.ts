// What a run came to: the document of `bitlaw train --json`, kept as result.json in the run's folder.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from '../text/cache.ts'
import type { PrecisionConfig, ScheduleConfig } from './config.ts'
import type { Verdict } from './divergence.ts'

/** A checkpoint along the run. */
export interface CheckpointResult {
  folder: string
  d: number
  loss: number | null
  lossStandardError: number | null
  /** Learning rate at the checkpoint over its peak. */
  lrFraction: number
}

/** The result of a run. Losses are nats a token; null where they are no number. */
export interface RunResult {
  /** Name of the configuration, else a hash of it. */
  run: string
  family: string
  corpus: string
  vocab: number
  seed: number
  schedule: ScheduleConfig
  /** Peak learning rate. */
  lr: number
  n: number
  nTotal: number
  d: number
  uniqueTokens: number
  epochs: number
  precision: PrecisionConfig
  /** Validation loss of the checkpoint, rounded as in training. */
  loss: number | null
  lossStandardError: number | null
  /** The same of the last weights, where the checkpoint holds an average. */
  lossBeforeAverage?: number | null
  /** Mean training loss of the last fiftieth of the steps. */
  trainLoss: number | null
  validTokens: number
  tokensPerSecond: number
  seconds: number
  diverged: boolean
  /** Why it diverged. */
  verdict: Verdict
  /** Folder of the final checkpoint. */
  checkpoint: string
  /** Those along the run that were asked for, and the final one. */
  checkpoints: CheckpointResult[]
  /** Instruction path; several joined by + where the run was resumed on another. */
  isa: string
  threads: number
  build: string
  warnings: string[]
}

/** result.json of a run's folder, or undefined. */
export function readResult(out: string): RunResult | undefined {
  const path = join(out, 'result.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as RunResult) : undefined
}

/** Writes result.json whole or not at all. */
export async function writeResult(out: string, result: RunResult): Promise<void> {
  await writeWhole(join(out, 'result.json'), `${JSON.stringify(result, null, 1)}\n`)
}
