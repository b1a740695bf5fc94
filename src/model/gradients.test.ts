// Gradients of every architecture option against finite differences in float64: the derivative along a random direction
// of each parameter tensor, by central differences of fourth order.
import { describe, expect, test } from 'vitest'
import type { Floats } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import type { ModelConfig } from './config.ts'
import { createInference } from './inference.ts'
import { createNormal } from './random.ts'
import { llamaConfig, randomModel } from './testing.ts'
import { createTrainingStep } from './training.ts'

const kernels = createReference({ float: 'float64' })
const base = llamaConfig({ vocab: 23, width: 24, layers: 2, heads: 4, hidden: 20, context: 16 })
const layerNorm: ModelConfig['norm'] = { kind: 'layer', eps: 1e-5, gain: true, bias: true, gainOffset: 0 }
const allBiases = { qkv: true, output: true, mlp: true, head: true }
const learned: ModelConfig['position'] = { kind: 'learned', positions: 16, offset: 2 }
const plainMlp = (activation: ModelConfig['mlp']['activation']) => ({ gated: false, activation })
const gpt: Partial<ModelConfig> = {
  norm: layerNorm,
  bias: { ...allBiases, head: false },
  position: { ...learned, offset: 0 },
  mlp: plainMlp('geluTanh'),
  tied: true,
}

/** One entry an arrangement; the names are what differs, or the family that it is. */
const OPTIONS: Record<string, Partial<ModelConfig>> = {
  llama: {},
  'grouped queries, own head size': { kvHeads: 2, headSize: 10 },
  'tied, biases everywhere': { tied: true, bias: allBiases },
  gpt2: gpt,
  opt: { ...gpt, position: learned, mlp: plainMlp('relu') },
  'opt-350m': {
    ...gpt,
    position: learned,
    mlp: plainMlp('relu'),
    normPlacement: 'post',
    finalNorm: false,
    embeddingWidth: 14,
  },
  'projections with embedding norm': { ...gpt, embeddingWidth: 14, embeddingNorm: true },
  'projections without learned positions': { embeddingWidth: 14, embeddingScale: 3 },
  bloom: { ...gpt, position: { kind: 'alibi' }, embeddingNorm: true, heads: 6, kvHeads: 6, headSize: 4 },
  gpt_neox: {
    ...gpt,
    residual: 'parallel',
    position: { kind: 'rope', theta: 10000, fraction: 0.5 },
    mlp: plainMlp('gelu'),
    tied: false,
  },
  'parallel with a shared norm': {
    ...gpt,
    residual: 'parallelShared',
    position: base.position,
    tied: false,
    bias: allBiases,
  },
  'parallel, norms inside': { residual: 'parallel', normPlacement: 'inside' },
  'parallel with a shared norm, sandwich': { residual: 'parallelShared', normPlacement: 'sandwich' },
  'parallel without norm before': { residual: 'parallelShared', normPlacement: 'inside' },
  olmo: {
    norm: { kind: 'layer', eps: 1e-5, gain: false, bias: false, gainOffset: 0 },
    attention: { ...base.attention, clip: 0.7 },
    kvHeads: 2,
  },
  olmo2: { normPlacement: 'inside', qkNorm: 'whole', kvHeads: 2 },
  olmoe: { qkNorm: 'whole', attention: { ...base.attention, clip: 0.8 } },
  qwen3: { qkNorm: 'head', kvHeads: 2, headSize: 8, bias: { ...base.bias, qkv: true } },
  gemma2: {
    normPlacement: 'sandwich',
    norm: { ...base.norm, gainOffset: 1 },
    embeddingScale: Math.sqrt(24),
    attention: { scale: 0.4, clip: null, softcap: 1.5, windows: [3, null] },
    logitSoftcap: 2,
    mlp: { gated: true, activation: 'geluTanh' },
    tied: true,
  },
  gemma3: {
    normPlacement: 'sandwich',
    norm: { ...base.norm, gainOffset: 1 },
    qkNorm: 'head',
    position: { kind: 'rope', theta: 1e6, fraction: 1, localTheta: 100, scaling: { kind: 'linear', factor: 8 } },
    attention: { ...base.attention, windows: [2, null] },
  },
  mistral: { attention: { ...base.attention, windows: [3, 3] } },
  smollm3: { position: { kind: 'rope', theta: 10000, fraction: 1, layers: [true, false] } },
  gpt_neo: {
    ...gpt,
    attention: { scale: 1, clip: null, softcap: null, windows: [null, 2] },
    bias: { ...allBiases, qkv: false },
  },
  'alibi with softcap and window': {
    position: { kind: 'alibi' },
    attention: { ...base.attention, softcap: 2, windows: [4, null] },
  },
  yarn: {
    position: {
      kind: 'rope', theta: 100, fraction: 1,
      scaling: { kind: 'yarn', factor: 4, originalContext: 8, betaFast: 2, betaSlow: 1, attentionFactor: null },
    }, // biome-ignore format: short
  },
}

function dot(a: Floats, b: Floats): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}

describe('gradients', () => {
  const [batch, length] = [2, 6]
  const inputs = Int32Array.from({ length: batch * length }, (_, i) => (i * 7 + 3) % base.vocab)
  const targets = Int32Array.from({ length: batch * length }, (_, i) => (i === 4 ? -1 : (i * 11 + 1) % base.vocab))

  test.each(Object.entries(OPTIONS))('%s', (_name, option) => {
    const config: ModelConfig = { ...base, ...option }
    const model = randomModel(config)
    const step = createTrainingStep(model, kernels, { batch, length, compute: 'float' })
    const loss = step.gradients(inputs, targets)
    expect(step.loss(inputs, targets)).toBeCloseTo(loss, 12)
    const losses = createInference(model, kernels).losses(inputs, targets, batch, length)
    expect(
      dot(
        losses,
        losses.map(() => 1),
      ) / 11,
    ).toBeCloseTo(loss, 12)
    expect(losses[4]).toBe(0)
    expect(step.parameters.map(({ name }) => name)).toEqual([...model.parameters.keys()])
    for (const { name, weight, gradient } of step.parameters) {
      const normal = createNormal(6, name)
      const direction = weight.map((_, i) => normal(i))
      const start = weight.slice()
      const at = (t: number) => {
        for (let i = 0; i < weight.length; i++) weight[i] = start[i] + t * direction[i]
        return step.loss(inputs, targets)
      }
      const h = 2e-6 // small: a step over a kink of relu or clamp would be seen
      const difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
      weight.set(start)
      const product = dot(gradient, direction)
      const size = Math.sqrt(dot(gradient, gradient))
      expect(Math.abs(difference - product), name).toBeLessThan(2e-8 * Math.max(1, size))
      // the bias of keys cancels in the softmax where positions do not rotate them; everything else moves the loss
      if (!/\.k\.bias$/.test(name)) expect(size, name).toBeGreaterThan(1e-6)
    }
  })

  test('gradients add up over calls, and clear() forgets them', () => {
    const step = createTrainingStep(randomModel(base), kernels, { batch, length, compute: 'float' })
    step.gradients(inputs, targets)
    const once = step.parameters.map(({ gradient }) => gradient.slice())
    step.gradients(inputs, targets)
    step.parameters.forEach(({ gradient }, p) => {
      for (let i = 0; i < gradient.length; i++) expect(gradient[i]).toBeCloseTo(2 * once[p][i], 12)
    })
    step.clear()
    step.gradients(inputs, targets)
    expect(step.parameters.map(({ gradient }) => gradient)).toEqual(once)
  })
})
