// OLMo: Llama with LayerNorms that have neither weight nor bias, and clamped queries, keys and values in some sizes.
import type { Family } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readLlamaLike } from './llama.ts'

export const olmo: Family = {
  name: 'olmo',
  architecture: 'OlmoForCausalLM',
  config(read) {
    const config = readLlamaLike(read, 'olmo')
    const norm = { kind: 'layer', eps: 1e-5, gain: false, bias: false, gainOffset: 0 } as const
    return { ...config, norm, attention: { ...config.attention, clip: read.optionalNumber('clip_qkv') } }
  },
  harmless: ['rms_norm_eps'],
  prefix: 'model.',
  tensors: () => LLAMA_TENSORS,
  ignored: ROTARY_BUFFERS,
}
