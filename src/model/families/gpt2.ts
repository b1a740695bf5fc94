// GPT-2: learned positions, LayerNorms, q, k and v in one matrix, matrices stored (in, out), a tied head.
import { type Family, one } from './family.ts'

export const gpt2: Family = {
  name: 'gpt2',
  architecture: 'GPT2LMHeadModel',
  config(read) {
    const width = read.integer(['n_embd', 'hidden_size'])
    const heads = read.integer(['n_head', 'num_attention_heads'])
    const headSize = Math.floor(width / heads)
    const context = read.integer(['n_positions', 'max_position_embeddings', 'n_ctx'], 1024)
    const scaled = read.flag('scale_attn_weights', true)
    return {
      family: 'gpt2',
      vocab: read.integer('vocab_size'),
      width,
      layers: read.integer(['n_layer', 'num_hidden_layers']),
      heads,
      kvHeads: heads,
      headSize,
      hidden: read.integer('n_inner', 4 * width),
      context,
      norm: { kind: 'layer', eps: read.number('layer_norm_epsilon', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: 'sequential',
      finalNorm: true,
      embeddingNorm: false,
      embeddingWidth: width,
      embeddingScale: 1,
      position: { kind: 'learned', positions: context, offset: 0 },
      mlp: { gated: false, activation: read.activation('activation_function', 'gelu_new') },
      bias: { qkv: true, output: true, mlp: true, head: false },
      qkNorm: 'none',
      attention: { scale: scaled ? 1 / Math.sqrt(headSize) : 1, clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', true),
    }
  },
  harmless: [
    'n_ctx',
    'reorder_and_upcast_attn',
    'summary_type',
    'summary_use_proj',
    'summary_activation',
    'summary_proj_to_labels',
    'n_special',
    'predict_special_tokens',
  ],
  fixed: { scale_attn_by_inverse_layer_idx: false },
  prefix: 'transformer.',
  tensors: () => [
    one('transformer.wte.weight', 'embedding.weight'),
    one('transformer.wpe.weight', 'position.weight'),
    one('transformer.h.{}.ln_1.*', 'layers.{}.attentionNorm.*'),
    {
      file: 'transformer.h.{}.attn.c_attn.*',
      parts: ['layers.{}.q.*', 'layers.{}.k.*', 'layers.{}.v.*'],
      transposed: true,
    },
    one('transformer.h.{}.attn.c_proj.*', 'layers.{}.o.*', { transposed: true }),
    one('transformer.h.{}.ln_2.*', 'layers.{}.mlpNorm.*'),
    one('transformer.h.{}.mlp.c_fc.*', 'layers.{}.up.*', { transposed: true }),
    one('transformer.h.{}.mlp.c_proj.*', 'layers.{}.down.*', { transposed: true }),
    one('transformer.ln_f.*', 'norm.*'),
    one('lm_head.weight', 'head.weight'),
  ],
  ignored: [/(^|\.)h\.\d+\.attn\.(bias|masked_bias)$/],
  spell: config => ({
    vocab_size: config.vocab,
    n_embd: config.width,
    n_layer: config.layers,
    n_head: config.heads,
    n_inner: config.hidden,
    n_positions: config.context,
    n_ctx: config.context,
    activation_function: config.mlp.activation === 'geluTanh' ? 'gelu_new' : config.mlp.activation,
    layer_norm_epsilon: config.norm.eps,
    scale_attn_weights: true,
    tie_word_embeddings: config.tied,
  }),
}
