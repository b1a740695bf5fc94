// From a specification to its runs, each with its key, grouped by the training that they share, and what is scored of each.

import { parseFormat, printFormat } from '../formats/index.ts'
import type { DataConfig, OptimizerConfig, PrecisionConfig, ScheduleConfig } from '../train/config.ts'
import { withBlock } from './axes.ts'
import { matches } from './conditions.ts'
import { canonicalJson, keyOf, sha256 } from './key.ts'
import {
  type Corpus,
  corpora,
  type ModelPoint,
  modelPoints,
  nominalBits,
  precisionColumns,
  precisionPoints,
  tokenPoints,
  vocabOf,
} from './points.ts'
import type { QuantizeSpec, Spec } from './spec.ts'
import type { Item, Scoring } from './work.ts'

/** The configuration of one run as it is hashed: what train/ reads, without a name, or a model that exists already. */
export type PlannedConfig = Readonly<Record<string, unknown>>

/** One row of the table of runs, before it is done. */
export interface PlannedRun {
  key: string
  kind: 'trained' | 'external' | 'checkpoint'
  /** The key of the training that it shares with others: its own where it shares none. */
  cluster: string
  config: PlannedConfig
  corpus: string
  /** The point's model and numbers; null where the model is not trained here. */
  point: ModelPoint | null
  d: number | null
}

const AT_FULL_RATE = new Set(['wsd', 'constant'])

interface Setting {
  spec: Spec
  corpus: Corpus
  point: ModelPoint
  precision: PrecisionConfig
  optimizer: OptimizerConfig
  schedule: ScheduleConfig
  seed: number
}

/** The configuration of one run. `longest` is the tokens of the training that it shares: its warm-up is as long, in steps, as that one's. */
function configuration(
  { spec, corpus, point, precision, optimizer, schedule, seed }: Setting,
  tokens: number,
  longest: number,
): PlannedConfig {
  const own = longest === tokens ? schedule : { ...schedule, warmup: (schedule.warmup * longest) / tokens }
  return {
    seed,
    data: corpus.data,
    model: point.model,
    precision,
    optimizer,
    schedule: own,
    batch: point.batch,
    tokens,
    evaluate: evaluation(spec),
    ...(spec.average ? { average: spec.average } : {}),
    ...(spec.trainer ? { trainer: spec.trainer } : {}),
  }
}

const evaluations = new WeakMap<Spec, { tokens: number; every?: number }>()

/** The same record for all runs of a specification, so that its text is made once. */
function evaluation(spec: Spec): { tokens: number; every?: number } {
  let record = evaluations.get(spec)
  if (!record) {
    record = { tokens: spec.evaluate.tokens, ...(spec.evaluate.every ? { every: spec.evaluate.every } : {}) }
    evaluations.set(spec, record)
  }
  return record
}

/** Runs of one setting, ascending in tokens: one training each, or one for all whose decay begins after the longest one's warm-up. */
function runsOf(setting: Setting, known: WeakMap<object, string>): PlannedRun[] {
  const { spec, corpus, point, schedule } = setting
  const counts = tokenPoints(spec, point.n, point.batch)
  const longest = counts[counts.length - 1]
  const shares = (tokens: number) =>
    spec.trunks &&
    !spec.trainer &&
    !spec.average &&
    AT_FULL_RATE.has(schedule.kind) &&
    schedule.warmup * longest + (schedule.decay ?? 0) * tokens <= tokens
  const kind = spec.trainer ? 'external' : 'trained'
  const runs: PlannedRun[] = []
  for (const tokens of counts) {
    const config = configuration(setting, tokens, shares(tokens) ? longest : tokens)
    const record = { ...config, d: tokens, n: point.n, corpus: corpus.name }
    if (spec.exclude.some(condition => matches(record, condition))) continue
    const key = sha256(canonicalJson(config, known))
    runs.push({ key, kind, cluster: shares(tokens) ? '' : key, config, corpus: corpus.name, point, d: tokens })
  }
  const trunk = runs.filter(run => run.cluster === '')
  for (const run of trunk) run.cluster = trunk[trunk.length - 1].key
  return runs
}

/** All runs of a specification, each key once: those that are trained, then the checkpoints that exist already. */
export function expandRuns(spec: Spec): PlannedRun[] {
  const known = new WeakMap<object, string>()
  const runs = new Map<string, PlannedRun>()
  const precisions = precisionPoints(spec)
  for (const corpus of corpora(spec))
    for (const point of modelPoints(spec, vocabOf(corpus.data)))
      for (const optimizer of point.optimizers)
        for (const schedule of spec.schedules)
          for (const precision of precisions)
            for (const seed of spec.seeds)
              for (const run of runsOf({ spec, corpus, point, precision, optimizer, schedule, seed }, known))
                if (!runs.has(run.key)) runs.set(run.key, run)
  for (const { model, d = null, corpus, family } of spec.checkpoints) {
    const config = { model, ...(d ? { d } : {}), ...(corpus ? { corpus } : {}), ...(family ? { family } : {}) }
    const key = keyOf(config)
    runs.set(key, { key, kind: 'checkpoint', cluster: key, config, corpus: corpus ?? '', point: null, d })
  }
  return [...runs.values()]
}

/** Where the text comes from on which a run is scored: its own held-out documents; for a checkpoint those of the study's first corpus. */
export function scoringOf(spec: Spec, config: PlannedConfig): Scoring {
  const { tokens, kl, tasks, taskData } = spec.evaluate
  const data = (config['data'] as DataConfig | undefined) ?? corpora(spec)[0]?.data
  return { data, tokens, kl, tasks, ...(taskData ? { taskData } : {}), seed: Number(config['seed'] ?? 0) }
}

const spellings = new WeakMap<QuantizeSpec, string[]>()

/** Formats of one entry in their printed spelling; those without a block size take each of the entry's blocks. */
function formatsOf(entry: QuantizeSpec): string[] {
  let list = spellings.get(entry)
  if (!list) {
    const { formats, blocks = [64] } = entry
    const spelled = formats.flatMap(text => blocks.map(block => withBlock(text, block)))
    list = [...new Set(spelled.map(text => printFormat(parseFormat(text))))]
    spellings.set(entry, list)
  }
  return list
}

/** Entries of `quantize` that apply to a run. */
function entriesFor(spec: Spec, run: Pick<PlannedRun, 'config'>): QuantizeSpec[] {
  const entries = spec.quantize === undefined ? [] : [spec.quantize].flat()
  return entries.filter(entry => !entry.where || matches(run.config, entry.where))
}

/** The quantizations of a run, without their keys. */
export function quantizationsOf(
  spec: Spec,
  run: Pick<PlannedRun, 'config'>,
): { method: QuantizeSpec['methods'][number]; formats: readonly string[]; options: QuantizeSpec }[] {
  return entriesFor(spec, run).flatMap(entry =>
    entry.methods.map(method => ({ method, formats: formatsOf(entry), options: entry })),
  )
}

/** How many quantizations a run has. */
export function countQuantizations(spec: Spec, run: Pick<PlannedRun, 'config'>): number {
  return entriesFor(spec, run).reduce((count, entry) => count + formatsOf(entry).length * entry.methods.length, 0)
}

/** What is scored of a run: the checkpoint as it is, then each method and format, each with its key. */
export function itemsOf(spec: Spec, run: Pick<PlannedRun, 'key' | 'config'>): { items: Item[]; scoring: Scoring } {
  const scoring = scoringOf(spec, run.config)
  const scored = keyOf(scoring)
  const items = new Map<string, Item>()
  const add = (method: string, format: string | null, options: Item['options']) => {
    const key = keyOf({ run: run.key, method, format, options, scored })
    items.set(key, { key, method, format, options })
  }
  add('none', null, {})
  for (const entry of entriesFor(spec, run)) {
    const { calibration, damp, actOrder, staticGroups, order } = entry
    for (const method of entry.methods) {
      const set =
        method === 'rtn' ? {} : { calibration, ...(method === 'gptq' ? { damp, actOrder, staticGroups, order } : {}) }
      const options = Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined))
      for (const format of formatsOf(entry)) add(method, format, options)
    }
  }
  return { items: [...items.values()], scoring }
}

/** Nominal bits of a format's spelling: the column P_post. */
export function bitsOf(format: string): number {
  return nominalBits(parseFormat(format))
}

/** The columns that a planned run has before it is done. */
export function plannedColumns(run: PlannedRun) {
  const precision = run.config['precision'] as PrecisionConfig | undefined
  const schedule = run.config['schedule'] as ScheduleConfig | undefined
  const [w, a, kv] = precision
    ? [precisionColumns(precision.weights), precisionColumns(precision.activations), precisionColumns(precision.kv)]
    : [null, null, null]
  return {
    key: run.key,
    kind: run.kind,
    cluster: run.cluster,
    config: run.config,
    n: run.point?.n ?? null,
    nTotal: run.point?.nTotal ?? null,
    d: run.d,
    pW: w?.bits ?? null,
    pA: a?.bits ?? null,
    pKv: kv?.bits ?? null,
    formatW: w?.format ?? null,
    formatA: a?.format ?? null,
    formatKv: kv?.format ?? null,
    schedule: schedule?.kind ?? null,
    lrFraction: schedule ? finalRate(schedule) : null,
    corpus: run.corpus || null,
    family: run.point?.model.family ?? (run.config['family'] as string | undefined) ?? null,
    seed: precision ? Number(run.config['seed']) : null,
  }
}

/** Learning rate at the end of a schedule over its peak. */
function finalRate(schedule: ScheduleConfig): number {
  return schedule.final ?? 1
}
