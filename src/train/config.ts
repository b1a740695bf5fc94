// A run configuration: what `bitlaw train` reads. The parts are schemas of their own, because a study combines them.
// Every message of a schema is what was expected; parse.ts puts the key and the bad value before it.
import { z } from 'zod'
import { formatOfBits, parseFormat, printFormat, RequestError } from '../formats/index.ts'
import type { Precision } from '../model/config.ts'
import { FAMILIES } from './architecture.ts'
import { parseConfiguration, quantity, tokenCount, whole } from './parse.ts'

const share = (expected: string) => quantity(expected, value => value > 0 && value < 1)
const flag = () => z.boolean('true or false')

/** A corpus: a path, a glob, npm:<package>, or a list of these. */
const sourceSchema = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)], {
  error: 'a folder, file, glob or npm:<package>, or a list of these',
})

/** `data`: what is trained on, what is held out, and the vocabulary. */
export const dataSchema = z.strictObject(
  {
    train: sourceSchema,
    valid: z
      .union([sourceSchema, z.strictObject({ share: share('a share of the documents between 0 and 1') })], {
        error: 'a folder, file, glob or npm:<package>, or { share: 0.02 }',
      })
      .default({ share: 0.02 }),
    tokenizer: z
      .union(
        [
          z.string().min(1),
          z.strictObject({ kind: z.literal('bytes') }),
          z.strictObject({ kind: z.literal('bpe'), vocab: whole(257) }),
        ],
        { error: '{ kind: bytes }, { kind: bpe, vocab: 4096 } (at least 257) or a path to tokenizer.json' },
      )
      .default({ kind: 'bytes' }),
    /** Share of the training tokens that are replaced by others of the corpus; what is held out stays as it is. */
    degrade: z
      .number('a share of tokens from 0 to below 1')
      .min(0, 'a share of tokens from 0 to below 1')
      .lt(1, 'a share of tokens from 0 to below 1')
      .optional(),
  },
  'data: { train, valid, tokenizer, degrade }',
)

/** `model`: a family and its sizes; what is left out is as the family has it. */
export const modelSchema = z.strictObject(
  {
    family: z.enum(Object.keys(FAMILIES) as [string, ...string[]], `one of ${Object.keys(FAMILIES).join(', ')}`),
    width: whole(1),
    layers: whole(1),
    heads: whole(1),
    hidden: whole(1).optional(),
    context: whole(1),
    kvHeads: whole(1).optional(),
    headSize: whole(1).optional(),
    qkNorm: z
      .union([flag(), z.enum(['none', 'head', 'whole'])], { error: 'true, false, none, head or whole' })
      .optional(),
    tied: flag().optional(),
    activation: z.enum(['silu', 'gelu', 'geluTanh', 'relu'], 'one of silu, gelu, geluTanh, relu').optional(),
    gated: flag().optional(),
    bias: flag().optional(),
    norm: z.enum(['rms', 'layer'], 'rms or layer').optional(),
    eps: quantity('a number above 0', value => value > 0).optional(),
    theta: quantity('a number above 0', value => value > 0).optional(),
    residual: z
      .enum(['sequential', 'parallel', 'parallelShared'], 'one of sequential, parallel, parallelShared')
      .optional(),
  },
  'model: { family, width, layers, heads, context, … }',
)

/** A number of bits, or the spelling of a format; checked by the formats' own parser, whose words are kept. */
function roundingSchema(part: 'weights' | 'activations' | 'kv' | 'gradients') {
  return z.unknown().transform((value, context): number | string => {
    const fail = (message: string) => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    const expected = 'a whole number of bits from 2 to 16, or a format like fp8e4m3@tensor/exact'
    if (typeof value === 'number') return Number.isInteger(value) && value >= 2 && value <= 16 ? value : fail(expected)
    if (typeof value !== 'string') return fail(expected)
    if (/^\d+$/.test(value) && Number(value) >= 2 && Number(value) <= 16) return Number(value)
    try {
      const format = parseFormat(value)
      if (part !== 'weights' && format.kind === 'scaled' && format.shares === 'channel')
        return fail(`a format of ${part}, which has tokens and no channels: @token, @tensor or a block`)
      if (part === 'weights' && format.kind === 'scaled' && format.shares === 'token')
        return fail('a format of weights, which have channels and no tokens: @channel, @tensor or a block')
      return printFormat(format)
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      return fail(`a number of bits from 2 to 16 or a format (${error.message})`)
    }
  })
}

/** `precision`: bits or formats of the forward weights, activations and KV, and of the operands of the backward pass. */
export const precisionSchema = z.strictObject(
  {
    weights: roundingSchema('weights').default(16),
    activations: roundingSchema('activations').default(16),
    kv: roundingSchema('kv').default(16),
    gradients: roundingSchema('gradients').default(16),
    straightThrough: z.enum(['full', 'clipped'], 'full or clipped').optional(),
    absmaxRatio: z
      .strictObject(
        {
          weights: quantity('a share above 0, at most 1', value => value > 0 && value <= 1).default(1),
          activations: quantity('a share above 0, at most 1', value => value > 0 && value <= 1).default(1),
        },
        '{ weights: 0.6, activations: 0.5 }',
      )
      .optional(),
  },
  'precision: { weights, activations, kv, gradients }',
)

/** `optimizer`: AdamW. `lr` is a number, or points { n, lr } between which it is interpolated in log N, log lr. */
export const optimizerSchema = z.strictObject(
  {
    lr: z
      .union(
        [
          quantity('a number', value => value > 0),
          z
            .array(
              z.strictObject({ n: quantity('N', value => value > 0), lr: quantity('a number', value => value > 0) }),
            )
            .min(1),
        ],
        { error: 'a learning rate above 0, or a list like [{ n: 1e6, lr: 2e-3 }, { n: 1e8, lr: 5e-4 }]' },
      )
      .default(1e-3),
    betas: z
      .tuple([quantity('β', value => value >= 0 && value < 1), quantity('β', value => value >= 0 && value < 1)], {
        error: 'two numbers from 0 to below 1, like [0.9, 0.95]',
      })
      .default([0.9, 0.95]),
    eps: quantity('a number above 0', value => value > 0).default(1e-8),
    weightDecay: quantity('a number from 0', value => value >= 0).default(0.1),
    clip: z
      .union([z.null(), quantity('a number', value => value > 0)], {
        error: 'a gradient norm above 0, or null for none',
      })
      .default(1),
  },
  'optimizer: { lr, betas, eps, weightDecay, clip }',
)

const SCHEDULES = ['cosine', 'linear', 'wsd', 'constant'] as const

/** `schedule`: shares of all steps (warmup, decay) and of the learning rate (final). */
export const scheduleSchema = z
  .union(
    [
      z.enum(SCHEDULES).transform(kind => ({ kind })),
      z.strictObject({
        kind: z.enum(SCHEDULES, `one of ${SCHEDULES.join(', ')}`),
        warmup: quantity('a share of all steps from 0 to 1', value => value >= 0 && value <= 1).optional(),
        final: quantity('a share of the learning rate from 0 to 1', value => value >= 0 && value <= 1).optional(),
        decay: quantity('a share of all steps above 0, at most 1', value => value > 0 && value <= 1).optional(),
      }),
    ],
    { error: 'a schedule like { kind: cosine, warmup: 0.1, final: 0.1 }; kinds are cosine, linear, wsd, constant' },
  )
  .transform((schedule, context) => {
    const {
      kind,
      warmup = 0.1,
      final = kind === 'constant' ? 1 : 0.1,
      decay = 0.2,
    } = schedule as {
      kind: (typeof SCHEDULES)[number]
      warmup?: number
      final?: number
      decay?: number
    }
    const fail = (message: string) => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    if (kind === 'wsd' && warmup + decay > 1) return fail('warmup + decay of at most 1')
    if (kind !== 'wsd' && 'decay' in schedule && schedule.decay !== undefined)
      return fail(`no decay in a ${kind} schedule (only wsd has one)`)
    if (kind === 'constant' && final !== 1) return fail('no final in a constant schedule')
    return kind === 'wsd'
      ? { kind, warmup, final, decay }
      : kind === 'constant'
        ? { kind, warmup }
        : { kind, warmup, final }
  })

/** `evaluate`: validation during training, on the same held-out windows each time. */
const evaluationSchema = z.strictObject(
  { every: tokenCount().optional(), tokens: tokenCount().default(200e3) },
  'evaluate: { every: 2e6, tokens: 200e3 }',
)

/** The whole of a run configuration, defaults filled in. */
const runConfigSchema = z.strictObject(
  {
    name: z.string('a name').min(1, 'a name').optional(),
    seed: whole(0).default(0),
    data: dataSchema,
    model: modelSchema,
    precision: precisionSchema.prefault({}),
    optimizer: optimizerSchema.prefault({}),
    schedule: scheduleSchema.prefault('cosine'),
    batch: whole(1).default(8192),
    tokens: tokenCount(),
    evaluate: evaluationSchema.prefault({}),
    checkpoints: z.array(tokenCount(), 'a list of tokens like [5e6, 20e6]').default([]),
    average: z
      .strictObject(
        { last: quantity('a share of all steps above 0, at most 1', value => value > 0 && value <= 1) },
        '{ last: 0.1 }',
      )
      .optional(),
    save: z.strictObject({ every: tokenCount() }, '{ every: 1e6 } (tokens between saved states)').optional(),
    compute: z.enum(['bf16', 'float'], 'bf16 or float').default('bf16'),
  },
  'a run configuration with data, model and tokens',
)

/** `data` of a run as read. */
export type DataConfig = z.output<typeof dataSchema>
/** `model` of a run as read. */
export type ModelSection = z.output<typeof modelSchema>
/** `precision` of a run as read. */
export type PrecisionConfig = z.output<typeof precisionSchema>
/** `optimizer` of a run as read. */
export type OptimizerConfig = z.output<typeof optimizerSchema>
/** `schedule` of a run as read. */
export type ScheduleConfig = z.output<typeof scheduleSchema>
/** A whole run configuration as read. */
export type RunConfig = z.output<typeof runConfigSchema>
/** A run configuration as it is written, before defaults. */
export type RunConfigInput = z.input<typeof runConfigSchema>

/** Reads a run configuration from what YAML or JSON gave; throws RequestError naming every wrong key, its value and what was expected. */
export function parseRunConfig(value: unknown, name = 'run configuration'): RunConfig {
  return parseConfiguration(runConfigSchema, value, name)
}

/** The precision of a run in the model's own words: numbers become the paper's formats, 16 becomes null. */
export function modelPrecision(precision: PrecisionConfig): Precision {
  const spell = (value: number | string, part: 'weights' | 'activations' | 'kv') => {
    if (typeof value === 'string') return value
    const format = formatOfBits(value, part)
    return format === null ? null : printFormat(format)
  }
  return {
    weights: spell(precision.weights, 'weights'),
    activations: spell(precision.activations, 'activations'),
    kv: spell(precision.kv, 'kv'),
    gradients: spell(precision.gradients, 'activations'),
    ...(precision.straightThrough ? { straightThrough: precision.straightThrough } : {}),
    ...(precision.absmaxRatio ? { absmaxRatio: precision.absmaxRatio } : {}),
  }
}
