// `bitlaw evaluate`: loss, divergence from a reference, zero-shot tasks, for one model or several side by side.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type Comparison, compare } from '../evaluate/divergence.ts'
import { type GateMetrics, type GateVerdict, judgeGate, parseGate } from '../evaluate/gate.ts'
import { compareTask, evaluateTask, type TaskResult } from '../evaluate/harness.ts'
import { evaluateText, type ScoreOptions, type TextScore, tokenizeText } from '../evaluate/loss.ts'
import { isTie, pairedEstimate } from '../evaluate/statistics.ts'
import { findTask, type Row, TASK_NAMES, type Task } from '../evaluate/tasks.ts'
import { WINDOW_CONVENTIONS, type WindowConvention } from '../evaluate/windows.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseFormat, printFormat } from '../formats/index.ts'
import type { Precision } from '../model/config.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import { parseQuantity } from '../table/quantity.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { printJson, printText, table } from './output.ts'
import { startProgress } from './progress.ts'

interface EvaluateOptions {
  text?: string
  tasks?: string
  data?: string
  reference?: string
  context?: string
  stride?: string
  limit?: string
  windows: string
  dtype: string
  activations?: string
  kv?: string
  precision?: string
  numFewshot: string
  logSamples?: string
  gate?: string
  gateTies: string
  ignoreConfig?: string[]
  threads?: string
  json?: boolean
}

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<model...>', 'folder, .gguf or llama2.c .bin file, or hub name owner/name[@revision]')
    .option('--text <file>', 'score this text: loss, perplexity, bits per byte')
    .option('--tasks <names>', `zero-shot tasks, comma-separated: ${TASK_NAMES.join(', ')}, blimp_<paradigm>`)
    .option('--data <folder>', 'folder with <task>.jsonl files')
    .option('--reference <model>', 'compare with this model: KL divergence, change of loss, top-1 agreement')
    .option('--context <tokens>', "window in tokens (the model's own maximum)")
    .option('--stride <tokens>', 'targets scored a window (the context)')
    .option('--windows <convention>', WINDOW_CONVENTIONS.join(', '), 'rolling')
    .option('--limit <n>', 'the first n windows of a text, the first n examples of a task')
    .option('--dtype <type>', "auto (the checkpoint's), float32 or bf16", 'auto')
    .option('--activations <format>', 'round activations, e.g. int8@token')
    .option('--kv <format>', 'round keys and values, e.g. int4@64')
    .option('--precision <none>', 'none: do not apply the precision that the checkpoint was trained at')
    .option('--num-fewshot <n>', 'solved examples before each question', '0')
    .option('--log-samples <file>', 'store each scored example as a JSON line')
    .option('--gate <clauses>', 'exit with 1 unless they hold, e.g. "kl < 0.02, loss < +0.5%"')
    .option('--gate-ties <pass|fail>', 'what a limit inside the interval means', 'pass')
    .option('--ignore-config <keys...>', 'keys of config.json to go on without')
    .option('--threads <n>', 'threads of the kernels')
    .option('--json', 'print one JSON document')
    .action(evaluateCommand)
}

function positive(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined
  const value = parseQuantity(text, 'count', name)
  if (!Number.isInteger(value) || value < 1) throw new RequestError(`${name} '${text}' is not a positive whole number`)
  return value
}

function oneOf<T extends string>(value: string, names: readonly T[], what: string): T {
  if (!names.includes(value as T))
    throw new RequestError(`unknown ${what} '${value}', expected one of ${names.join(', ')}${didYouMean(value, names)}`)
  return value as T
}

/** Rows of a task's set in a local folder. */
function readSet(task: Task, folder: string | undefined): Row[] {
  if (folder === undefined)
    throw new RequestError(`task '${task.name}' needs its set, give --data FOLDER with ${task.files[0]}.jsonl`)
  const path = task.files.map(name => join(folder, `${name}.jsonl`)).find(existsSync)
  if (path === undefined)
    throw new RequestError(
      `no set of '${task.name}' in '${folder}', expected ${task.files.map(name => `${name}.jsonl`).join(' or ')}`,
    )
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, i) => {
      if (line.trim() === '') return []
      try {
        return [JSON.parse(line) as Row]
      } catch {
        throw new RequestError(`line ${i + 1} of '${path}' is not JSON`)
      }
    })
}

/** The precision to score at: what the checkpoint was trained at (unless `none`), with the given activations and KV instead. */
function precisionOf(model: LoadedModel, options: EvaluateOptions): Precision | null {
  const trained = options.precision === 'none' ? null : model.precision
  const given = { activations: options.activations, kv: options.kv }
  for (const [part, spelling] of Object.entries(given))
    if (spelling !== undefined) given[part as 'kv'] = printFormat(parseFormat(spelling))
  if (!trained && !given.activations && !given.kv) return null
  const base = trained ?? { weights: null, activations: null, kv: null, gradients: null }
  return { ...base, activations: given.activations ?? base.activations, kv: given.kv ?? base.kv }
}

interface ModelReport {
  model: string
  score?: TextScore
  comparison?: Comparison
  tasks: TaskResult[]
}

async function evaluateOne(
  name: string,
  options: EvaluateOptions,
  kernels: Kernels,
  tasks: readonly [Task, Row[]][],
  reference: LoadedModel | undefined,
): Promise<ModelReport> {
  const dtype = oneOf(options.dtype, ['auto', 'float32', 'bf16'], 'dtype')
  const model = await loadModel(name, { dtype, ignoreConfig: options.ignoreConfig })
  if (!model.tokenizer) throw new RequestError(`model '${name}' has no tokenizer`)
  const bf16 = dtype === 'bf16' || (dtype === 'auto' && model.storedDtype === 'bf16')
  const shared = { compute: bf16 ? 'bf16' : 'float', precision: precisionOf(model, options) } as const
  const context = positive(options.context, 'context')
  const limit = positive(options.limit, 'limit')
  const report: ModelReport = { model: name, tasks: [] }
  if (options.text !== undefined) {
    const windows: WindowConvention = oneOf(options.windows, WINDOW_CONVENTIONS, 'windows convention')
    const text = await tokenizeText(model.tokenizer, readText(options.text), windows)
    const progress = startProgress(name, text.ids.length, 'tokens', { quiet: options.json })
    const scoring: ScoreOptions = {
      ...shared,
      context,
      stride: positive(options.stride, 'stride'),
      windows,
      limit,
      onProgress: done => progress.update(done),
    }
    if (reference) {
      report.comparison = compare(model, reference, kernels, text, scoring)
      report.score = report.comparison.score
    } else report.score = evaluateText(model, kernels, text, scoring)
    progress.stop()
  }
  for (const [task, rows] of tasks) {
    const progress = startProgress(`${name} ${task.name}`, rows.length, 'requests', { quiet: options.json })
    const fewshot = options.numFewshot === '0' ? 0 : positive(options.numFewshot, 'num-fewshot')
    report.tasks.push(
      await evaluateTask(model, kernels, model.tokenizer, task, rows, {
        ...shared,
        context,
        limit,
        fewshot,
        onProgress: done => progress.update(done),
      }),
    )
    progress.stop()
  }
  return report
}

function readText(path: string): string {
  if (!existsSync(path)) throw new RequestError(`no text at '${path}'`)
  return readFileSync(path, 'utf8')
}

async function evaluateCommand(names: readonly string[], options: EvaluateOptions): Promise<void> {
  if (options.text === undefined && options.tasks === undefined)
    throw new RequestError('nothing to evaluate, give --text FILE or --tasks NAMES')
  if (options.precision !== undefined && options.precision !== 'none')
    throw new RequestError(`precision '${options.precision}' is not known here, expected none`)
  const gate = options.gate === undefined ? [] : parseGate(options.gate)
  oneOf(options.gateTies, ['pass', 'fail'], 'meaning of ties')
  if (options.text !== undefined) readText(options.text)
  const tasks = (options.tasks?.split(',') ?? []).map((name): [Task, Row[]] => {
    const task = findTask(name.trim())
    if (!task)
      throw new RequestError(
        `unknown task '${name}', expected one of ${TASK_NAMES.join(', ')} or blimp_<paradigm>${didYouMean(name, TASK_NAMES)}`,
      )
    return [task, readSet(task, options.data)]
  })
  const kernels = createKernels({ threads: positive(options.threads, 'threads') })
  const dtype = oneOf(options.dtype, ['auto', 'float32', 'bf16'], 'dtype')
  const reference =
    options.reference === undefined
      ? undefined
      : await loadModel(options.reference, { dtype, tokenizer: false, ignoreConfig: options.ignoreConfig })
  const reports: ModelReport[] = []
  for (const name of names) reports.push(await evaluateOne(name, options, kernels, tasks, reference))
  if (options.logSamples !== undefined) writeFileSync(options.logSamples, sampleLines(reports))
  const verdicts = reports.map(report => ({ report, verdicts: judgeGate(gate, metricsOf(report)) }))
  if (options.json) {
    const documents = reports.map(document)
    printJson(names.length > 1 ? documents : documents[0])
  } else printText(describe(reports))
  const failed = verdicts.flatMap(({ report, verdicts: all }) =>
    all
      .filter(one => one.outcome === 'failed' || (one.outcome === 'tie' && options.gateTies === 'fail'))
      .map(one => `${report.model}: ${explain(one)}`),
  )
  if (failed.length > 0) throw new Error(`gate not passed: ${failed.join('; ')}`)
}

function explain({ clause, value, interval, outcome }: GateVerdict): string {
  const unit = clause.percent ? '%' : ''
  const show = (x: number) => `${Number(x.toPrecision(4))}${unit}`
  return `'${clause.text}' ${outcome === 'tie' ? 'is a tie' : 'fails'}: ${clause.metric} ${clause.relative ? 'changed by ' : 'is '}${show(value)}, 95% interval ${show(interval[0])} to ${show(interval[1])}`
}

/** What a gate may ask of a report. */
function metricsOf({ score, comparison, tasks }: ModelReport): GateMetrics {
  const metrics: Record<string, GateMetrics[string]> = {}
  const exact = (mean: number) => ({ mean, standardError: Number.NaN, count: 1 })
  if (score) {
    const loss = { mean: score.loss, standardError: score.lossStandardError, count: score.tokens }
    metrics['loss'] = { value: loss, change: comparison?.lossChange, reference: comparison?.reference.loss }
    metrics['perplexity'] = { value: exact(score.perplexity) }
    if (score.bitsPerByte !== null) metrics['bitsPerByte'] = { value: exact(score.bitsPerByte) }
  }
  if (comparison) {
    const { kl, topAgreement, score: own } = comparison
    metrics['kl'] = { value: { mean: kl.mean, standardError: kl.standardError, count: own.tokens } }
    metrics['topAgreement'] = {
      value: {
        mean: topAgreement,
        standardError: Math.sqrt((topAgreement * (1 - topAgreement)) / own.tokens),
        count: own.tokens,
      },
    }
  }
  for (const { task, score: one } of tasks) {
    metrics[`${task}.acc`] = { value: { mean: one.acc, standardError: one.accStandardError, count: one.examples } }
    if (one.accNorm !== null)
      metrics[`${task}.accNorm`] = {
        value: { mean: one.accNorm, standardError: one.accNormStandardError ?? Number.NaN, count: one.examples },
      }
  }
  return metrics
}

function document({ model, score, comparison, tasks }: ModelReport) {
  return {
    model,
    ...(score && {
      tokens: score.tokens,
      loss: score.loss,
      lossStandardError: score.lossStandardError,
      lossStandardErrorByWindow: Number.isFinite(score.lossStandardErrorByWindow)
        ? score.lossStandardErrorByWindow
        : null,
      perplexity: score.perplexity,
      bitsPerByte: score.bitsPerByte,
    }),
    ...(comparison && {
      kl: comparison.kl,
      lossChange: {
        mean: comparison.lossChange.mean,
        standardError: comparison.lossChange.standardError,
        interval: comparison.lossChange.interval,
      },
      topAgreement: comparison.topAgreement,
    }),
    tasks: Object.fromEntries(tasks.map(({ task, score: one }) => [task, one])),
  }
}

function sampleLines(reports: readonly ModelReport[]): string {
  return reports
    .flatMap(({ model, tasks }) =>
      tasks.flatMap(({ task, details }) =>
        details.map(
          ({ index, gold, predicted, predictedNorm, scores, requests }) =>
          JSON.stringify({
            model, task, index, gold, predicted, predictedNorm,
            logLikelihood: scores.map(one => one.logLikelihood),
            isGreedy: scores.map(one => one.isGreedy),
            contextIds: requests.map(request => [...request.context]),
            continuationIds: requests.map(request => [...request.continuation]),
          }), // biome-ignore format: names first
        ),
      ),
    )
    .map(line => `${line}\n`)
    .join('')
}

const fixed = (value: number, digits = 4) => (Number.isFinite(value) ? value.toFixed(digits) : '-')

function describe(reports: readonly ModelReport[]): string {
  const parts: string[] = []
  const [first] = reports
  if (first.score) {
    const rows = reports.map(({ model, score, comparison }) => {
      const s = score as TextScore
      const change =
        comparison?.lossChange ??
        (model === first.model ? undefined : pairedEstimateOrNone(s, first.score as TextScore))
      return [
        model,
        s.tokens,
        `${fixed(s.loss)} ± ${fixed(s.lossStandardError)}`,
        fixed(s.perplexity, 3),
        s.bitsPerByte === null ? '-' : fixed(s.bitsPerByte),
        change ? `${fixed(change.mean)} ± ${fixed(change.standardError)}${isTie(change) ? ' (tie)' : ''}` : '-',
        comparison ? `${fixed(comparison.kl.mean, 5)} ± ${fixed(comparison.kl.standardError, 5)}` : '-',
        comparison ? fixed(comparison.topAgreement) : '-',
      ]
    })
    parts.push(
      table(['model', 'tokens', 'loss (nats)', 'perplexity', 'bits/byte', 'loss change', 'KL', 'same top-1'], rows),
    )
  }
  if (first.tasks.length > 0) {
    const rows = reports.flatMap(({ model, tasks }) =>
      tasks.map((result, i) => {
        const { score } = result
        const against = model === first.model ? undefined : compareTask(first.tasks[i], result)
        return [
          model,
          result.task,
          `${fixed(score.acc)} ± ${fixed(score.accStandardError)}`,
          score.accNorm === null ? '-' : `${fixed(score.accNorm)} ± ${fixed(score.accNormStandardError ?? Number.NaN)}`,
          score.examples,
          score.leftOut.length,
          against
            ? `${fixed(against.difference)} [${fixed(against.interval[0])}, ${fixed(against.interval[1])}]${against.p > 0.05 ? ' (tie)' : ''}`
            : '-',
        ]
      }),
    )
    parts.push(table(['model', 'task', 'acc', 'acc_norm', 'examples', 'left out', 'against the first'], rows))
  }
  return parts.join('\n\n')
}

/** Paired by token where both models cut the text into the same tokens. */
function pairedEstimateOrNone(a: TextScore, b: TextScore) {
  return a.losses.length === b.losses.length ? pairedEstimate(a.losses, b.losses) : undefined
}
