// StarCoder 2: LayerNorms, an ungated MLP with the tanh form of GELU, biases, grouped queries with rotary positions, a sliding window.
import { type Family, one } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readWidths } from './llama.ts'
import { readWindows } from './reader.ts'
import { readRope } from './rope.ts'

export const starcoder2: Family = {
  name: 'starcoder2',
  architecture: 'Starcoder2ForCausalLM',
  config(read) {
    const widths = readWidths(read)
    const context = read.integer('max_position_embeddings', 4096)
    const bias = read.flag('use_bias', true)
    const windows = readWindows(read, widths.layers, read.optionalInteger('sliding_window'), () => true)
    return {
      family: 'starcoder2',
      ...widths,
      context,
      norm: { kind: 'layer', eps: read.number('norm_epsilon', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: 'sequential',
      finalNorm: true,
      embeddingNorm: false,
      embeddingScale: 1,
      position: readRope(read, { context }),
      mlp: { gated: false, activation: read.activation('hidden_act', 'gelu_pytorch_tanh') },
      bias: { qkv: bias, output: bias, mlp: bias, head: false },
      qkNorm: 'none',
      attention: { scale: 1 / Math.sqrt(widths.headSize), clip: null, softcap: null, ...(windows && { windows }) },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', true),
    }
  },
  harmless: [
    'layer_norm_epsilon',
    'attention_softmax_in_fp32',
    'scale_attention_softmax_in_fp32',
    'activation_function',
  ],
  fixed: { mlp_type: 'default', norm_type: 'layer_norm', scale_attn_weights: true },
  prefix: 'model.',
  tensors: () => [
    ...LLAMA_TENSORS.filter(rule => !rule.file.includes('.mlp.')),
    one('model.layers.{}.mlp.c_fc.*', 'layers.{}.up.*'),
    one('model.layers.{}.mlp.c_proj.*', 'layers.{}.down.*'),
  ],
  ignored: ROTARY_BUFFERS,
}
