// Gemma 2: norms on both sides of each part with weights stored minus 1, scaled embeddings, soft caps, a window in every other layer.
import type { ModelConfig } from '../config.ts'
import { type Family, one, type TensorRule } from './family.ts'
import { LLAMA_TENSORS, ROTARY_BUFFERS, readWidths } from './llama.ts'
import { type ConfigReader, readWindows } from './reader.ts'
import { readRope } from './rope.ts'

/** What Gemma 2 and 3 share; the position is Gemma 2's. */
export function readGemma(read: ConfigReader, family: string): Omit<ModelConfig, 'position'> {
  const widths = readWidths(read)
  const headSize = read.integer('head_dim', 256)
  const bias = read.flag('attention_bias', false)
  const activation = read.activation('hidden_activation', 'gelu_pytorch_tanh')
  return {
    family,
    ...widths,
    headSize,
    context: read.integer('max_position_embeddings', 8192),
    norm: { kind: 'rms', eps: read.number('rms_norm_eps', 1e-6), gain: true, bias: false, gainOffset: 1 },
    normPlacement: 'sandwich',
    residual: 'sequential',
    finalNorm: true,
    embeddingNorm: false,
    embeddingScale: Math.sqrt(widths.width),
    mlp: { gated: true, activation },
    bias: { qkv: bias, output: bias, mlp: false, head: false },
    qkNorm: 'none',
    attention: { scale: 1 / Math.sqrt(read.number('query_pre_attn_scalar', 256)), clip: null, softcap: null },
    logitSoftcap: null,
    tied: read.flag('tie_word_embeddings', true),
  }
}

/** Tensor names of Gemma 2 and 3: four norms a layer. */
export const GEMMA_TENSORS: readonly TensorRule[] = [
  ...LLAMA_TENSORS.filter(rule => !rule.file.includes('post_attention_layernorm')),
  one('model.layers.{}.post_attention_layernorm.weight', 'layers.{}.attentionPostNorm.weight'),
  one('model.layers.{}.pre_feedforward_layernorm.weight', 'layers.{}.mlpNorm.weight'),
  one('model.layers.{}.post_feedforward_layernorm.weight', 'layers.{}.mlpPostNorm.weight'),
]

/** A soft cap: the default where the key is absent, none where it is null. */
function readCap(read: ConfigReader, key: string, fallback: number): number | null {
  return read.keys().includes(key) ? read.optionalNumber(key) : fallback
}

export const gemma2: Family = {
  name: 'gemma2',
  architecture: 'Gemma2ForCausalLM',
  config(read) {
    const config = readGemma(read, 'gemma2')
    const size = read.keys().includes('sliding_window') ? read.optionalInteger('sliding_window') : 4096
    const windows = readWindows(read, config.layers, size, layer => layer % 2 === 0)
    return {
      ...config,
      position: readRope(read, { context: config.context }),
      attention: {
        ...config.attention,
        softcap: readCap(read, 'attn_logit_softcapping', 50),
        ...(windows && { windows }),
      },
      logitSoftcap: readCap(read, 'final_logit_softcapping', 30),
    }
  },
  harmless: ['hidden_act', 'sliding_window_size'],
  prefix: 'model.',
  tensors: () => GEMMA_TENSORS,
  ignored: ROTARY_BUFFERS,
}
