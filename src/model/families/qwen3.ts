// Qwen 3: Llama with an RMS norm of each query and key head before rotation.
import type { Family } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readLlamaLike, spellLlamaLike } from './llama.ts'
import { readQwenWindows } from './qwen2.ts'

export const qwen3: Family = {
  name: 'qwen3',
  architecture: 'Qwen3ForCausalLM',
  config(read) {
    const headSize = read.integer('head_dim', 128)
    const config = readLlamaLike(read, 'qwen3', { context: 32768 })
    readQwenWindows(read, config)
    return { ...config, headSize, qkNorm: 'head', attention: { ...config.attention, scale: 1 / Math.sqrt(headSize) } }
  },
  prefix: 'model.',
  tensors: () => LLAMA_TENSORS,
  ignored: ROTARY_BUFFERS,
  spell(config) {
    const { mlp_bias: _, ...spelled } = spellLlamaLike(config)
    return spelled
  },
}
