// Qwen 2 and 2.5: Llama with biases on q, k and v, and a sliding window in upper layers where it is switched on.
import type { ModelConfig } from '../config.ts'
import type { Family } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readLlamaLike } from './llama.ts'
import { type ConfigReader, readWindows } from './reader.ts'

/** Sets the windows of a Qwen model: `sliding_window` from layer `max_window_layers` on, only with `use_sliding_window`. */
export function readQwenWindows(read: ConfigReader, config: ModelConfig): void {
  const used = read.flag('use_sliding_window', false)
  const size = read.optionalInteger('sliding_window')
  const from = read.value('max_window_layers') === 0 ? 0 : read.integer('max_window_layers', 28)
  const windows = readWindows(read, config.layers, used ? size : null, layer => layer >= from)
  if (windows) config.attention.windows = windows
}

export const qwen2: Family = {
  name: 'qwen2',
  architecture: 'Qwen2ForCausalLM',
  config(read) {
    const config = readLlamaLike(read, 'qwen2', { context: 32768 })
    config.bias = { ...config.bias, qkv: true, output: false }
    readQwenWindows(read, config)
    return config
  },
  harmless: ['use_mrope'],
  prefix: 'model.',
  tensors: () => LLAMA_TENSORS,
  ignored: ROTARY_BUFFERS,
}
