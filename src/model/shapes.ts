// A model record from the few widths that people write down; everything else as in Kumar et al.: RMS norm, rotary
// positions, SwiGLU, no biases, untied.
import { RequestError } from '../formats/error.ts'
import type { ModelConfig } from './config.ts'

/** Widths of a decoder to train. */
export interface Shape {
  family?: string
  vocab: number
  width: number
  layers: number
  heads: number
  hidden: number
  context: number
}

/** The record of Kumar et al.'s decoder at these widths: Llama's, with as many key heads as heads. */
export function defaultConfig({ family = 'llama', vocab, width, layers, heads, hidden, context }: Shape): ModelConfig {
  if (width % heads !== 0) throw new RequestError(`width ${width} is not a multiple of heads ${heads}`)
  const headSize = width / heads
  return {
    family,
    vocab,
    width,
    layers,
    heads,
    kvHeads: heads,
    headSize,
    hidden,
    context,
    norm: { kind: 'rms', eps: 1e-5, gain: true, bias: false, gainOffset: 0 },
    normPlacement: 'pre',
    residual: 'sequential',
    finalNorm: true,
    embeddingNorm: false,
    embeddingWidth: width,
    embeddingScale: 1,
    position: { kind: 'rope', theta: 10000, fraction: 1 },
    mlp: { gated: true, activation: 'silu' },
    bias: { qkv: false, output: false, mlp: false, head: false },
    qkNorm: 'none',
    attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
    logitSoftcap: null,
    tied: false,
  }
}
