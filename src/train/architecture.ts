// From the `model` part of a run configuration to the record of a transformer: a family's habits, then what was asked for.
import { RequestError } from '../formats/error.ts'
import type { ModelConfig, Position } from '../model/config.ts'
import type { ModelSection } from './config.ts'

/** What a family does where a configuration says nothing. */
interface FamilyHabits {
  norm: 'rms' | 'layer'
  eps: number
  residual?: ModelConfig['residual']
  embeddingNorm?: boolean
  position: (context: number, theta: number) => Position
  theta?: number
  gated: boolean
  activation: ModelConfig['mlp']['activation']
  bias: { qkv: boolean; output: boolean; mlp: boolean }
  qkNorm?: ModelConfig['qkNorm']
  tied: boolean
}

const rope =
  (fraction = 1) =>
  (_context: number, theta: number): Position => ({ kind: 'rope', theta, fraction })
const learned =
  (offset: number) =>
  (context: number): Position => ({ kind: 'learned', positions: context, offset })
const NO_BIAS = { qkv: false, output: false, mlp: false }
const ALL_BIAS = { qkv: true, output: true, mlp: true }
const LLAMA: FamilyHabits = {
  norm: 'rms', eps: 1e-5, position: rope(), gated: true, activation: 'silu', bias: NO_BIAS, tied: false,
} // biome-ignore format: one line a family

/** Families that can be trained from nothing: those whose checkpoints can be written. */
export const FAMILIES: Readonly<Record<string, FamilyHabits>> = {
  llama: LLAMA,
  qwen3: { ...LLAMA, eps: 1e-6, qkNorm: 'head' },
  gpt2: {
    norm: 'layer',
    eps: 1e-5,
    position: learned(0),
    gated: false,
    activation: 'geluTanh',
    bias: ALL_BIAS,
    tied: true,
  },
  gpt_neox: {
    norm: 'layer', eps: 1e-5, residual: 'parallel', position: rope(0.25), gated: false, activation: 'gelu', bias: ALL_BIAS, tied: false,
  }, // biome-ignore format: one line a family
  opt: { norm: 'layer', eps: 1e-5, position: learned(2), gated: false, activation: 'relu', bias: ALL_BIAS, tied: true },
  bloom: {
    norm: 'layer', eps: 1e-5, embeddingNorm: true, position: () => ({ kind: 'alibi' }), gated: false, activation: 'geluTanh', bias: ALL_BIAS, tied: true,
  }, // biome-ignore format: one line a family
}

/** Width inside the MLP where none is given: 4 widths, or 8/3 rounded up to a multiple of 64 where it is gated. */
function usualHidden(width: number, gated: boolean): number {
  return gated ? Math.ceil((8 * width) / 3 / 64) * 64 : 4 * width
}

/** The record of a model with a vocabulary of `vocab` tokens; throws RequestError where the sizes do not fit each other. */
export function modelConfig(model: ModelSection, vocab: number): ModelConfig {
  const habits = FAMILIES[model.family]
  const { family, width, layers, heads, context, kvHeads = heads } = model
  const { gated = habits.gated, tied = habits.tied, activation = habits.activation, norm = habits.norm } = model
  if (heads % kvHeads !== 0) throw new RequestError(`model.kvHeads '${kvHeads}' does not divide model.heads '${heads}'`)
  if (model.headSize === undefined && width % heads !== 0)
    throw new RequestError(
      `model.heads '${heads}' does not divide model.width '${width}', expected it to, or a model.headSize`,
    )
  const headSize = model.headSize ?? width / heads
  const position = habits.position(context, model.theta ?? habits.theta ?? 10000)
  if (position.kind === 'rope') {
    const rotated = Math.floor(headSize * position.fraction)
    if (rotated < 2 || rotated % 2 !== 0)
      throw new RequestError(
        `a head of ${headSize} with rotary positions on a share of ${position.fraction} rotates ${headSize * position.fraction} numbers, expected an even number from 2`,
      )
  }
  const qkNorm =
    model.qkNorm === undefined
      ? (habits.qkNorm ?? 'none')
      : model.qkNorm === true
        ? 'head'
        : model.qkNorm === false
          ? 'none'
          : model.qkNorm
  const bias = model.bias === undefined ? habits.bias : model.bias ? ALL_BIAS : NO_BIAS
  return {
    family,
    vocab,
    width,
    layers,
    heads,
    kvHeads,
    headSize,
    hidden: model.hidden ?? usualHidden(width, gated),
    context,
    norm: { kind: norm, eps: model.eps ?? habits.eps, gain: true, bias: norm === 'layer', gainOffset: 0 },
    normPlacement: 'pre',
    residual: model.residual ?? habits.residual ?? 'sequential',
    finalNorm: true,
    embeddingNorm: habits.embeddingNorm ?? false,
    embeddingWidth: width,
    embeddingScale: 1,
    position,
    mlp: { gated, activation },
    bias: { ...bias, head: false },
    qkNorm,
    attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
    logitSoftcap: null,
    tied,
  }
}
