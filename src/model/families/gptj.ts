// GPT-J: attention and MLP in parallel behind one norm, rotation of neighbouring pairs (brought to halves on reading), a bias on the head.
import type { ModelConfig } from '../config.ts'
import { type Family, one } from './family.ts'
import { interleavedPairs } from './rows.ts'

/** Rows of q and k: the rotated pairs from neighbours to halves. */
function halves({ heads, headSize, position }: ModelConfig): Int32Array {
  return interleavedPairs(
    heads,
    headSize,
    position.kind === 'rope' ? Math.round(headSize * position.fraction) : headSize,
  )
}

export const gptj: Family = {
  name: 'gptj',
  architecture: 'GPTJForCausalLM',
  config(read) {
    const width = read.integer(['n_embd', 'hidden_size'])
    const heads = read.integer(['n_head', 'num_attention_heads'])
    const headSize = Math.floor(width / heads)
    const rotated = read.keys().includes('rotary_dim')
      ? (read.optionalInteger('rotary_dim') ?? headSize)
      : Math.min(64, headSize)
    return {
      family: 'gptj',
      vocab: read.integer('vocab_size'),
      width,
      layers: read.integer(['n_layer', 'num_hidden_layers']),
      heads,
      kvHeads: heads,
      headSize,
      hidden: read.integer('n_inner', 4 * width),
      context: read.integer(['n_positions', 'max_position_embeddings', 'n_ctx'], 2048),
      norm: { kind: 'layer', eps: read.number('layer_norm_epsilon', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: 'parallelShared',
      finalNorm: true,
      embeddingNorm: false,
      embeddingWidth: width,
      embeddingScale: 1,
      position: { kind: 'rope', theta: 10000, fraction: rotated / headSize },
      mlp: { gated: false, activation: read.activation('activation_function', 'gelu_new') },
      bias: { qkv: false, output: false, mlp: true, head: true },
      qkNorm: 'none',
      attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', false),
    }
  },
  harmless: ['n_ctx', 'summary_type', 'summary_use_proj', 'summary_activation', 'summary_proj_to_labels'],
  fixed: { rotary: true, scale_attn_weights: true },
  prefix: 'transformer.',
  tensors: () => [
    one('transformer.wte.weight', 'embedding.weight'),
    one('transformer.h.{}.ln_1.*', 'layers.{}.attentionNorm.*'),
    one('transformer.h.{}.attn.q_proj.weight', 'layers.{}.q.weight', { rows: halves }),
    one('transformer.h.{}.attn.k_proj.weight', 'layers.{}.k.weight', { rows: halves }),
    one('transformer.h.{}.attn.v_proj.weight', 'layers.{}.v.weight'),
    one('transformer.h.{}.attn.out_proj.weight', 'layers.{}.o.weight'),
    one('transformer.h.{}.mlp.fc_in.*', 'layers.{}.up.*'),
    one('transformer.h.{}.mlp.fc_out.*', 'layers.{}.down.*'),
    one('transformer.ln_f.*', 'norm.*'),
    one('lm_head.*', 'head.*'),
  ],
  ignored: [/\.attn\.(bias|masked_bias|embed_positions)$/],
}
