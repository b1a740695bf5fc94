// Phi 1, 1.5 and 2: attention and MLP in parallel behind one norm, biases everywhere, half of each head rotated.
import { type Family, one } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readWidths } from './llama.ts'
import { readRope } from './rope.ts'

export const phi: Family = {
  name: 'phi',
  architecture: 'PhiForCausalLM',
  config(read) {
    const widths = readWidths(read)
    const context = read.integer('max_position_embeddings', 2048)
    return {
      family: 'phi',
      ...widths,
      context,
      norm: { kind: 'layer', eps: read.number('layer_norm_eps', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: 'parallelShared',
      finalNorm: true,
      embeddingNorm: false,
      embeddingScale: 1,
      position: readRope(read, { context, fraction: 0.5 }),
      mlp: { gated: false, activation: read.activation('hidden_act', 'gelu_new') },
      bias: { qkv: true, output: true, mlp: true, head: true },
      qkNorm: read.flag('qk_layernorm', false) ? 'layerHead' : 'none',
      attention: { scale: 1 / Math.sqrt(widths.headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', false),
    }
  },
  prefix: 'model.',
  tensors: () => [
    ...LLAMA_TENSORS.filter(rule => !/\.mlp\.|o_proj|post_attention|_norm\.|model\.norm/.test(rule.file)),
    one('model.layers.{}.self_attn.dense.*', 'layers.{}.o.*'),
    one('model.layers.{}.self_attn.q_layernorm.*', 'layers.{}.qNorm.*'),
    one('model.layers.{}.self_attn.k_layernorm.*', 'layers.{}.kNorm.*'),
    one('model.layers.{}.mlp.fc1.*', 'layers.{}.up.*'),
    one('model.layers.{}.mlp.fc2.*', 'layers.{}.down.*'),
    one('model.final_layernorm.*', 'norm.*'),
  ],
  ignored: ROTARY_BUFFERS,
}
