// `bitlaw evaluate`: loss, divergence from a reference, zero-shot tasks, for one model or several side by side.
import { existsSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { compare, modelSource, type ReferenceSource } from '../evaluate/divergence.ts'
import { type GateClause, judgeGate, parseGate } from '../evaluate/gate.ts'
import { evaluateTaskBy, type RequestScorer } from '../evaluate/harness.ts'
import { evaluateText, type ScoreOptions, textWindows, tokenizeText } from '../evaluate/loss.ts'
import { referenceFile } from '../evaluate/reference-file.ts'
import { scoreRequests } from '../evaluate/requests.ts'
import { openServer, scoreRequestsByServer, scoreTextByServer } from '../evaluate/server.ts'
import { fetchTaskSet, readTaskSet } from '../evaluate/sets.ts'
import { findTask, type Row, TASK_NAMES, type Task } from '../evaluate/tasks.ts'
import { WINDOW_CONVENTIONS, type WindowConvention } from '../evaluate/windows.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseFormat, printFormat } from '../formats/index.ts'
import type { Precision } from '../model/config.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { openTokenizer, type Tokenizer } from '../text/tokenizer.ts'
import { describe, document, explain, type ModelReport, metricsOf, sampleLines } from './evaluate-output.ts'
import { checkOutputFile, oneOf, optionalWhole, readText, threadsOf, wholeNumber } from './options.ts'
import { printJson, printText } from './output.ts'
import { startProgress } from './progress.ts'

interface EvaluateOptions {
  text?: string
  tasks?: string
  data?: string
  reference?: string
  referenceLogits?: string
  evaluator?: string
  evaluatorModel?: string
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
    .option('--data <folder>', "folder with <task>.jsonl files (the hub's sets unless given)")
    .option('--reference <model>', 'compare with this model: KL divergence, change of loss, top-1 agreement')
    .option(
      '--reference-logits <file>',
      "the reference's log-probabilities: written where absent, else read instead of it",
    )
    .option('--evaluator <url>', 'score with an OpenAI-compatible server; the model then gives the tokenizer only')
    .option('--evaluator-model <name>', "the server's name of the model (the first that it lists)")
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

/** A task with its set, and what its solved examples are drawn from where that is another. */
interface OpenedTask {
  task: Task
  rows: readonly Row[]
  solved?: readonly Row[]
}

/** What is asked of every model. */
interface Request {
  options: EvaluateOptions
  kernels: Kernels
  tasks: readonly OpenedTask[]
  reference: LoadedModel | undefined
  windows: WindowConvention
  context: number | undefined
  stride: number | undefined
  limit: number | undefined
  fewshot: number
}

async function scoreTasks(
  model: string,
  tokenizer: Tokenizer,
  request: Request,
  scorer: (onProgress: (done: number) => void) => RequestScorer,
): Promise<ModelReport['tasks']> {
  const results: ModelReport['tasks'] = []
  for (const { task, rows, solved } of request.tasks) {
    const progress = startProgress(`${model} ${task.name}`, rows.length, 'requests', { quiet: request.options.json })
    results.push(
      await evaluateTaskBy(
        scorer(done => progress.update(done)),
        tokenizer,
        task,
        rows,
        { ...request, solved },
      ),
    )
    progress.stop()
  }
  return results
}

/** Compares with a reference that runs beside, or with its file; undefined where none was given. */
function compareWith(
  model: LoadedModel,
  request: Request,
  text: Awaited<ReturnType<typeof tokenizeText>>,
  scoring: ScoreOptions,
) {
  const { reference, kernels, options } = request
  if (reference && reference.config.vocab !== model.config.vocab)
    throw new RequestError(
      `the reference has ${reference.config.vocab} tokens in its vocabulary, expected the ${model.config.vocab} of '${model.name}'`,
    )
  const make =
    reference &&
    ((): ReferenceSource => modelSource(reference, kernels, { ...scoring, precision: reference.precision }))
  if (options.referenceLogits === undefined) return make && compare(model, make(), kernels, text, scoring)
  const file = referenceFile(options.referenceLogits, text, textWindows(model, text, scoring), model.config.vocab, make)
  let whole = false
  try {
    const comparison = compare(model, file.source, kernels, text, scoring)
    whole = true
    return comparison
  } finally {
    file.close(whole)
  }
}

async function evaluateHere(name: string, request: Request): Promise<ModelReport> {
  const { options, kernels, context, stride, limit, windows } = request
  const dtype = oneOf(options.dtype, ['auto', 'float32', 'bf16'], 'dtype')
  const model = await loadModel(name, { dtype, ignoreConfig: options.ignoreConfig })
  const { tokenizer } = model
  if (!tokenizer) throw new RequestError(`model '${name}' has no tokenizer`)
  const bf16 = dtype === 'bf16' || (dtype === 'auto' && /^bf(loat)?16$/i.test(model.storedDtype))
  const shared = { compute: bf16 ? 'bf16' : 'float', precision: precisionOf(model, options), context } as const
  const report: ModelReport = { model: name, tasks: [] }
  if (options.text !== undefined) {
    const text = await tokenizeText(tokenizer, readText(options.text), windows)
    const progress = startProgress(name, text.ids.length, 'tokens', { quiet: options.json })
    const scoring: ScoreOptions = { ...shared, stride, windows, limit, onProgress: done => progress.update(done) }
    report.comparison = compareWith(model, request, text, scoring)
    report.score = report.comparison?.score ?? evaluateText(model, kernels, text, scoring)
    progress.stop()
  }
  report.tasks = await scoreTasks(
    name,
    tokenizer,
    request,
    onProgress => requests => scoreRequests(model, kernels, requests, { ...shared, onProgress }),
  )
  return report
}

async function evaluateByServer(name: string, request: Request): Promise<ModelReport> {
  const { options, context, stride, limit, windows } = request
  if (context === undefined) throw new RequestError('an evaluator does not tell its context, give --context')
  if (options.reference !== undefined || options.referenceLogits !== undefined)
    throw new RequestError('an evaluator gives no whole distributions, so it cannot be compared with a reference')
  const server = await openServer(options.evaluator as string, options.evaluatorModel)
  const tokenizer = existsSync(name) ? await openTokenizer(name) : (await loadModel(name)).tokenizer
  if (!tokenizer) throw new RequestError(`model '${name}' has no tokenizer`)
  const report: ModelReport = { model: server.model, tasks: [] }
  if (options.text !== undefined) {
    const text = await tokenizeText(tokenizer, readText(options.text), windows)
    const progress = startProgress(server.model, text.ids.length, 'tokens', { quiet: options.json })
    report.score = await scoreTextByServer(server, text, {
      context,
      stride,
      windows,
      limit,
      onProgress: done => progress.update(done),
    })
    progress.stop()
  }
  report.tasks = await scoreTasks(
    server.model,
    tokenizer,
    request,
    onProgress => requests => scoreRequestsByServer(server, requests, { context, onProgress }),
  )
  return report
}

/** A task with its set, from the folder or the hub, checked before any model is opened. */
async function openTask(name: string, folder: string | undefined, fewshot: number): Promise<OpenedTask> {
  const task = findTask(name)
  if (!task)
    throw new RequestError(
      `unknown task '${name}', expected one of ${TASK_NAMES.join(', ')} or blimp_<paradigm>${didYouMean(name, TASK_NAMES)}`,
    )
  if (folder !== undefined) return { task, rows: readTaskSet(task, folder) }
  const solved = fewshot > 0 && task.hub?.train !== undefined ? await fetchTaskSet(task, { train: true }) : undefined
  return { task, rows: await fetchTaskSet(task), solved }
}

/** Says before the work that a clause of the gate is about a figure that will not be measured. */
function checkGate(clauses: readonly GateClause[], options: EvaluateOptions): void {
  const compared = options.reference !== undefined || options.referenceLogits !== undefined
  for (const { metric, text, relative } of clauses) {
    if (['loss', 'perplexity', 'bitsPerByte', 'kl', 'topAgreement'].includes(metric) && options.text === undefined)
      throw new RequestError(`gate metric '${metric}' needs a text, give --text`)
    if ((['kl', 'topAgreement'].includes(metric) || (metric === 'loss' && relative)) && !compared)
      throw new RequestError(`gate '${text}' needs a reference, give --reference`)
  }
}

async function evaluateCommand(names: readonly string[], options: EvaluateOptions): Promise<void> {
  if (options.text === undefined && options.tasks === undefined)
    throw new RequestError('nothing to evaluate, give --text FILE or --tasks NAMES')
  if (options.precision !== undefined && options.precision !== 'none')
    throw new RequestError(`precision '${options.precision}' is not known here, expected none`)
  const gate = options.gate === undefined ? [] : parseGate(options.gate)
  checkOutputFile(options.logSamples, '--log-samples')
  checkOutputFile(options.referenceLogits, '--reference-logits')
  checkGate(gate, options)
  oneOf(options.gateTies, ['pass', 'fail'], 'meaning of ties')
  const dtype = oneOf(options.dtype, ['auto', 'float32', 'bf16'], 'dtype')
  if (options.text !== undefined) readText(options.text)
  const fewshot = wholeNumber(options.numFewshot, '--num-fewshot', 0)
  const request: Request = {
    options,
    kernels: createKernels({ threads: threadsOf(options.threads) }),
    tasks: await Promise.all(
      (options.tasks?.split(',') ?? []).map(name => openTask(name.trim(), options.data, fewshot)),
    ),
    windows: oneOf(options.windows, WINDOW_CONVENTIONS, 'windows convention'),
    context: optionalWhole(options.context, '--context'),
    stride: optionalWhole(options.stride, '--stride'),
    limit: optionalWhole(options.limit, '--limit'),
    fewshot,
    reference:
      options.reference === undefined || options.evaluator !== undefined
        ? undefined
        : await loadModel(options.reference, { dtype, tokenizer: false, ignoreConfig: options.ignoreConfig }),
  }
  const reports: ModelReport[] = []
  for (const name of names)
    reports.push(await (options.evaluator === undefined ? evaluateHere : evaluateByServer)(name, request))
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
