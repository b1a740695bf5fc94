// Gemma 3 (text): Gemma 2 without soft caps, with normed queries and keys, and its own rotary base in layers with a window.
import { RequestError } from '../../formats/error.ts'
import type { Position } from '../config.ts'
import type { Family } from './family.ts'
import { GEMMA_TENSORS, readGemma } from './gemma2.ts'
import { ROTARY_BUFFERS } from './llama.ts'
import { type ConfigReader, readWindows } from './reader.ts'
import { readScaling } from './rope.ts'

/** Both spellings: rope_theta, rope_local_base_freq and rope_scaling (of the full layers), or rope_parameters by kind of layer. */
function readPosition(read: ConfigReader, context: number): Position {
  let theta = read.number('rope_theta', 1e6)
  let localTheta = read.number('rope_local_base_freq', 1e4)
  const older = read.object('rope_scaling')
  const newer = read.object('rope_parameters')
  const full = newer?.object('full_attention')
  const local = newer?.object('sliding_attention')
  theta = full?.number('rope_theta', theta) ?? theta
  localTheta = local?.number('rope_theta', localTheta) ?? localTheta
  if (local && readScaling(local, context, null))
    throw new RequestError('config.json scales the rotary positions of layers with a window, which is not supported')
  const scaled = older?.keys().length ? older : full
  const scaling = scaled && readScaling(scaled, context, null)
  for (const part of [older, full, local, newer]) part?.finish([])
  return { kind: 'rope', theta, fraction: 1, localTheta, ...(scaling && { scaling }) }
}

export const gemma3: Family = {
  name: 'gemma3_text',
  architecture: 'Gemma3ForCausalLM',
  config(read) {
    const config = readGemma(read, 'gemma3_text')
    if (read.value('max_position_embeddings') === undefined) config.context = 131072
    const pattern = read.integer(['sliding_window_pattern', '_sliding_window_pattern'], 6)
    const size = read.keys().includes('sliding_window') ? read.optionalInteger('sliding_window') : 4096
    const windows = readWindows(read, config.layers, size, layer => (layer + 1) % pattern !== 0)
    return {
      ...config,
      qkNorm: 'head',
      position: readPosition(read, config.context),
      attention: { ...config.attention, ...(windows && { windows }) },
      logitSoftcap: read.optionalNumber('final_logit_softcapping'),
    }
  },
  harmless: ['hidden_act', 'sliding_window_size'],
  prefix: 'model.',
  tensors: () => GEMMA_TENSORS,
  ignored: ROTARY_BUFFERS,
}
