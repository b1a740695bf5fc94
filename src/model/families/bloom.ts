// BLOOM: ALiBi, a LayerNorm after the embedding, q, k and v fused head by head, the tanh form of GELU, a tied head.
import { type Family, one } from './family.ts'
import { fusedByHead } from './rows.ts'

export const bloom: Family = {
  name: 'bloom',
  architecture: 'BloomForCausalLM',
  config(read) {
    const width = read.integer(['n_embed', 'hidden_size'])
    const heads = read.integer(['n_head', 'num_attention_heads'])
    const headSize = Math.floor(width / heads)
    return {
      family: 'bloom',
      vocab: read.integer('vocab_size'),
      width,
      layers: read.integer(['n_layer', 'num_hidden_layers']),
      heads,
      kvHeads: heads,
      headSize,
      hidden: 4 * width,
      context: read.integer('seq_length', 2048),
      norm: { kind: 'layer', eps: read.number('layer_norm_epsilon', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: 'sequential',
      finalNorm: true,
      embeddingNorm: true,
      embeddingWidth: width,
      embeddingScale: 1,
      position: { kind: 'alibi' },
      mlp: { gated: false, activation: 'geluTanh' },
      bias: { qkv: true, output: true, mlp: true, head: false },
      qkNorm: 'none',
      attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', true),
    }
  },
  harmless: [
    'offset_alibi',
    'masked_softmax_fusion',
    'attention_softmax_in_fp32',
    'bias_dropout_fusion',
    'skip_bias_add',
    'skip_bias_add_qkv',
    'n_inner',
  ],
  fixed: { apply_residual_connection_post_layernorm: false },
  prefix: 'transformer.',
  tensors: () => [
    one('transformer.word_embeddings.weight', 'embedding.weight'),
    one('transformer.word_embeddings_layernorm.*', 'embeddingNorm.*'),
    one('transformer.h.{}.input_layernorm.*', 'layers.{}.attentionNorm.*'),
    {
      file: 'transformer.h.{}.self_attention.query_key_value.*',
      parts: ['layers.{}.q.*', 'layers.{}.k.*', 'layers.{}.v.*'],
      rows: fusedByHead,
    },
    one('transformer.h.{}.self_attention.dense.*', 'layers.{}.o.*'),
    one('transformer.h.{}.post_attention_layernorm.*', 'layers.{}.mlpNorm.*'),
    one('transformer.h.{}.mlp.dense_h_to_4h.*', 'layers.{}.up.*'),
    one('transformer.h.{}.mlp.dense_4h_to_h.*', 'layers.{}.down.*'),
    one('transformer.ln_f.*', 'norm.*'),
    one('lm_head.weight', 'head.weight'),
  ],
  spell: config => ({
    vocab_size: config.vocab,
    hidden_size: config.width,
    n_layer: config.layers,
    n_head: config.heads,
    seq_length: config.context,
    layer_norm_epsilon: config.norm.eps,
    tie_word_embeddings: config.tied,
  }),
}
