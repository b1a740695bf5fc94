// Mistral: Llama with a sliding window in every layer.
import type { Family } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readLlamaLike } from './llama.ts'
import { readWindows } from './reader.ts'

export const mistral: Family = {
  name: 'mistral',
  architecture: 'MistralForCausalLM',
  config(read) {
    const config = readLlamaLike(read, 'mistral', { context: 131072 })
    const windows = readWindows(read, config.layers, read.optionalInteger('sliding_window'), () => true)
    if (windows) config.attention.windows = windows
    return config
  },
  prefix: 'model.',
  tensors: () => LLAMA_TENSORS,
  ignored: ROTARY_BUFFERS,
}
