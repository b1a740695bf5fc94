// SmolLM3: Llama without rotation in every fourth layer.
import { RequestError } from '../../formats/error.ts'
import type { Family } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readLlamaLike } from './llama.ts'
import { readWindows } from './reader.ts'

export const smollm3: Family = {
  name: 'smollm3',
  architecture: 'SmolLM3ForCausalLM',
  config(read) {
    const config = readLlamaLike(read, 'smollm3', { context: 32768, theta: 2e6, tied: true })
    if (!read.keys().includes('num_key_value_heads')) config.kvHeads = 4
    const interval = read.integer('no_rope_layer_interval', 4)
    const listed = read.numbers('no_rope_layers')
    if (listed && listed.length !== config.layers)
      throw new RequestError(`config.json has 'no_rope_layers' of ${listed.length} layers, expected ${config.layers}`)
    const windowed = read.flag('use_sliding_window', false)
    const size = read.optionalInteger('sliding_window')
    const rotated = (layer: number) => (listed ? listed[layer] !== 0 : (layer + 1) % interval !== 0)
    const windows = readWindows(read, config.layers, windowed ? size : null, layer => !rotated(layer))
    if (windows) config.attention.windows = windows
    const layers = Array.from({ length: config.layers }, (_, layer) => rotated(layer))
    if (config.position.kind === 'rope' && layers.includes(false)) config.position = { ...config.position, layers }
    return config
  },
  harmless: ['max_window_layers'],
  prefix: 'model.',
  tensors: () => LLAMA_TENSORS,
  ignored: ROTARY_BUFFERS,
}
