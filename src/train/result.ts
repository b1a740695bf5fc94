// What a run came to: the document of `bitlaw train --json`, kept as result.json in the run's folder.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from '../text/cache.ts'
import { listCheckpoints } from './checkpoint.ts'
import type { PrecisionConfig, ScheduleConfig } from './config.ts'
import type { Verdict } from './divergence.ts'
import { joined } from './resume.ts'
import type { OpenRun } from './setup.ts'
import type { ValidationLoss } from './validation.ts'

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

/** validation.json: the mean loss of each held-out window, for intervals that pair two runs. */
export async function writeWindows(out: string, { windows }: ValidationLoss, context: number): Promise<void> {
  await writeWhole(join(out, 'validation.json'), `${JSON.stringify({ context, losses: [...windows].map(finite) })}\n`)
}

/** The number, or null where it is none: JSON has no NaN. */
export function finite(value: number | null): number | null {
  return Number.isFinite(value) ? value : null
}

/** The result of a run that has come to its end; `tokensPerSecond` null: as in its log. */
export function summarize(
  { run, name, data, plan, kernels, state, position, log, lrFraction, out }: OpenRun,
  end: { checkpoint: string; valid: ValidationLoss; seconds: number; tokensPerSecond: number | null },
): RunResult {
  const { valid, checkpoint } = end
  const { lines } = log
  const last = lines.slice(-Math.max(1, Math.round(lines.length / 50))).map(line => line.loss ?? Number.NaN)
  const rates = lines.map(line => line.tokensPerSecond).sort((a, b) => a - b)
  const folders = new Map(listCheckpoints(out).map(({ step, folder }) => [step, folder]))
  const along = lines.flatMap(({ step, tokens, validLoss, validStandardError }): CheckpointResult[] => {
    const folder = folders.get(step)
    if (!plan.checkpointSteps.has(step) || folder === undefined) return []
    const loss = validLoss ?? null
    return [{ folder, d: tokens, loss, lossStandardError: validStandardError ?? null, lrFraction: lrFraction(step) }]
  })
  const loss = finite(valid.loss)
  const lossStandardError = finite(valid.standardError)
  const isMixed = new Set(position.isa).size > 1 || new Set(position.build).size > 1
  return {
    run: name,
    family: plan.config.family,
    corpus: data.corpus,
    vocab: plan.config.vocab,
    seed: run.seed,
    schedule: run.schedule,
    lr: plan.lr,
    n: plan.n,
    nTotal: plan.nTotal,
    d: position.tokens,
    uniqueTokens: data.train.length,
    epochs: position.tokens / data.train.length,
    precision: run.precision,
    loss,
    lossStandardError,
    ...(state.average ? { lossBeforeAverage: lines.at(-1)?.validLoss ?? null } : {}),
    trainLoss: finite(last.reduce((sum, each) => sum + each, 0) / last.length),
    validTokens: valid.windows.length * Math.min(plan.config.context, data.valid.length - 1),
    tokensPerSecond: Math.round(end.tokensPerSecond ?? rates[rates.length >> 1] ?? 0),
    seconds: end.seconds,
    diverged: position.verdict !== null || loss === null,
    verdict: position.verdict ?? (loss === null ? 'loss is not a number' : null),
    checkpoint,
    checkpoints: [
      ...along,
      { folder: checkpoint, d: position.tokens, loss, lossStandardError, lrFraction: lrFraction(position.step) },
    ],
    isa: joined(position.isa),
    threads: kernels.threads,
    build: joined(position.build),
    warnings: [...data.notices, ...(isMixed ? ['the run was resumed on another instruction path or build'] : [])],
  }
}
