// A study's specification: corpora, models, tokens, precisions, schedules, seeds; what is quantized how; what is scored and fitted.
// The parts that a run has too are the schemas of train/config.ts. A schema's message says what was expected; yaml.ts adds line and key.
import { z } from 'zod'
import { findTask, TASK_NAMES } from '../evaluate/tasks.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseFormat } from '../formats/index.ts'
import { findLaw } from '../laws/index.ts'
import { parseQuantity } from '../table/quantity.ts'
import { dataSchema, modelSchema, optimizerSchema, precisionSchema, scheduleSchema } from '../train/config.ts'
import { quantity, tokenCount, whole } from '../train/parse.ts'
import { expandBraces, withBlock } from './axes.ts'
import { type Condition, conditionSchema } from './conditions.ts'
import { modelPointsOf, vocabOf } from './points.ts'
import { parseYaml, spell } from './yaml.ts'

const words = (what: string) => z.string(what).min(1, what)
const list = <T extends z.ZodType>(item: T, what: string) => z.array(item, what).min(1, what)

/** Fields with lists of values, of one length where they are zipped. */
const grid = (fields: z.ZodRawShape, what: string) => {
  const listOf = (name: string, field: unknown) =>
    z
      .array(field as z.ZodType, `a list of values of ${name}`)
      .min(1, `at least one value of ${name}`)
      .optional()
  const lists = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, listOf(name, field)]))
  return z.strictObject(lists, what)
}
const zipped = (fields: z.ZodRawShape, what: string) =>
  grid(fields, what).refine(
    lists => new Set(Object.values(lists).map(values => (values as unknown[] | undefined)?.length)).size <= 1,
    'lists of one length in a zip',
  )

const modelFields = modelSchema.shape
const looseModel = z.strictObject(
  {
    ...Object.fromEntries(Object.entries(modelFields).map(([name, field]) => [name, (field as z.ZodType).optional()])),
    grid: grid(modelFields, 'lists of values of a model’s fields').optional(),
    zip: zipped(modelFields, 'lists of values of a model’s fields').optional(),
    optimizer: z.record(z.string(), z.unknown()).optional(),
    batch: whole(1).optional(),
  },
  'a model { family, width, layers, … }, or one with { grid: { width: [64, 128] } } or { zip: … }',
)

const precisionFields = precisionSchema.shape
const precisionAxes = z.strictObject(
  {
    grid: grid(precisionFields, 'lists of bits or formats of weights, activations, kv, gradients').optional(),
    zip: zipped(precisionFields, 'lists of bits or formats of weights, activations, kv, gradients').optional(),
    sweeps: grid(precisionFields, 'lists of bits or formats of weights, activations, kv, gradients').optional(),
    list: list(precisionSchema, 'a list of precisions like { weights: 8, activations: 8 }').optional(),
  },
  '{ grid, zip, sweeps, list }',
)

const formatSpellings = z
  .array(
    words('a format like int4@64').transform((text, context) => {
      const spellings = expandBraces(text)
      for (const spelling of spellings)
        try {
          parseFormat(withBlock(spelling, 64))
        } catch (error) {
          context.addIssue({ code: 'custom', message: `a format (${(error as Error).message})` })
          return z.NEVER
        }
      return spellings
    }),
    'a list of formats like int{3,4}@64',
  )
  .min(1, 'a list of formats like int{3,4}@64')
  .transform(lists => lists.flat())

/** The methods of post-training quantization. */
export const METHODS = ['rtn', 'gptq', 'awq'] as const

const quantizeSchema = z.strictObject(
  {
    methods: list(z.enum(METHODS, `one of ${METHODS.join(', ')}`), 'a list of methods').default(['rtn']),
    formats: formatSpellings,
    blocks: list(
      z.union([whole(2), z.enum(['channel', 'tensor'])], { error: 'a block size, channel or tensor' }),
      'a list of block sizes',
    ).optional(),
    calibration: z.strictObject({ tokens: tokenCount().optional() }, '{ tokens: 64e3 }').optional(),
    damp: quantity('a share like 0.01').optional(),
    actOrder: z.boolean('true or false').optional(),
    staticGroups: z.boolean('true or false').optional(),
    order: z.enum(['block', 'sequential'], 'block or sequential').optional(),
    where: conditionSchema.optional(),
  },
  '{ methods: [rtn], formats: ["int4@64"] }',
)

const namedData = dataSchema.extend({ name: words('a name of this corpus') })
const oneOrMore = <T extends z.ZodType>(item: T, what: string) => z.union([item, list(item, what)], { error: what })

/** A model that exists: a path or hub name, and what its own files do not say. */
export interface Checkpoint {
  model: string
  d?: number
  corpus?: string
  family?: string
}

const checkpointSchema = z.union(
  [
    words('a path or hub name').transform((model): Checkpoint => ({ model })),
    z.strictObject({
      model: words('a path or hub name'),
      d: tokenCount().optional(),
      corpus: words('a corpus').optional(),
      family: words('a family').optional(),
    }),
  ],
  { error: 'a path, a hub name like owner/name@revision, or { model, d }' },
)

const hours = z.union([z.number(), z.string()]).transform((value, context) => {
  try {
    const seconds = typeof value === 'number' ? value * 3600 : parseQuantity(value, 'seconds', 'hours')
    if (seconds > 0) return seconds / 3600
  } catch {
    // Said below.
  }
  context.addIssue({ code: 'custom', message: 'hours like 6, or a time like 45m' })
  return z.NEVER
})

/** A study's specification, defaults filled in. */
export const specSchema = z.strictObject(
  {
    $schema: z.string().optional(),
    name: words('a name').regex(/^[\w.-]{1,60}$/, 'a name of letters, digits, dots and dashes (at most 60)'),
    data: z
      .union([dataSchema, list(namedData, 'a list of corpora')], {
        error: 'data: { train, valid, tokenizer }, or a list of these with a name each',
      })
      .optional(),
    models: z
      .union([looseModel.transform(model => [model]), list(looseModel, 'a list of models')], {
        error: 'a list of models, or one with { grid } or { zip }',
      })
      .default([]),
    tokens: z.array(tokenCount(), 'a list of tokens like [1e6, 4M]').default([]),
    tokensPerParameter: z
      .array(
        quantity('a number of tokens a parameter', value => value > 0),
        'a list like [5, 20, 80]',
      )
      .default([]),
    precision: z
      .union([precisionAxes, list(precisionSchema, 'a list of precisions')], {
        error: 'precision: { grid, zip, sweeps, list }',
      })
      .default({}),
    optimizer: oneOrMore(optimizerSchema, 'optimizer: { lr, … } or a list of these').prefault({}),
    batch: whole(1).default(8192),
    schedules: list(scheduleSchema, 'a list of schedules like { kind: cosine }').prefault(['cosine']),
    /** Runs of wsd or constant schedules that differ in their tokens only share one training. */
    trunks: z.boolean('true or false').default(false),
    seeds: list(whole(0), 'a list of whole numbers').default([0]),
    average: z
      .strictObject(
        { last: quantity('a share of all steps above 0, at most 1', value => value > 0 && value <= 1) },
        '{ last: 0.1 }',
      )
      .optional(),
    quantize: oneOrMore(quantizeSchema, 'quantize: { methods, formats } or a list of these').optional(),
    evaluate: z
      .strictObject(
        {
          tokens: tokenCount().default(100e3),
          kl: z.boolean('true or false').default(false),
          tasks: z.array(z.enum(TASK_NAMES, `one of ${TASK_NAMES.join(', ')}`), 'a list of tasks').default([]),
          taskData: words('a folder with the sets of the tasks').optional(),
          every: tokenCount().optional(),
        },
        'evaluate: { tokens, kl, tasks }',
      )
      .prefault({}),
    checkpoints: z.array(checkpointSchema, 'a list of paths and hub names').default([]),
    exclude: z.array(conditionSchema, 'a list of conditions like { precision.activations: { lt: 4 } }').default([]),
    budget: z.strictObject({ hours }, 'budget: { hours: 6 }').optional(),
    fit: z
      .strictObject(
        {
          laws: list(
            words('the name of a law').transform((name, context) => {
              try {
                return findLaw(name).name
              } catch (error) {
                context.addIssue({ code: 'custom', message: `a law (${(error as Error).message})` })
                return z.NEVER
              }
            }),
            'a list of laws',
          ),
          holdOut: z.enum(['largest-n', 'largest-d', 'none'], 'largest-n, largest-d or none').default('none'),
        },
        'fit: { laws: [chinchilla_tied], holdOut: largest-n }',
      )
      .optional(),
    trainer: z
      .strictObject(
        {
          command: words('a command').refine(
            text => text.includes('{config}') && text.includes('{out}'),
            'a command with {config} and {out} in it',
          ),
        },
        'trainer: { command: "python train.py {config} {out}" }',
      )
      .optional(),
    /** Of one run; a study's speed comes from many runs at once. */
    threads: whole(1).default(1),
  },
  'a study with name, data, models and tokens',
)

/** A specification as read. */
export type Spec = z.output<typeof specSchema>
/** One entry of `quantize` as read: methods, formats and how they are applied. */
export type QuantizeSpec = z.output<typeof quantizeSchema>

/** Reads a specification from YAML or JSON text; throws RequestError with line and key. */
export function parseSpec(text: string, name = 'study'): Spec {
  return parseYaml(text, name, checkedSpec)
}

/** What must hold between the parts. */
const checkedSpec = specSchema.superRefine((spec, context) => {
  const need = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message })
  /** A whole sentence, which stands as it is behind the line. */
  const refuse = (path: PropertyKey[], message: string) =>
    context.addIssue({ code: 'custom', path, message, params: { sentence: true } })
  if (spec.models.length === 0 && spec.checkpoints.length === 0)
    return need(['models'], 'at least one model or checkpoint')
  if (!spec.data) return need(['data'], 'data: { train, valid, tokenizer }')
  if (spec.models.length && spec.tokens.length + spec.tokensPerParameter.length === 0)
    need(['tokens'], 'a list of tokens like [1e6, 4M]')
  if (Array.isArray(spec.data) && new Set(spec.data.map(data => data.name)).size < spec.data.length)
    need(['data'], 'corpora with a name of their own each')
  for (const [i, name] of spec.evaluate.tasks.entries())
    if (spec.evaluate.taskData === undefined && name !== 'last_word')
      refuse(
        ['evaluate', 'tasks', i],
        `evaluate.tasks[${i}] is '${name}', which needs its set, expected evaluate.taskData: a folder with ${findTask(name)?.files[0]}.jsonl`,
      )
  checkModels(spec, refuse)
  for (const [i, condition] of spec.exclude.entries()) checkFields(condition, ['exclude', i], EXCLUDABLE, refuse)
  for (const [i, entry] of (spec.quantize === undefined ? [] : [spec.quantize].flat()).entries())
    if (entry.where)
      checkFields(entry.where, ['quantize', ...(Array.isArray(spec.quantize) ? [i] : []), 'where'], FIELDS, refuse)
})

type Refuse = (path: PropertyKey[], message: string) => void

/** Every model can be made and its steps are whole sequences; said here, where there is a line to name. */
function checkModels(spec: Spec, refuse: Refuse): void {
  const [first] = Array.isArray(spec.data) ? spec.data : spec.data ? [spec.data] : []
  for (const i of spec.models.keys())
    try {
      for (const { batch, config } of modelPointsOf(spec, i, vocabOf(first))) {
        const few = spec.tokens.findIndex(tokens => tokens < batch)
        if (few >= 0) {
          const message = `tokens[${few}] is ${spec.tokens[few]}, less than one step, expected at least batch '${batch}'`
          refuse(['tokens', few], message)
          return
        }
        if (!spec.trainer && batch % config.context !== 0)
          throw new RequestError(
            `models[${i}]: batch '${batch}' is not a multiple of context '${config.context}', expected whole sequences a step`,
          )
      }
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      refuse(['models', i], error.message.replace(/^model\./, `models[${i}].`))
      return
    }
}

/** The fields of a run's configuration that a condition may name. */
const FIELDS: readonly string[] = [
  ...['seed', 'batch', 'tokens', 'd', 'family', 'model'],
  ...['data.train', 'data.valid', 'data.valid.share', 'data.tokenizer', 'data.tokenizer.kind', 'data.tokenizer.vocab'],
  ...['data.degrade', 'evaluate.tokens', 'evaluate.every', 'average.last', 'trainer.command'],
  ...Object.keys(modelSchema.shape).map(name => `model.${name}`),
  ...Object.keys(precisionSchema.shape).map(name => `precision.${name}`),
  ...['weights', 'activations'].map(name => `precision.absmaxRatio.${name}`),
  ...Object.keys(optimizerSchema.shape).map(name => `optimizer.${name}`),
  ...['kind', 'warmup', 'final', 'decay'].map(name => `schedule.${name}`),
]
const EXCLUDABLE: readonly string[] = [...FIELDS, 'n', 'corpus']

function checkFields(condition: Condition, path: PropertyKey[], known: readonly string[], refuse: Refuse): void {
  const name = Object.keys(condition).find(field => !known.includes(field))
  if (name === undefined) return
  const some = `${known.includes('n') ? 'n, corpus, ' : ''}tokens, seed, model.width or precision.weights`
  refuse(
    [...path, name],
    `${spell(path)} names '${name}', which no run has, expected a field like ${some}${didYouMean(name, known)}`,
  )
}

/** The JSON Schema of specifications, for editors. */
export function specJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(specSchema, { io: 'input', unrepresentable: 'any' })
  return { title: 'A bitlaw study', ...schema }
}
