// GPT-NeoX and Pythia: attention and MLP in parallel with a norm each, partial rotary positions, q, k and v fused head by head.
import { type Family, one } from './family.ts'
import { readRope, spellRope } from './rope.ts'
import { fusedByHead } from './rows.ts'

export const gpt_neox: Family = {
  name: 'gpt_neox',
  architecture: 'GPTNeoXForCausalLM',
  config(read) {
    const width = read.integer('hidden_size')
    const heads = read.integer('num_attention_heads')
    const headSize = Math.floor(width / heads)
    const context = read.integer('max_position_embeddings', 2048)
    const bias = read.flag('attention_bias', true)
    return {
      family: 'gpt_neox',
      vocab: read.integer('vocab_size'),
      width,
      layers: read.integer('num_hidden_layers'),
      heads,
      kvHeads: heads,
      headSize,
      hidden: read.integer('intermediate_size'),
      context,
      norm: { kind: 'layer', eps: read.number('layer_norm_eps', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: read.flag('use_parallel_residual', true) ? 'parallel' : 'sequential',
      finalNorm: true,
      embeddingNorm: false,
      embeddingWidth: width,
      embeddingScale: 1,
      position: readRope(read, { context, thetaKey: 'rotary_emb_base', fraction: 0.25, fractionKey: 'rotary_pct' }),
      mlp: { gated: false, activation: read.activation('hidden_act', 'gelu') },
      bias: { qkv: bias, output: bias, mlp: true, head: false },
      qkNorm: 'none',
      attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', false),
    }
  },
  harmless: ['rope_theta', 'partial_rotary_factor'],
  prefix: 'gpt_neox.',
  tensors: () => [
    one('gpt_neox.embed_in.weight', 'embedding.weight'),
    one('gpt_neox.layers.{}.input_layernorm.*', 'layers.{}.attentionNorm.*'),
    {
      file: 'gpt_neox.layers.{}.attention.query_key_value.*',
      parts: ['layers.{}.q.*', 'layers.{}.k.*', 'layers.{}.v.*'],
      rows: fusedByHead,
    },
    one('gpt_neox.layers.{}.attention.dense.*', 'layers.{}.o.*'),
    one('gpt_neox.layers.{}.post_attention_layernorm.*', 'layers.{}.mlpNorm.*'),
    one('gpt_neox.layers.{}.mlp.dense_h_to_4h.*', 'layers.{}.up.*'),
    one('gpt_neox.layers.{}.mlp.dense_4h_to_h.*', 'layers.{}.down.*'),
    one('gpt_neox.final_layer_norm.*', 'norm.*'),
    one('embed_out.weight', 'head.weight'),
  ],
  ignored: [/\.attention\.(bias|masked_bias)$/, /\.rotary_emb\.inv_freq$/],
  spell(config) {
    if (config.position.kind !== 'rope') return {}
    const { rope_theta, rope_scaling } = spellRope(config.position)
    return {
      vocab_size: config.vocab,
      hidden_size: config.width,
      intermediate_size: config.hidden,
      num_hidden_layers: config.layers,
      num_attention_heads: config.heads,
      hidden_act: config.mlp.activation === 'geluTanh' ? 'gelu_new' : config.mlp.activation,
      max_position_embeddings: config.context,
      layer_norm_eps: config.norm.eps,
      rotary_emb_base: rope_theta,
      rotary_pct: config.position.fraction,
      rope_scaling,
      use_parallel_residual: config.residual === 'parallel',
      attention_bias: config.bias.qkv,
      tie_word_embeddings: config.tied,
    }
  },
}
