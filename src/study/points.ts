// The axes of a specification, one function each: corpora, models, precisions, tokens. expand.ts takes their product.
import { type Format, formatOfBits, parseFormat, printFormat, RequestError } from '../formats/index.ts'
import { countParameters, type ModelConfig } from '../model/config.ts'
import { modelConfig } from '../train/architecture.ts'
import {
  type DataConfig,
  type ModelSection,
  modelSchema,
  type OptimizerConfig,
  optimizerSchema,
  type PrecisionConfig,
  precisionSchema,
} from '../train/config.ts'
import { parseConfiguration } from '../train/parse.ts'
import { gridPoints, sweepPoints, unique, zipPoints } from './axes.ts'
import { canonicalJson } from './key.ts'
import type { Spec } from './spec.ts'

/** Vocabulary of a tokenizer that is a file: known when it is opened; for costs, this. */
const USUAL_VOCAB = 32_768
/** Bytes and a separator. */
const BYTES_VOCAB = 257

/** A corpus and its name in the table of runs. */
export interface Corpus {
  name: string
  data: DataConfig
}

/** A model and the settings that go with it alone. */
export interface ModelPoint {
  model: ModelSection
  config: ModelConfig
  optimizers: readonly OptimizerConfig[]
  batch: number
  /** Non-embedding parameters. */
  n: number
  nTotal: number
}

/** The corpora; one without a name is called by its source. */
export function corpora(spec: Spec): Corpus[] {
  if (!spec.data) return []
  if (!Array.isArray(spec.data)) {
    const source = [spec.data.train].flat().join(',')
    return [
      {
        name: source
          .replace(/^npm:/, '')
          .replace(/[\\/]+$/, '')
          .split(/[\\/]/)
          .slice(-2)
          .join('/'),
        data: spec.data,
      },
    ]
  }
  return spec.data.map(({ name, ...data }) => ({ name, data }))
}

/** Size of a corpus's vocabulary, as far as the specification says. */
export function vocabOf({ tokenizer }: DataConfig): number {
  if (typeof tokenizer === 'string') return USUAL_VOCAB
  return tokenizer.kind === 'bytes' ? BYTES_VOCAB : tokenizer.vocab
}

/** The models of a specification for one vocabulary. */
export function modelPoints(spec: Spec, vocab: number): ModelPoint[] {
  return spec.models.flatMap((_, i) => modelPointsOf(spec, i, vocab))
}

/** Those of one entry of `models`. */
export function modelPointsOf(
  spec: Pick<Spec, 'models' | 'optimizer' | 'batch'>,
  i: number,
  vocab: number,
): ModelPoint[] {
  const common = Array.isArray(spec.optimizer) ? spec.optimizer : [spec.optimizer]
  const item = spec.models[i]
  const {
    grid = {},
    zip = {},
    optimizer,
    batch = spec.batch,
    ...fields
  } = item as Record<string, unknown> & {
    grid?: Record<string, unknown[]>
    zip?: Record<string, unknown[]>
    optimizer?: Record<string, unknown>
    batch?: number
  }
  const zips = Object.keys(zip).length ? zipPoints(zip) : [{}]
  const optimizers = optimizer
    ? common.map(base => parseConfiguration(optimizerSchema, { ...base, ...optimizer }, `models[${i}].optimizer`))
    : common
  return gridPoints(grid).flatMap(point =>
    zips.map(zipped => {
      const model = parseConfiguration(modelSchema, { ...fields, ...point, ...zipped }, `models[${i}]`)
      const config = modelConfig(model, vocab)
      return { model, config, optimizers, batch, ...countParameters(config) }
    }),
  )
}

type Part = 'weights' | 'activations' | 'kv'

/** A part's rounding as a number of bits where that means the same: 4 for `int4@channel/exact`, so that a run is one run however it is spelled. */
function plainest(value: number | string, part: Part): number | string {
  if (typeof value === 'number') return value
  for (let bits = 2; bits <= 15; bits++) {
    const format = formatOfBits(bits, part)
    if (format && printFormat(format) === value) return bits
  }
  return value
}

/** The precisions: the union of grid, zip, sweeps and list, each once; full precision where nothing is said. */
export function precisionPoints(spec: Spec): PrecisionConfig[] {
  const axes = spec.precision
  const raw: unknown[] = Array.isArray(axes)
    ? axes
    : [
        ...(axes.grid ? gridPoints(axes.grid as Record<string, unknown[]>) : []),
        ...(axes.zip ? zipPoints(axes.zip as Record<string, unknown[]>) : []),
        ...(axes.sweeps ? sweepPoints(axes.sweeps as Record<string, unknown[]>) : []),
        ...(axes.list ?? []),
      ]
  // A grid does not say what its absent fields are: they are the schema's defaults, 16.
  const given = (raw.length ? raw : [{}]).map(point =>
    Object.fromEntries(Object.entries(point as Record<string, unknown>).filter(([, value]) => value !== undefined)),
  )
  const points = given.map((point): PrecisionConfig => {
    const precision = parseConfiguration(precisionSchema, point, 'precision')
    return {
      ...precision,
      weights: plainest(precision.weights, 'weights'),
      activations: plainest(precision.activations, 'activations'),
      kv: plainest(precision.kv, 'kv'),
    }
  })
  return unique(points, canonicalJson)
}

/** Nominal bits of a format: of its element, without scales. */
export function nominalBits(format: Format): number {
  if (format.kind === 'plain') return format.name === 'fp32' ? 32 : 16
  if (format.kind === 'preset') return Number(/\d/.exec(format.name)?.[0])
  return format.element.kind === 'ternary' ? Math.log2(3) : format.element.bits
}

/** The columns P and format of one part of a precision: `format` only where the width says too little. */
export function precisionColumns(value: number | string): { bits: number; format: string | null } {
  if (typeof value === 'number') return { bits: value, format: null }
  return { bits: nominalBits(parseFormat(value)), format: value }
}

/** Numbers of tokens of one model, ascending: those given and those a parameter. */
export function tokenPoints(spec: Spec, n: number, batch: number): number[] {
  const counts = [
    ...spec.tokens,
    ...spec.tokensPerParameter.map(ratio => Math.max(batch, Math.round((ratio * n) / batch) * batch)),
  ]
  const points = [...new Set(counts)].sort((a, b) => a - b)
  if (points.some(tokens => tokens < batch))
    throw new RequestError(`tokens '${points[0]}' is less than one step, expected at least batch '${batch}'`)
  return points
}
