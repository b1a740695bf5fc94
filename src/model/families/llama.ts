// Llama, and the base of most later families: RMS norms before each part, rotary positions, gated SiLU.
import type { ModelConfig } from '../config.ts'
import { type Family, one, type TensorRule } from './family.ts'
import type { ConfigReader } from './reader.ts'
import { readRope, spellRope } from './rope.ts'

/** Widths under the names that Llama and its relatives share. */
export function readWidths(read: ConfigReader) {
  const width = read.integer('hidden_size')
  const heads = read.integer('num_attention_heads')
  return {
    vocab: read.integer('vocab_size'),
    width,
    layers: read.integer('num_hidden_layers'),
    heads,
    kvHeads: read.integer('num_key_value_heads', heads),
    headSize: read.integer('head_dim', Math.floor(width / heads)),
    hidden: read.integer('intermediate_size'),
    embeddingWidth: width,
  }
}

/** The ModelConfig of a Llama-like config.json; families change what differs. */
export function readLlamaLike(
  read: ConfigReader,
  family: string,
  { context = 2048, theta = 10000, tied = false } = {},
): ModelConfig {
  const widths = readWidths(read)
  const positions = read.integer('max_position_embeddings', context)
  const attentionBias = read.flag('attention_bias', false)
  return {
    family,
    ...widths,
    context: positions,
    norm: { kind: 'rms', eps: read.number('rms_norm_eps', 1e-6), gain: true, bias: false, gainOffset: 0 },
    normPlacement: 'pre',
    residual: 'sequential',
    finalNorm: true,
    embeddingNorm: false,
    embeddingScale: 1,
    position: readRope(read, { theta, context: positions }),
    mlp: { gated: true, activation: read.activation('hidden_act', 'silu') },
    bias: { qkv: attentionBias, output: attentionBias, mlp: read.flag('mlp_bias', false), head: false },
    qkNorm: 'none',
    attention: { scale: 1 / Math.sqrt(widths.headSize), clip: null, softcap: null },
    logitSoftcap: null,
    tied: read.flag('tie_word_embeddings', tied),
  }
}

/** Tensor names that Llama and its relatives share. */
export const LLAMA_TENSORS: readonly TensorRule[] = [
  one('model.embed_tokens.weight', 'embedding.weight'),
  one('model.layers.{}.input_layernorm.*', 'layers.{}.attentionNorm.*'),
  one('model.layers.{}.self_attn.q_proj.*', 'layers.{}.q.*'),
  one('model.layers.{}.self_attn.k_proj.*', 'layers.{}.k.*'),
  one('model.layers.{}.self_attn.v_proj.*', 'layers.{}.v.*'),
  one('model.layers.{}.self_attn.q_norm.weight', 'layers.{}.qNorm.weight'),
  one('model.layers.{}.self_attn.k_norm.weight', 'layers.{}.kNorm.weight'),
  one('model.layers.{}.self_attn.o_proj.*', 'layers.{}.o.*'),
  one('model.layers.{}.post_attention_layernorm.*', 'layers.{}.mlpNorm.*'),
  one('model.layers.{}.mlp.gate_proj.*', 'layers.{}.gate.*'),
  one('model.layers.{}.mlp.up_proj.*', 'layers.{}.up.*'),
  one('model.layers.{}.mlp.down_proj.*', 'layers.{}.down.*'),
  one('model.norm.*', 'norm.*'),
  one('lm_head.*', 'head.*'),
]

/** Rotary tables that old files carry. */
export const ROTARY_BUFFERS: readonly RegExp[] = [/\.rotary_emb\.inv_freq$/, /\.rotary_emb\.(cos|sin)_cached$/]

/** config.json of a Llama-like ModelConfig. */
export function spellLlamaLike(config: ModelConfig): Record<string, unknown> {
  if (config.position.kind !== 'rope') return {}
  return {
    vocab_size: config.vocab,
    hidden_size: config.width,
    intermediate_size: config.hidden,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headSize,
    hidden_act: config.mlp.activation === 'geluTanh' ? 'gelu_pytorch_tanh' : config.mlp.activation,
    max_position_embeddings: config.context,
    rms_norm_eps: config.norm.eps,
    ...spellRope(config.position),
    attention_bias: config.bias.qkv,
    mlp_bias: config.bias.mlp,
    tie_word_embeddings: config.tied,
  }
}

export const llama: Family = {
  name: 'llama',
  architecture: 'LlamaForCausalLM',
  config: read => readLlamaLike(read, 'llama'),
  harmless: ['max_sequence_length'],
  prefix: 'model.',
  tensors: () => LLAMA_TENSORS,
  ignored: ROTARY_BUFFERS,
  spell: spellLlamaLike,
}
