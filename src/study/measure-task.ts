// Scores one checkpoint: as it is, then after each method and format. All formats see the same tokens, so that changes
// are paired; what is finished is kept line by line, so that a task that was killed goes on with the next format.
import { join } from 'node:path'
import { compare, keptSource, modelSource, type ReferenceSource } from '../evaluate/divergence.ts'
import { evaluateTask } from '../evaluate/harness.ts'
import { evaluateText, type ScoreOptions, type TextScore, type TokenizedText } from '../evaluate/loss.ts'
import { interval, pairedEstimate } from '../evaluate/statistics.ts'
import { findTask } from '../evaluate/tasks.ts'
import { RequestError } from '../formats/error.ts'
import { countParameters, type Precision } from '../model/config.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import type { Model } from '../model/model.ts'
import { quantizeModel } from '../quantize/quantize.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { bitsOf } from './expand.ts'
import { appendLine, machineErrorCode, readLines } from './files.ts'
import { type HeldOut, openHeldOut } from './held-out.ts'
import { machineRecord, processorSeconds, versionRecord } from './machine.ts'
import { taskRows } from './task-sets.ts'
import type { Context, Item, MeasurementOutcome, Outcome, RunOutcome, Task } from './work.ts'

type MeasureTask = Extract<Task, { kind: 'measure' }>

/** A checkpoint with what scoring needs of it. */
interface Subject {
  model: LoadedModel
  kernels: Kernels
  text: TokenizedText
  held: HeldOut
  scoring: MeasureTask['scoring']
  options: ScoreOptions
  /** Its own score, made when it is first asked for. */
  baseline(): TextScore
  source: ReferenceSource
}

/** PTQ rounds the stored weights and leaves activations and KV as they were trained. */
function afterPtq(precision: Precision | null): Precision | null {
  return precision && { ...precision, weights: null }
}

async function openSubject(task: MeasureTask, kernels: Kernels): Promise<Subject> {
  const { run, scoring } = task
  const trainedHere = run.kind === 'trained'
  const reference = run.checkpoint ?? String(run.placed['model'])
  const model = await loadModel(reference, { dtype: trainedHere ? 'float32' : 'auto' })
  const held = await openHeldOut(scoring.data, scoring.seed, model, trainedHere)
  const text = await held.scored(scoring.tokens)
  const compute = trainedHere || model.storedDtype.toUpperCase() === 'BF16' ? 'bf16' : 'float'
  const options: ScoreOptions = { compute, precision: model.precision }
  let score: TextScore | undefined
  return {
    model,
    kernels,
    text,
    held,
    scoring,
    options,
    source: keptSource(modelSource(model, kernels, options)),
    baseline() {
      score ??= evaluateText(model, kernels, text, options)
      return score
    },
  }
}

async function scoreTasks(
  { kernels, model: { tokenizer }, scoring, held }: Subject,
  model: Model,
  options: ScoreOptions,
): Promise<Record<string, unknown> | null> {
  if (!scoring.tasks.length) return null
  if (!tokenizer) throw new RequestError('the checkpoint has no tokenizer, expected one where tasks are scored')
  const results: Record<string, unknown> = {}
  for (const name of scoring.tasks) {
    const record = findTask(name)
    if (!record) throw new RequestError(`unknown task '${name}'`)
    const rows = await taskRows(record, scoring.taskData, held)
    const { score } = await evaluateTask(model, kernels, tokenizer, record, rows, {
      compute: options.compute,
      precision: options.precision,
    })
    const { acc, accStandardError, accNorm, accNormStandardError, examples } = score
    results[name] = { acc, accStandardError, accNorm, accNormStandardError, examples }
  }
  return results
}

async function scoreBaseline(subject: Subject): Promise<Partial<MeasurementOutcome>> {
  const { tokens, loss, lossStandardErrorByWindow, bitsPerByte } = subject.baseline()
  const tasks = await scoreTasks(subject, subject.model, subject.options)
  return { tokens, loss, lossStandardError: lossStandardErrorByWindow, bitsPerByte, tasks }
}

async function scoreQuantized(subject: Subject, item: Item): Promise<Partial<MeasurementOutcome>> {
  const { model, kernels, text, held, scoring } = subject
  const format = item.format as string
  const { calibration, damp, actOrder, staticGroups, order } = item.options as {
    calibration?: { tokens?: number }
    damp?: number
    actOrder?: boolean
    staticGroups?: boolean
    order?: 'block' | 'sequential'
  }
  const method = item.method as 'rtn' | 'gptq' | 'awq'
  const start = performance.now()
  const needsText = method !== 'rtn'
  const quantized = quantizeModel(model, {
    format,
    method,
    seed: scoring.seed,
    ...(needsText ? { kernels, calibration: await held.calibration(calibration?.tokens, model.config.context) } : {}),
    ...(method === 'gptq' ? { gptq: { damp, actOrder, staticGroups } } : {}),
    ...(order ? { order } : {}),
  })
  const quantizeSeconds = (performance.now() - start) / 1000
  const options: ScoreOptions = { ...subject.options, precision: afterPtq(model.precision) }
  const tasks = await scoreTasks(subject, quantized.model, options)
  const sizes = {
    pPost: bitsOf(format),
    bitsPerParameter: quantized.bitsPerParameter,
    totalBits: quantized.totalBits,
    quantizeSeconds,
    tasks,
  }
  if (scoring.kl) {
    const { score, reference, kl, lossChange, topAgreement } = compare(
      quantized.model,
      subject.source,
      kernels,
      text,
      options,
    )
    return {
      ...sizes,
      tokens: score.tokens,
      loss: score.loss,
      lossStandardError: score.lossStandardErrorByWindow,
      lossBeforePtq: reference.loss,
      lossChange: lossChange.mean,
      lossChangeLow: lossChange.interval[0],
      lossChangeHigh: lossChange.interval[1],
      bitsPerByte: score.bitsPerByte,
      klMean: kl.mean,
      klStandardError: kl.standardError,
      klP99: kl.p99,
      klMax: kl.max,
      topAgreement,
    }
  }
  const score = evaluateText(quantized.model, kernels, text, options)
  const before = subject.baseline()
  const change = pairedEstimate(score.losses, before.losses)
  const [low, high] = interval(change)
  return {
    ...sizes,
    tokens: score.tokens,
    loss: score.loss,
    lossStandardError: score.lossStandardErrorByWindow,
    lossBeforePtq: before.loss,
    lossChange: change.mean,
    lossChangeLow: low,
    lossChangeHigh: high,
    bitsPerByte: score.bitsPerByte,
  }
}

async function measureItem(subject: Subject, task: MeasureTask, item: Item): Promise<MeasurementOutcome> {
  const start = performance.now()
  const processor = processorSeconds()
  const took = () => ({
    seconds: (performance.now() - start) / 1000,
    processorSeconds: processorSeconds() - processor,
  })
  const base = { key: item.key, run: task.run.key, method: item.method, format: item.format }
  const origin = {
    isa: subject.kernels.isa,
    threads: subject.kernels.threads,
    build: subject.kernels.build,
    machine: machineRecord(),
    versions: versionRecord(),
  }
  try {
    const result = item.format === null ? await scoreBaseline(subject) : await scoreQuantized(subject, item)
    return { ...base, state: 'done', ...result, ...origin, ...took() }
  } catch (error) {
    // A format that a method cannot do is a result; a machine that cannot go on is not.
    if (machineErrorCode(error) !== undefined || !(error instanceof Error)) throw error
    return { ...base, state: 'failed', reason: error.message, ...origin, ...took() }
  }
}

/** The row of a model that was not trained here, now that its files have been read. */
function checkpointRow(task: MeasureTask, { model }: Subject): RunOutcome {
  const { key, kind, cluster, config, d } = task.run
  const { n, nTotal } = countParameters(model.config)
  const { corpus, family = model.config.family } = config as { corpus?: string; family?: string }
  const bitlaw = model.bitlaw as { corpus?: string } | null
  return {
    key,
    kind,
    cluster,
    config,
    state: 'done',
    n,
    nTotal,
    d: d ?? model.d,
    family,
    corpus: corpus ?? bitlaw?.corpus ?? null,
    diverged: false,
    machine: machineRecord(),
    versions: versionRecord(),
  }
}

/** Carries out a scoring task. */
export async function measureTask(task: MeasureTask, kernels: Kernels, context: Context): Promise<Outcome> {
  const path = join(task.folder, 'done.jsonl')
  const done = new Map(readLines<MeasurementOutcome>(path).map(row => [row.key, row]))
  const subject = await openSubject(task, kernels)
  for (const [i, item] of task.items.entries()) {
    context.progress({ share: i / task.items.length, note: item.format ? `${item.method} ${item.format}` : 'loss' })
    if (done.has(item.key)) continue
    if (context.signal.aborted) throw new Error('stopped')
    const row = await measureItem(subject, task, item)
    appendLine(path, row)
    done.set(item.key, row)
    await new Promise(resolve => setImmediate(resolve))
  }
  return {
    runs: task.run.kind === 'checkpoint' ? [checkpointRow(task, subject)] : [],
    measurements: task.items.flatMap(item => done.get(item.key) ?? []),
  }
}
