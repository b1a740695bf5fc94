// A GGUF file's keys of sizes as the config.json of its family, and a ModelConfig as those keys.
import type { GgufValue } from '../../checkpoint/gguf.ts'
import { bool, f32, type GgufEntry, text, u32 } from '../../checkpoint/gguf-write.ts'
import { RequestError } from '../../formats/error.ts'
import type { ModelConfig, RopeScaling } from '../config.ts'
import type { GgufArchitecture } from './gguf.ts'
import { type ConfigReader, readConfig } from './reader.ts'

/** What the tensors say that the keys do not. */
export interface GgufTensors {
  has(name: string): boolean
  shape(name: string): readonly number[]
  /** Divisors of the rotary frequencies (rope_freqs, or rope_factors_short and _long), undefined: none. */
  factors(name: 'rope_freqs' | 'rope_factors_short' | 'rope_factors_long'): number[] | undefined
}

/** Keys of an architecture that do not change the logits. */
const HARMLESS = [
  'vocab_size',
  'rope.scaling.finetuned',
  'attention.causal',
  'tensor_data_layout',
  'attention.max_alibi_bias',
  'rope.dimension_sections',
  'attention.value_length',
]

/** Families whose window llama.cpp has a key for. */
const WINDOWED: readonly string[] = ['mistral', 'starcoder2', 'gemma2', 'gemma3_text']

/** Numbers that llama.cpp stores in one key for all layers or as a list with one for each; a list must agree. */
function perLayer(keys: ConfigReader, key: string, fallback?: number): number {
  const value = keys.value(key)
  if (value instanceof Int32Array || value instanceof Uint32Array) {
    if (value.length === 0 || value.some(one => one !== value[0]))
      throw new RequestError(`the GGUF file has '${key}' that differs from layer to layer, which is not supported`)
    return value[0]
  }
  return keys.integer(key, fallback)
}

/** Rotary scaling as `rope_scaling` of a config.json, null: none. */
function scalingOf(keys: ConfigReader, tensors: GgufTensors, context: number): Record<string, unknown> | null {
  const type = keys.value('rope.scaling.type')
  const linear = keys.optionalNumber('rope.scale_linear')
  const factor = keys.number('rope.scaling.factor', linear ?? 1)
  const original = keys.integer('rope.scaling.original_context_length', context)
  const magnitude = keys.optionalNumber('rope.scaling.attn_factor')
  const logMultiplier = keys.optionalNumber('rope.scaling.yarn_log_multiplier')
  const [short, long] = [tensors.factors('rope_factors_short'), tensors.factors('rope_factors_long')]
  const stretched = tensors.factors('rope_freqs')
  if (short && long)
    return {
      rope_type: 'longrope',
      short_factor: short,
      long_factor: long,
      original_max_position_embeddings: original,
      ...(magnitude === null ? { factor: context / original } : { attention_factor: magnitude }),
    }
  if (stretched?.some(x => x !== 1))
    return {
      rope_type: 'longrope',
      short_factor: stretched,
      long_factor: stretched,
      original_max_position_embeddings: context,
      attention_factor: 1,
    }
  if (type === 'linear' || (type === undefined && factor !== 1)) return { rope_type: 'linear', factor }
  if (type === 'yarn') {
    const fast = keys.optionalNumber('rope.scaling.yarn_beta_fast')
    const slow = keys.optionalNumber('rope.scaling.yarn_beta_slow')
    if (logMultiplier !== null)
      throw new RequestError(`the GGUF file has 'rope.scaling.yarn_log_multiplier', which is not supported`)
    const betas = { ...(fast !== null && { beta_fast: fast }), ...(slow !== null && { beta_slow: slow }) }
    return {
      rope_type: 'yarn',
      factor,
      original_max_position_embeddings: original,
      ...betas,
      ...(magnitude !== null && { attention_factor: magnitude }),
    }
  }
  if (type === undefined || type === 'none' || type === 'longrope') return null
  throw new RequestError(
    `the GGUF file has rope.scaling.type '${String(type).slice(0, 50)}', expected none, linear, yarn or longrope`,
  )
}

/** A float32 number as the decimal that people wrote: 1e-5, not 9.999999747378752e-6. */
function shortest(value: GgufValue): GgufValue {
  if (typeof value !== 'number' || Number.isInteger(value)) return value
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return value
}

/** config.json of a GGUF file. Throws RequestError at a key of the architecture that no one reads. */
export function configOfGguf(
  metadata: Readonly<Record<string, GgufValue>>,
  { name, family }: GgufArchitecture,
  tensors: GgufTensors,
  ignore: readonly string[],
): Record<string, unknown> {
  const own = Object.entries(metadata).filter(([key]) => key.startsWith(`${name}.`))
  const keys = readConfig(
    Object.fromEntries(own.map(([key, value]) => [key.slice(name.length + 1), shortest(value)])),
    ignore,
  )
  const width = keys.integer('embedding_length')
  const heads = perLayer(keys, 'attention.head_count')
  const kvHeads = perLayer(keys, 'attention.head_count_kv', heads)
  const headSize = keys.integer('attention.key_length', Math.floor(width / heads))
  const context = keys.integer('context_length')
  const rotated = keys.integer('rope.dimension_count', headSize)
  const theta = keys.number('rope.freq_base', 10000)
  const has = (tensor: string) => tensors.has(tensor)
  const rope = { rope_theta: theta, rope_scaling: scalingOf(keys, tensors, context) }
  const common = {
    model_type: family,
    vocab_size: tensors.shape('token_embd.weight')[0],
    num_hidden_layers: keys.integer('block_count'),
    hidden_size: width,
    num_attention_heads: heads,
    max_position_embeddings: context,
    tie_word_embeddings: !has('output.weight'),
  }
  const hidden = perLayer(keys, 'feed_forward_length')
  const eps = keys.number(['attention.layer_norm_rms_epsilon', 'attention.layer_norm_epsilon'], 1e-5)
  const window = keys.optionalInteger('attention.sliding_window')
  const llamaLike = {
    ...common,
    intermediate_size: hidden,
    num_key_value_heads: kvHeads,
    head_dim: headSize,
    ...(['starcoder2', 'phi', 'stablelm', 'olmo'].includes(family) ? {} : { rms_norm_eps: eps }),
    ...rope,
  }
  const fraction = { partial_rotary_factor: rotated / headSize }
  const bias = { attention_bias: has('blk.0.attn_q.bias'), mlp_bias: has('blk.0.ffn_up.bias') }
  const partial = ['phi', 'stablelm', 'gpt_neox'].includes(family)
  if (!partial && rotated !== headSize)
    throw new RequestError(
      `the GGUF file has rope.dimension_count ${rotated}, expected ${headSize} for a ${family} model`,
    )
  if (window !== null && !WINDOWED.includes(family))
    throw new RequestError(`the GGUF file has attention.sliding_window ${window}, which no ${family} model has`)
  const raw = ((): Record<string, unknown> => {
    switch (family) {
      case 'llama':
        return { ...llamaLike, ...bias }
      case 'mistral':
        return { ...llamaLike, sliding_window: window }
      case 'qwen2':
        return { ...llamaLike, use_sliding_window: false }
      case 'qwen3':
      case 'olmo2':
        return { ...llamaLike, attention_bias: bias.attention_bias }
      case 'smollm3':
        return { ...llamaLike, ...bias }
      case 'olmo':
        return {
          ...llamaLike,
          attention_bias: bias.attention_bias,
          clip_qkv: keys.optionalNumber('attention.clamp_kqv'),
        }
      case 'starcoder2':
        return { ...llamaLike, norm_epsilon: eps, use_bias: has('blk.0.ffn_up.bias'), sliding_window: window }
      case 'gemma2':
        return {
          ...llamaLike,
          ...{
            sliding_window: window ?? 4096,
            query_pre_attn_scalar: gemmaScalar(common.num_hidden_layers, width, heads, headSize),
          },
          attn_logit_softcapping: keys.optionalNumber('attn_logit_softcapping'),
          final_logit_softcapping: keys.optionalNumber('final_logit_softcapping'),
        }
      case 'gemma3_text': {
        const rope_local_base_freq = keys.number('rope.freq_base_swa', 10000)
        const scalar = common.num_hidden_layers === 62 ? width / heads : headSize
        return {
          ...llamaLike,
          sliding_window: window,
          query_pre_attn_scalar: scalar,
          rope_local_base_freq,
          final_logit_softcapping: keys.optionalNumber('final_logit_softcapping'),
        }
      }
      case 'phi':
        return { ...llamaLike, ...fraction, layer_norm_eps: eps }
      case 'stablelm':
        keys.value('use_parallel_residual') // converters write true whatever the model is; llama.cpp looks for the norm
        return {
          ...{ ...llamaLike, ...fraction, layer_norm_eps: eps, use_qkv_bias: has('blk.0.attn_q.bias') },
          ...{
            use_parallel_residual: !has('blk.0.ffn_norm.weight'),
            qk_layernorm: has('blk.0.attn_q_norm.weight'),
          },
        }
      case 'gpt2':
        return {
          ...common,
          n_embd: width,
          n_layer: common.num_hidden_layers,
          n_head: heads,
          n_inner: hidden,
          n_positions: context,
          layer_norm_epsilon: eps,
        }
      case 'gpt_neox':
        return {
          ...{
            ...common,
            intermediate_size: hidden,
            layer_norm_eps: eps,
            use_parallel_residual: keys.flag('use_parallel_residual', true),
            attention_bias: has('blk.0.attn_qkv.bias'),
          },
          ...{ rotary_emb_base: theta, rotary_pct: rotated / headSize, rope_scaling: rope.rope_scaling },
        }
      case 'bloom':
        return bloomConfig({ ...common, n_head: heads, layer_norm_epsilon: eps, seq_length: context })
    }
    return falconConfig({ ...common, layer_norm_epsilon: eps, ffn_hidden_size: hidden, ...rope }, heads, kvHeads, has)
  })()
  keys.finish(HARMLESS)
  return raw
}

/** Gemma 2's 27B divides scores by sqrt(width / heads), the others by sqrt(head size). */
const gemmaScalar = (layers: number, width: number, heads: number, headSize: number) =>
  layers === 46 ? width / heads : headSize

/** BLOOM's positions have no limit, so its config.json has no key for one. */
function bloomConfig({
  max_position_embeddings: _,
  num_hidden_layers,
  num_attention_heads: __,
  ...raw
}: Record<string, unknown>): Record<string, unknown> {
  return { ...raw, n_layer: num_hidden_layers }
}

/** Falcon's kind from the norms that its blocks have. */
function falconConfig(
  common: Record<string, unknown>,
  heads: number,
  kvHeads: number,
  has: (name: string) => boolean,
): Record<string, unknown> {
  const two = has('blk.0.attn_norm_2.weight')
  return {
    ...common,
    num_kv_heads: kvHeads,
    multi_query: kvHeads === 1,
    new_decoder_architecture: two || (kvHeads !== 1 && kvHeads !== heads),
    num_ln_in_parallel_attn: two ? 2 : 1,
    bias: has('blk.0.attn_qkv.bias'),
  }
}

/** The keys of a model, the reverse of configOfGguf; throws RequestError for what llama.cpp has no key for. */
export function metadataOfConfig(config: ModelConfig, { name, family }: GgufArchitecture): Record<string, GgufEntry> {
  const { position, norm, attention, headSize, heads, width } = config
  const keys: Record<string, GgufEntry> = {
    context_length: u32(config.context),
    embedding_length: u32(width),
    block_count: u32(config.layers),
    feed_forward_length: u32(config.hidden),
    'attention.head_count': u32(heads),
    'attention.head_count_kv': u32(config.kvHeads),
    [norm.kind === 'rms' ? 'attention.layer_norm_rms_epsilon' : 'attention.layer_norm_epsilon']: f32(norm.eps),
    vocab_size: u32(config.vocab),
  }
  const unsupported = (what: string) => new RequestError(`GGUF has no place for ${what} of a ${family} model`)
  if (headSize * heads !== width)
    Object.assign(keys, { 'attention.key_length': u32(headSize), 'attention.value_length': u32(headSize) })
  if (position.kind === 'rope') {
    keys['rope.dimension_count'] = u32(Math.round(headSize * position.fraction))
    keys['rope.freq_base'] = f32(position.theta)
    if (position.localTheta !== undefined && position.localTheta !== 10000)
      keys['rope.freq_base_swa'] = f32(position.localTheta)
    if (position.scaling) Object.assign(keys, scalingKeys(position.scaling, unsupported))
  }
  if (position.kind === 'alibi') keys['attention.max_alibi_bias'] = f32(8)
  if (attention.windows) {
    const sizes = new Set(attention.windows.filter(size => size !== null))
    if (sizes.size > 1 || !['mistral', 'starcoder2', 'gemma2', 'gemma3_text'].includes(family))
      throw unsupported('windows')
    keys['attention.sliding_window'] = u32([...sizes][0] as number)
  }
  if (attention.clip !== null) keys['attention.clamp_kqv'] = f32(attention.clip)
  if (attention.softcap !== null) keys['attn_logit_softcapping'] = f32(attention.softcap)
  if (config.logitSoftcap !== null) keys['final_logit_softcapping'] = f32(config.logitSoftcap)
  if (family === 'gpt_neox') keys['use_parallel_residual'] = bool(config.residual === 'parallel')
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${name}.${key}`, value]))
}

/** Keys of a scaling that llama.cpp has keys for; llama3 and longrope are tensors of divisors instead. */
function scalingKeys(scaling: RopeScaling, unsupported: (what: string) => RequestError): Record<string, GgufEntry> {
  if (scaling.kind === 'linear')
    return { 'rope.scaling.type': text('linear'), 'rope.scaling.factor': f32(scaling.factor) }
  if (scaling.kind === 'llama3') return {}
  if (scaling.kind === 'longrope')
    return {
      'rope.scaling.original_context_length': u32(scaling.originalContext),
      'rope.scaling.attn_factor': f32(scaling.attentionFactor),
    }
  if (scaling.kind === 'yarn' && scaling.mscale === undefined && scaling.truncate === undefined) {
    const { factor, originalContext, betaFast, betaSlow, attentionFactor } = scaling
    return {
      ...{
        'rope.scaling.type': text('yarn'),
        'rope.scaling.factor': f32(factor),
        'rope.scaling.original_context_length': u32(originalContext),
      },
      ...(betaFast !== 32 && { 'rope.scaling.yarn_beta_fast': f32(betaFast) }),
      ...(betaSlow !== 1 && { 'rope.scaling.yarn_beta_slow': f32(betaSlow) }),
      ...(attentionFactor !== null && { 'rope.scaling.attn_factor': f32(attentionFactor) }),
    }
  }
  throw unsupported(`rotary scaling ${scaling.kind}`)
}
