// OLMo 2: norms on the outputs of attention and MLP inside the residual, and an RMS norm over all of q and of k.
import { type Family, one } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readLlamaLike } from './llama.ts'

export const olmo2: Family = {
  name: 'olmo2',
  architecture: 'Olmo2ForCausalLM',
  config(read) {
    const eps = read.number('rms_norm_eps', 1e-5)
    const config = readLlamaLike(read, 'olmo2')
    return { ...config, norm: { ...config.norm, eps }, normPlacement: 'inside', qkNorm: 'whole' }
  },
  prefix: 'model.',
  tensors: () => [
    ...LLAMA_TENSORS.filter(rule => !rule.file.includes('layernorm')),
    one('model.layers.{}.post_attention_layernorm.weight', 'layers.{}.attentionPostNorm.weight'),
    one('model.layers.{}.post_feedforward_layernorm.weight', 'layers.{}.mlpPostNorm.weight'),
  ],
  ignored: ROTARY_BUFFERS,
}
