// Bitlaw's own layout, for trained models that no known architecture describes: config.json holds the record itself,
// and tensors have their canonical names.
import { z } from 'zod'
import { RequestError } from '../../formats/error.ts'
import { type ModelConfig, parameterSpecs } from '../config.ts'
import { type Family, one } from './family.ts'

const size = z
  .int()
  .min(1)
  .max(2 ** 31)
const number = z.number()
const activation = z.enum(['silu', 'gelu', 'geluTanh', 'relu'])
const scaling = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('linear'), factor: number }),
  z.strictObject({ kind: z.literal('dynamic'), factor: number, originalContext: number }),
  z.strictObject({
    kind: z.literal('llama3'),
    factor: number,
    lowFrequencyFactor: number,
    highFrequencyFactor: number,
    originalContext: number,
  }),
  z.strictObject({
    ...{ kind: z.literal('yarn'), factor: number, originalContext: number, betaFast: number, betaSlow: number },
    ...{
      attentionFactor: number.nullable(),
      mscale: number.optional(),
      mscaleAllDim: number.optional(),
      truncate: z.boolean().optional(),
    },
  }),
  z.strictObject({
    kind: z.literal('longrope'),
    shortFactor: z.array(number),
    longFactor: z.array(number),
    originalContext: number,
    attentionFactor: number,
  }),
])
const position = z.discriminatedUnion('kind', [
  z.strictObject({
    ...{
      kind: z.literal('rope'),
      theta: z.number().positive(),
      fraction: z.number().positive().max(1),
      scaling: scaling.optional(),
    },
    ...{ localTheta: number.optional(), layers: z.array(z.boolean()).optional() },
  }),
  z.strictObject({ kind: z.literal('learned'), positions: size, offset: z.int().min(0).max(1000) }),
  z.strictObject({ kind: z.literal('alibi'), rounded: z.literal('bf16').optional() }),
])

/** A ModelConfig as JSON; the family's name is not in it. */
const record = z.strictObject({
  ...{
    vocab: size,
    width: size,
    layers: size.max(10_000),
    heads: size,
    kvHeads: size,
    headSize: size,
    hidden: size,
    context: size,
  },
  norm: z.strictObject({
    kind: z.enum(['rms', 'layer']),
    eps: number,
    gain: z.boolean(),
    bias: z.boolean(),
    gainOffset: number,
  }),
  normPlacement: z.enum(['pre', 'post', 'inside', 'sandwich']),
  residual: z.enum(['sequential', 'parallel', 'parallelShared']),
  ...{ finalNorm: z.boolean(), embeddingNorm: z.boolean(), embeddingWidth: size, embeddingScale: number },
  position,
  mlp: z.strictObject({ gated: z.boolean(), activation }),
  bias: z.strictObject({ qkv: z.boolean(), output: z.boolean(), mlp: z.boolean(), head: z.boolean() }),
  qkNorm: z.enum(['none', 'head', 'whole', 'layerHead', 'layerEachHead']),
  attention: z.strictObject({
    ...{ scale: number, clip: number.nullable(), softcap: number.nullable() },
    windows: z.array(size.nullable()).optional(),
  }),
  ...{ logitSoftcap: number.nullable(), tied: z.boolean() },
})

/** A model that no published family describes: its whole record stands in config.json under `model`, its tensors have the record's own names. */
export const bitlaw: Family = {
  name: 'bitlaw',
  architecture: 'BitlawForCausalLM',
  config(read): ModelConfig {
    const { data, error } = record.safeParse(read.value('model'))
    if (error) {
      const issue = error.issues[0]
      throw new RequestError(`config.json has 'model.${issue.path.join('.')}' wrong: ${issue.message.toLowerCase()}`)
    }
    return { family: 'bitlaw', ...data }
  },
  harmless: ['tie_word_embeddings'],
  prefix: '',
  tensors: config => parameterSpecs(config).map(({ name }) => one(name, name)),
  spell({ family: _, ...model }) {
    return { model }
  },
}
