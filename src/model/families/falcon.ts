// Falcon: 7B (one key/value head, one shared norm), 40B (groups of heads, two norms in parallel), RW (ALiBi, sequential, biases).
import type { ModelConfig, Position } from '../config.ts'
import { type Family, one } from './family.ts'
import type { ConfigReader } from './reader.ts'
import { readRope } from './rope.ts'
import { fusedByHead } from './rows.ts'

/** How the parts of a block are joined, and with how many norms. */
function readResidual(read: ConfigReader, newer: boolean): ModelConfig['residual'] {
  const parallel = read.flag('parallel_attn', true)
  const norms = read.optionalInteger('num_ln_in_parallel_attn')
  if (newer) return (norms ?? 2) === 2 ? 'parallel' : 'parallelShared'
  return parallel ? 'parallelShared' : 'sequential'
}

/** Falcon (7B, 40B, RW and 11B kinds): rotary or ALiBi, one shared, grouped or all key heads, a joined q/k/v tensor. */
export const falcon: Family = {
  name: 'falcon',
  architecture: 'FalconForCausalLM',
  config(read) {
    const width = read.integer(['n_embed', 'hidden_size'])
    const heads = read.integer(['num_attention_heads', 'n_head'])
    const headSize = Math.floor(width / heads)
    const context = read.integer('max_position_embeddings', 2048)
    const newer = read.flag('new_decoder_architecture', false)
    const single = read.flag('multi_query', true) && !newer
    const groups = read.integer(['num_kv_heads', 'n_head_kv'], heads)
    const bias = read.flag('bias', false)
    const alibi = read.flag('alibi', false)
    const rope = readRope(read, { context })
    const position: Position = alibi ? { kind: 'alibi', rounded: 'bf16' } : rope
    return {
      family: 'falcon',
      vocab: read.integer('vocab_size'),
      width,
      layers: read.integer(['num_hidden_layers', 'n_layer']),
      heads,
      kvHeads: single ? 1 : newer ? groups : heads,
      headSize,
      hidden: read.integer('ffn_hidden_size', 4 * width),
      context,
      norm: { kind: 'layer', eps: read.number('layer_norm_epsilon', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: readResidual(read, newer),
      finalNorm: true,
      embeddingNorm: false,
      embeddingWidth: width,
      embeddingScale: 1,
      position,
      mlp: { gated: false, activation: read.activation('activation', 'gelu') },
      bias: { qkv: bias, output: bias, mlp: bias, head: false },
      qkNorm: 'none',
      attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', true),
    }
  },
  fixed: { apply_residual_connection_post_layernorm: false },
  prefix: 'transformer.',
  tensors(config) {
    const two = config.residual === 'parallel'
    return [
      one('transformer.word_embeddings.weight', 'embedding.weight'),
      one(`transformer.h.{}.${two ? 'ln_attn' : 'input_layernorm'}.*`, 'layers.{}.attentionNorm.*'),
      {
        file: 'transformer.h.{}.self_attention.query_key_value.*',
        parts: ['layers.{}.q.*', 'layers.{}.k.*', 'layers.{}.v.*'],
        rows: fusedByHead,
      },
      one('transformer.h.{}.self_attention.dense.*', 'layers.{}.o.*'),
      one(`transformer.h.{}.${two ? 'ln_mlp' : 'post_attention_layernorm'}.*`, 'layers.{}.mlpNorm.*'),
      one('transformer.h.{}.mlp.dense_h_to_4h.*', 'layers.{}.up.*'),
      one('transformer.h.{}.mlp.dense_4h_to_h.*', 'layers.{}.down.*'),
      one('transformer.ln_f.*', 'norm.*'),
      one('lm_head.weight', 'head.weight'),
    ]
  },
  ignored: [/\.rotary_emb\.inv_freq$/, /\.maybe_rotary\.inv_freq$/],
}
