// StableLM (3B-4E1T, 2): Llama with LayerNorms, a quarter of each head rotated, and in the 12B size a parallel residual and normed heads.
import { type Family, one } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readWidths } from './llama.ts'
import { readRope } from './rope.ts'

export const stablelm: Family = {
  name: 'stablelm',
  aliases: ['stablelm_epoch'],
  architecture: 'StableLmForCausalLM',
  config(read) {
    const widths = readWidths(read)
    const context = read.integer('max_position_embeddings', 4096)
    return {
      family: 'stablelm',
      ...widths,
      kvHeads: read.integer('num_key_value_heads', 32),
      context,
      norm: {
        kind: 'layer',
        eps: read.number(['layer_norm_eps', 'norm_eps'], 1e-5),
        gain: true,
        bias: true,
        gainOffset: 0,
      },
      normPlacement: 'pre',
      residual: read.flag('use_parallel_residual', false) ? 'parallelShared' : 'sequential',
      finalNorm: true,
      embeddingNorm: false,
      embeddingScale: 1,
      position: readRope(read, { context, fraction: 0.25 }),
      mlp: { gated: true, activation: read.activation('hidden_act', 'silu') },
      bias: { qkv: read.flag('use_qkv_bias', false), output: false, mlp: false, head: false },
      qkNorm: read.flag('qk_layernorm', false) ? 'layerEachHead' : 'none',
      attention: { scale: 1 / Math.sqrt(widths.headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', false),
    }
  },
  harmless: ['rope_pct', 'norm_eps', 'rotary_scaling_factor'],
  prefix: 'model.',
  tensors: () => [
    ...LLAMA_TENSORS.filter(rule => !/_norm\.weight/.test(rule.file)),
    one('model.layers.{}.self_attn.q_layernorm.norms.#.weight', 'layers.{}.qNorm.weight', {
      slices: config => config.heads,
    }),
    one('model.layers.{}.self_attn.k_layernorm.norms.#.weight', 'layers.{}.kNorm.weight', {
      slices: config => config.kvHeads,
    }),
  ],
  ignored: ROTARY_BUFFERS,
}
