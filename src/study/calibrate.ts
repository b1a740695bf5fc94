// How fast this machine does what a study asks for, measured for a few seconds on the study's own models (with weights
// that are thrown away) by the code that will really run: what a plan's seconds come from.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { compare, keptSource, modelSource } from '../evaluate/divergence.ts'
import { evaluateTask } from '../evaluate/harness.ts'
import { evaluateText, type TokenizedText } from '../evaluate/loss.ts'
import { findTask } from '../evaluate/tasks.ts'
import { countParameters, type ModelConfig, type Precision } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import { initialModel, type Model } from '../model/model.ts'
import { createTrainingStep } from '../model/training.ts'
import { quantizeModel } from '../quantize/quantize.ts'
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { bytesTokenizer } from '../text/bytes.ts'
import { cacheFolder } from '../text/cache.ts'
import { modelConfig } from '../train/architecture.ts'
import { modelPrecision, modelSchema, optimizerSchema, type PrecisionConfig, precisionSchema } from '../train/config.ts'
import { createOptimizer } from '../train/optimizer.ts'
import { type Activity, forwardFlops, type QuantizeTiming, type Rates, roundingsOf, type Timing } from './cost.ts'
import { type PlannedRun, quantizationsOf } from './expand.ts'
import { readJson, writeWhole } from './files.ts'
import { canonicalJson, keyOf } from './key.ts'
import { machineRecord, processorSeconds } from './machine.ts'
import type { QuantizeSpec, Spec } from './spec.ts'

/** Models that are timed, of all that a study has, spread over their sizes. */
const MODELS = 6
/** Of these, so many with each part rounded. */
const ROUNDED_MODELS = 3
/** Models of more operations a sequence take too long to be tried. */
const SEQUENCE_FLOPS = 5e9
/** Where a study has no model that can be tried, these widths speak for it. */
const WIDTHS = [32, 128, 512]
/** After so much processor time roundings, after twice as much formats, are no longer tried; what is missing is taken from what is there. */
const DEADLINE_SECONDS = 4
/** One thing is repeated for so long. */
const REPEAT_SECONDS = 0.05
const QUANTIZE_SECONDS = 0.005
/** What a study does for minutes is compiled by then; so often everything is done once before it is timed. */
const WARM_UPS = 5
/** Formats of a method of which each is timed; the others count as the first. */
const FORMATS = { rtn: 200, gptq: 2, awq: 2 }
const CALIBRATION_TOKENS = 65_536

/** A model that is timed, and how it is trained. */
interface Probe {
  config: ModelConfig
  flops: number
  batch: number
  model: Model
}

/** Processor seconds of one repetition, after one that is not counted: the lower quartile, because what disturbs only ever adds. */
async function usual(work: () => unknown, seconds = REPEAT_SECONDS): Promise<number> {
  await work()
  const times: number[] = []
  const begin = processorSeconds()
  for (let start = begin; start - begin < seconds; ) {
    await work()
    const end = processorSeconds()
    times.push(end - start)
    start = end
  }
  return times.sort((a, b) => a - b)[times.length >> 2]
}

function probesOf(runs: readonly PlannedRun[], kernels: Kernels): Probe[] {
  const distinct = new Map<string, { config: ModelConfig; batch: number; flops: number }>()
  const seen = new Set<ModelConfig>()
  for (const { point } of runs) {
    if (!point || seen.has(point.config)) continue
    seen.add(point.config)
    const flops = forwardFlops(point.config, point.n)
    if (3 * flops * point.config.context <= SEQUENCE_FLOPS)
      distinct.set(canonicalJson(point.config), { config: point.config, batch: point.batch, flops })
  }
  let list = [...distinct.values()].sort((a, b) => a.flops - b.flops)
  if (!list.length)
    list = WIDTHS.map(width => {
      const heads = Math.max(2, width / 32)
      const config = modelConfig(modelSchema.parse({ family: 'llama', width, layers: 2, heads, context: 128 }), 257)
      return { config, batch: 1024, flops: forwardFlops(config, countParameters(config).n) }
    })
  return spread(list, MODELS).map(one => ({ ...one, model: initialModel(one.config, 0, { kernels }) }))
}

/** At most so many of a list, evenly, its ends among them. */
function spread<T>(list: readonly T[], most: number): T[] {
  const count = Math.min(most, list.length)
  return Array.from({ length: count }, (_, i) => list[Math.round((i * (list.length - 1)) / Math.max(1, count - 1))])
}

const tokensOf = (count: number, vocab: number) => Int32Array.from({ length: count }, (_, i) => (i * 7919) % vocab)

/** Sequences that are tried at once: a step's, as far as that does not take long. */
function sequencesOf({ config, batch, flops }: Probe): number {
  const most = Math.max(1, Math.floor(SEQUENCE_FLOPS / (3 * flops * config.context)))
  return Math.max(1, Math.min(most, Math.floor(batch / config.context)))
}

async function timeTraining(probe: Probe, precision: Precision, kernels: Kernels): Promise<Timing['seconds']> {
  const { config, model } = probe
  const batch = sequencesOf(probe)
  const ids = tokensOf(batch * config.context, config.vocab)
  const step = createTrainingStep(model, kernels, { precision, batch, length: config.context, compute: 'bf16' })
  const optimizer = createOptimizer(step.parameters, kernels, optimizerSchema.parse({}))
  const train = await usual(() => {
    step.clear()
    step.gradients(ids, ids)
    optimizer.step(0, optimizer.gradientNorm())
  })
  const inference = createInference(model, kernels, { precision, compute: 'bf16' })
  const together = Math.min(8, batch)
  const part = ids.subarray(0, together * config.context)
  const validate = await usual(() => inference.losses(part, part, together, config.context))
  return { train: train / ids.length, validate: validate / part.length }
}

/** Words whose requests fill a context, as those of the tasks mostly do. */
function taskRows(context: number) {
  const words = Array.from({ length: Math.ceil(context / 5) }, (_, i) => `word${i % 10}`)
  return Array.from({ length: 32 }, () => ({ context: words.join(' '), continuation: 'last' }))
}

async function timeScoring(spec: Spec, { config, model, flops }: Probe, precision: Precision, kernels: Kernels) {
  const { context, vocab } = config
  const most = Math.max(context, Math.floor(SEQUENCE_FLOPS / flops))
  const text: TokenizedText = {
    ids: tokensOf(Math.min(spec.evaluate.tokens, most) + 1, vocab),
    start: null,
    bytes: null,
  }
  const options = { compute: 'bf16' as const, precision }
  const source = keptSource(modelSource(model, kernels, options))
  const { kl, tasks } = spec.evaluate
  const score = await usual(() =>
    kl ? compare(model, source, kernels, text, options) : evaluateText(model, kernels, text, options),
  )
  const seconds: Timing['seconds'] = { score: score / (text.ids.length - 1) }
  const lastWord = findTask('last_word')
  if (!tasks.length || !lastWord || vocab < 257) return seconds
  const rows = taskRows(context)
  const tokenizer = bytesTokenizer()
  const request = await usual(() => evaluateTask(model, kernels, tokenizer, lastWord, rows, options))
  const length = rows[0].context.length + rows[0].continuation.length
  return { ...seconds, request: request / (rows.length * Math.min(context, length)) }
}

/** The roundings of a study, each alone. */
function roundings(runs: readonly PlannedRun[]): { name: string; precision: Precision }[] {
  const found = new Map<string, Precision>()
  const seen = new Set<unknown>()
  for (const { config } of runs) {
    const precision = config['precision'] as PrecisionConfig | undefined
    if (!precision || seen.has(precision)) continue
    seen.add(precision)
    for (const name of roundingsOf(precision)) {
      if (found.has(name)) continue
      const part = name.split(' ')[0] as 'weights'
      found.set(name, modelPrecision(precisionSchema.parse({ [part]: precision[part] })))
    }
  }
  return [...found].map(([name, precision]) => ({ name, precision }))
}

async function timeQuantizing(
  spec: Spec,
  runs: readonly PlannedRun[],
  probes: readonly Probe[],
  kernels: Kernels,
  isLate: (times?: number) => boolean,
): Promise<Record<string, QuantizeTiming>> {
  const asked = new Map<QuantizeSpec['methods'][number], Map<string, QuantizeSpec>>()
  // An entry's own condition does not matter for its speed.
  for (const entry of spec.quantize === undefined ? [] : [spec.quantize].flat())
    for (const { method, formats } of quantizationsOf({ ...spec, quantize: { ...entry, where: undefined } }, runs[0])) {
      const list = asked.get(method) ?? new Map<string, QuantizeSpec>()
      for (const format of formats) if (!list.has(format)) list.set(format, entry)
      asked.set(method, list)
    }
  const result: Record<string, QuantizeTiming> = {}
  const middle = probes[probes.length >> 1]
  for (const [method, formats] of asked) {
    const seconds = async ({ config, model }: Probe, format: string, entry: QuantizeSpec) => {
      const count = Math.max(1, Math.floor((entry.calibration?.tokens ?? CALIBRATION_TOKENS) / config.context))
      const calibration = { ids: tokensOf(count * config.context, config.vocab), length: config.context }
      const { damp, actOrder, staticGroups, order } = entry
      const work = () =>
        quantizeModel(model, {
          format,
          method,
          ...(method === 'rtn' ? {} : { kernels, calibration }),
          ...(method === 'gptq' ? { gptq: { damp, actOrder, staticGroups }, order } : {}),
        })
      try {
        return await usual(work, QUANTIZE_SECONDS)
      } catch {
        return null // a format that a method cannot do, which the study will say
      }
    }
    const curve: { flops: number; seconds: number }[] = []
    const factors: Record<string, number> = {}
    let first: { format: string; seconds: number } | undefined
    let tried = 0
    for (const [format, entry] of formats) {
      if (tried++ >= FORMATS[method] || (first && isLate(2))) break
      const time = await seconds(middle, format, entry)
      if (time === null) continue
      first ??= { format, seconds: time }
      factors[format] = time / first.seconds
    }
    for (const probe of first ? probes : []) {
      if (probe === middle) curve.push({ flops: middle.flops, seconds: first!.seconds })
      else if (!isLate(2)) {
        const time = await seconds(probe, first!.format, formats.get(first!.format)!)
        if (time !== null) curve.push({ flops: probe.flops, seconds: time })
      }
    }
    result[method] = { curve, factors }
  }
  return result
}

async function measure(spec: Spec, runs: readonly PlannedRun[], kernels: Kernels): Promise<Rates> {
  const began = processorSeconds()
  const isLate = (times = 1) => processorSeconds() - began > times * DEADLINE_SECONDS
  const probes = probesOf(runs, kernels)
  let timings: Timing[] = []
  const time = async (name: string, precision: Precision, probe: Probe) => {
    const seconds = {
      ...(await timeTraining(probe, precision, kernels)),
      // Weights are rounded once before they are scored.
      ...(name.startsWith('weights') ? {} : await timeScoring(spec, probe, precision, kernels)),
    }
    timings.push({ flops: probe.flops, rounding: name, seconds })
  }
  // Code that has just been loaded is slow: the smallest model's first times are forgotten.
  for (let i = 0; i < WARM_UPS; i++) await time('', modelPrecision(precisionSchema.parse({})), probes[0])
  timings.length = 0
  for (const probe of probes) await time('', modelPrecision(precisionSchema.parse({})), probe)
  // Each part rounded on a model of the middle, then on the smallest and on the largest.
  const some = spread(probes, ROUNDED_MODELS)
  const middle = some.splice(some.length >> 1, 1)
  const rounded = roundings(runs)
  for (const probe of [...middle, ...some])
    for (const { name, precision } of rounded) if (!isLate()) await time(name, precision, probe)
  const quantize = await timeQuantizing(spec, runs, probes, kernels, isLate)
  // A shared processor is slow for a second now and then: what was timed within one is timed twice more, later.
  let rates: Rates = { timings, quantize }
  for (let i = 0; i < 2; i++) {
    timings = []
    for (const probe of probes) await time('', modelPrecision(precisionSchema.parse({})), probe)
    for (const { name, precision } of rounded) if (!isLate(3)) await time(name, precision, middle[0])
    rates = faster(rates, { timings, quantize })
  }
  return rates
}

/** A machine that was busy at the first measurement is faster at the next: they are made again after so long, and the faster counts. */
const FRESH_SECONDS = 3600

/** The smaller of two measurements of the same thing, number by number; where they differ in shape, the new one. */
function faster(now: Rates, before: Rates | undefined): Rates {
  if (!before) return now
  const old = new Map(before.timings.map(one => [`${one.flops} ${one.rounding}`, one.seconds]))
  const timings = now.timings.map(one => {
    const seconds = { ...one.seconds }
    for (const [activity, value] of Object.entries(old.get(`${one.flops} ${one.rounding}`) ?? {}))
      seconds[activity as Activity] = Math.min(value, seconds[activity as Activity] ?? value)
    return { ...one, seconds }
  })
  return { ...now, timings }
}

/** Measures this machine at a study's work, or reads what was measured a short while ago with the same build of the kernels. */
export async function calibrate(spec: Spec, runs: readonly PlannedRun[]): Promise<Rates> {
  if (!runs.some(run => run.point)) return { timings: [], quantize: {} }
  const kernels = createKernels({ threads: 1 })
  const models = [...new Set(runs.map(run => run.point?.config))].map(config => config && canonicalJson(config)).sort()
  const work = {
    models,
    roundings: roundings(runs).map(({ name }) => name),
    quantize: spec.quantize,
    evaluate: spec.evaluate,
  }
  const id = keyOf({ machine: machineRecord(), isa: kernels.isa, build: kernels.build, work, version: 5 })
  const path = join(cacheFolder(), 'calibration', `${id.slice(0, 16)}.json`)
  const before = readJson<{ rates: Rates; at: number }>(path)
  if (before && Date.now() / 1000 - before.at < FRESH_SECONDS) return before.rates
  const rates = faster(await measure(spec, runs, kernels), before?.rates)
  try {
    writeWhole(path, JSON.stringify({ rates, at: Date.now() / 1000 }))
  } catch {
    // A cache that cannot be written costs some seconds the next time.
  }
  return rates
}

/** Processes that a study runs where nothing is said: one a core. */
export function usualProcesses(): number {
  return availableParallelism()
}
