// `bitlaw train`: one training run from a YAML file.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import type { Command } from 'commander'
import { parse } from 'yaml'
import { RequestError } from '../formats/error.ts'
import { printQuantity } from '../table/quantity.ts'
import { parseRunConfig, type RunConfig } from '../train/config.ts'
import { type Estimate, estimateRun } from '../train/estimate.ts'
import type { RunResult } from '../train/result.ts'
import { TrainingInterrupted, train } from '../train/trainer.ts'
import { checkOutputFolder, threadsOf, wholeNumber } from './options.ts'
import { printJson, printText, table } from './output.ts'
import { startProgress } from './progress.ts'

interface TrainVerbOptions {
  out?: string
  resume?: boolean
  threads?: string
  seed?: string
  allowOtherIsa?: boolean
  dryRun?: boolean
  json?: boolean
}

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<config>', 'run configuration (YAML or JSON)')
    .option('--out <dir>', "folder of the run (runs/ and the configuration's name)")
    .option('--resume', 'go on from the last checkpoint in the folder; the bits are those of a run never stopped')
    .option('--threads <n>', 'processor threads (all)')
    .option('--seed <n>', "instead of the configuration's")
    .option('--allow-other-isa', 'resume on another instruction path or build than the run began on, and mark it')
    .option('--dry-run', 'say what would run, how long and how large, and stop')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nPaths in the configuration are looked for here, then beside the configuration.\nStopped by Ctrl-C it saves its state and ends with status 130.',
    )
    .action(runTrain)
}

/** Reads the file; relative paths of corpora and tokenizers that are absent here are looked for beside it. */
function readConfig(path: string, seed: string | undefined): RunConfig {
  if (!existsSync(path) || !statSync(path).isFile()) throw new RequestError(`no run configuration at '${path}'`)
  let value: unknown
  try {
    value = parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new RequestError(
      `run configuration '${path}' is not YAML: ${(error as Error).message.split('\n')[0].replace(/:$/, '')}`,
    )
  }
  const run = parseRunConfig(value, `run configuration '${path}'`)
  const place = (source: string) => {
    if (source.startsWith('npm:') || source.startsWith('/')) return source
    const root = (folder: string) => join(folder, source.replace(/[*?[{].*$/, ''))
    return !existsSync(root('.')) && existsSync(root(dirname(path))) ? join(dirname(path), source) : source
  }
  const placeAll = (source: string | string[]) => (typeof source === 'string' ? place(source) : source.map(place))
  const { train: trainSource, valid, tokenizer } = run.data
  return {
    ...run,
    ...(seed === undefined ? {} : { seed: wholeNumber(seed, '--seed', 0) }),
    data: {
      train: placeAll(trainSource),
      valid: typeof valid === 'string' || Array.isArray(valid) ? placeAll(valid) : valid,
      tokenizer: typeof tokenizer === 'string' ? place(tokenizer) : tokenizer,
    },
  }
}

async function runTrain(path: string, options: TrainVerbOptions): Promise<void> {
  const run = readConfig(path, options.seed)
  const threads = threadsOf(options.threads)
  const onNotice = (text: string) => process.stderr.write(`bitlaw: ${text}\n`)
  if (options.dryRun) {
    const estimate = await estimateRun(run, { threads, onNotice })
    if (options.json) printJson(estimate)
    else printText(describeEstimate(estimate))
    return
  }
  const out = options.out ?? join('runs', run.name ?? basename(path, extname(path)))
  checkOutputFolder(out, '--out')
  const controller = new AbortController()
  const stop = () => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  let progress: ReturnType<typeof startProgress> | undefined
  try {
    const result = await train(run, {
      out,
      threads,
      resume: options.resume ?? false,
      allowOtherIsa: options.allowOtherIsa ?? false,
      signal: controller.signal,
      onNotice,
      onStep: ({ tokens, d, loss, validLoss }) => {
        progress ??= startProgress('training', d, 'tokens', { before: tokens })
        progress.update(
          tokens,
          `loss ${loss.toFixed(4)}${validLoss === undefined ? '' : `, held out ${validLoss.toFixed(4)}`}`,
        )
      },
    })
    progress?.stop()
    if (options.json) printJson(result)
    else printText(describeResult(result))
  } catch (error) {
    progress?.stop()
    if (!controller.signal.aborted) throw error
    const message = error instanceof TrainingInterrupted ? error.message : 'training stopped before its first step'
    process.stderr.write(`bitlaw: ${message}\n`)
    process.exitCode = 130
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}

/** `4.1234 ± 0.0123`. */
function printLoss(loss: number | null, standardError: number | null): string {
  return `${loss === null ? 'not a number' : loss.toFixed(4)}${standardError === null ? '' : ` ± ${standardError.toFixed(4)}`}`
}

function describeResult(result: RunResult): string {
  const { n, nTotal, d, epochs, uniqueTokens, diverged, verdict, checkpoint, checkpoints, warnings } = result
  const lines = [
    `${result.run}: N ${printQuantity(n)} (${printQuantity(nTotal)} with embeddings), D ${printQuantity(d)} tokens (${epochs.toPrecision(3)} epochs of ${printQuantity(uniqueTokens)})`,
    `held-out loss ${printLoss(result.loss, result.lossStandardError)} nats a token${diverged ? ` - diverged: ${verdict}` : ''}`,
    `${printQuantity(result.seconds, 'seconds')}, ${printQuantity(result.tokensPerSecond)} tokens/s (${result.isa}, ${result.threads} thread${result.threads === 1 ? '' : 's'})`,
    `checkpoint ${checkpoint}`,
    ...warnings.map(warning => `warning: ${warning}`),
  ]
  if (checkpoints.length > 1) {
    const rows = checkpoints.map(at => [
      printQuantity(at.d),
      printLoss(at.loss, at.lossStandardError),
      at.lrFraction.toFixed(3),
      at.folder,
    ])
    lines.push('', table(['tokens', 'loss', 'lr share', 'checkpoint'], rows))
  }
  return lines.join('\n')
}

function describeEstimate(estimate: Estimate): string {
  const { n, nTotal, d, steps, epochs, uniqueTokens, flops, seconds, bytes } = estimate
  return [
    `${estimate.run}: N ${printQuantity(n)} (${printQuantity(nTotal)} with embeddings), D ${printQuantity(d)} tokens in ${steps} steps (${epochs.toPrecision(3)} epochs of ${printQuantity(uniqueTokens)})`,
    `${printQuantity(flops, 'flops')}, about ${printQuantity(seconds, 'seconds')} at ${printQuantity(estimate.tokensPerSecond)} tokens/s (${estimate.isa}, ${estimate.threads} thread${estimate.threads === 1 ? '' : 's'}, one step measured)`,
    `${printQuantity(bytes.memory, 'bytes')} of memory, ${printQuantity(bytes.disk, 'bytes')} on disk`,
  ].join('\n')
}
