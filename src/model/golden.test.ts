// Every training case of the golden folder in float64: loss, gradients, and weights after five steps of AdamW.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import type { TensorFile } from '../checkpoint/tensors.ts'
import { createReference } from '../tensor/reference.ts'
import type { ModelConfig, Precision } from './config.ts'
import { createInference } from './inference.ts'
import type { Model } from './model.ts'
import { defaultConfig } from './shapes.ts'
import { createTrainingStep, type TrainingStep } from './training.ts'

const folder = golden('training')
const kernels = createReference({ float: 'float64' })

interface Case {
  name: string
  precision: Partial<Precision>
  shape: { width: number; layers: number; heads: number; hidden: number; vocab: number; context: number; batch: number }
  optimizer: { betas: [number, number]; eps: number; weight_decay: number; clip: number; steps: number }
  float64: {
    norm_eps: number
    loss: number
    train_loss: number[]
    loss_after: Record<string, number>
    grad_norm: number[]
    clip_factor: number[]
    lr: number[]
    stats: Record<string, Record<string, { sum: number; l2: number; first: number; last: number }>>
  }
}

/** Cases of the folder that train the decoder of its README (those with a shape of their own). */
function cases(): Case[] {
  if (folder === undefined) return []
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name, 'case.json'), 'utf8'))
  return readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => ({ name, ...read(name) }))
    .filter(read => read.shape !== undefined)
}

function numbers(tensors: TensorFile, name: string): Float64Array {
  const { buffer } = tensors.read(name)
  const { dtype } = tensors.info(name)
  if (dtype === 'F64') return new Float64Array(buffer)
  if (dtype === 'I64') return Float64Array.from(new BigInt64Array(buffer), Number)
  return Float64Array.from(new Float32Array(buffer))
}

/** blocks.0.n1.weight and the like, by the canonical name. */
function goldenName(name: string): string {
  return name
    .replace('embedding.', 'emb.')
    .replace('layers.', 'blocks.')
    .replace('attentionNorm', 'n1')
    .replace('mlpNorm', 'n2')
}

function loadModel(tensors: TensorFile, config: ModelConfig): Model {
  const parameters = new Map<string, Float64Array>()
  for (const name of tensors.names) {
    if (name === 'ids') continue
    const canonical = name
      .replace(/^emb\./, 'embedding.')
      .replace(/^blocks\./, 'layers.')
      .replace('.n1.', '.attentionNorm.')
      .replace('.n2.', '.mlpNorm.')
    parameters.set(canonical, numbers(tensors, name))
  }
  return { config, parameters }
}

/** Largest |a - b| over the largest |b|. */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let error = 0
  let size = 0
  for (let i = 0; i < b.length; i++) {
    error = Math.max(error, Math.abs(a[i] - b[i]))
    size = Math.max(size, Math.abs(b[i]))
  }
  return error / Math.max(size, 1e-300)
}

/** Columns 0 … length-1 of batch t as inputs, 1 … length as targets. */
function batches(ids: Float64Array, batch: number, length: number): { inputs: Int32Array; targets: Int32Array }[] {
  const size = batch * (length + 1)
  return Array.from({ length: ids.length / size }, (_, t) => {
    const inputs = new Int32Array(batch * length)
    const targets = new Int32Array(batch * length)
    for (let b = 0; b < batch; b++)
      for (let i = 0; i < length; i++) {
        inputs[b * length + i] = ids[t * size + b * (length + 1) + i]
        targets[b * length + i] = ids[t * size + b * (length + 1) + i + 1]
      }
    return { inputs, targets }
  })
}

function compareStep(step: TrainingStep, tensors: TensorFile, prefix: string, of: 'gradient' | 'weight'): void {
  for (const parameter of step.parameters) {
    const name = `${prefix}.${goldenName(parameter.name)}`
    expect(relativeError(parameter[of], numbers(tensors, name)), name).toBeLessThan(1e-9)
  }
}

describe.skipIf(folder === undefined)('golden training cases', () => {
  test.each(cases())('$name: loss, gradients and five steps', ({ name, precision, shape, optimizer, float64 }) => {
    const config: ModelConfig = {
      ...defaultConfig({ ...shape, family: 'llama' }),
      norm: { kind: 'rms', eps: float64.norm_eps, gain: true, bias: false, gainOffset: 0 },
    }
    const initial = openSafetensors(join(folder!, 'initial.safetensors'))
    const stored = openSafetensors(join(folder!, name, 'float64.safetensors'))
    const model = loadModel(initial, config)
    const full: Precision = { weights: null, activations: null, kv: null, gradients: null, ...precision }
    const { batch, context } = shape
    const step = createTrainingStep(model, kernels, { precision: full, batch, length: context, compute: 'float' })
    const steps = batches(numbers(initial, 'ids'), batch, context)
    const moments = step.parameters.map(({ weight }) => [
      kernels.allocate(weight.length),
      kernels.allocate(weight.length),
    ])
    const close = (value: number, to: number) => expect(Math.abs(value / to - 1)).toBeLessThan(1e-9)
    close(step.loss(steps[0].inputs, steps[0].targets), float64.loss)
    for (let t = 1; t <= optimizer.steps; t++) {
      const { inputs, targets } = steps[t - 1]
      step.clear()
      close(step.gradients(inputs, targets), float64.train_loss[t - 1])
      const norm = Math.sqrt(step.parameters.reduce((sum, { gradient }) => sum + kernels.sumSquares(gradient), 0))
      close(norm, float64.grad_norm[t - 1])
      const gradientScale = Math.min(1, optimizer.clip / (norm + 1e-6))
      close(gradientScale, float64.clip_factor[t - 1])
      if (t === 1) compareStep(step, stored, 'grad', 'gradient')
      step.parameters.forEach(({ weight, gradient, decay }, i) => {
        kernels.adamw(weight, gradient, moments[i][0], moments[i][1], {
          rate: float64.lr[t - 1],
          beta1: optimizer.betas[0],
          beta2: optimizer.betas[1],
          eps: optimizer.eps,
          weightDecay: decay ? optimizer.weight_decay : 0,
          step: t,
          gradientScale,
        })
      })
      if (stored.has(`after${t}.${goldenName(step.parameters[0].name)}`))
        compareStep(step, stored, `after${t}`, 'weight')
      if (`${t}` in float64.loss_after) close(step.loss(steps[0].inputs, steps[0].targets), float64.loss_after[t])
    }
  })

  test('losses of inference are those of the training step', () => {
    for (const { shape, float64 } of cases().slice(0, 1)) {
      const config = defaultConfig({ ...shape, family: 'llama' })
      const model = loadModel(openSafetensors(join(folder!, 'initial.safetensors')), {
        ...config,
        norm: { ...config.norm, eps: float64.norm_eps },
      })
      const { batch, context: length } = shape
      const step = createTrainingStep(model, kernels, { batch, length, compute: 'float' })
      const [{ inputs, targets }] = batches(
        numbers(openSafetensors(join(folder!, 'initial.safetensors')), 'ids'),
        batch,
        length,
      )
      const losses = createInference(model, kernels).losses(inputs, targets, batch, length)
      const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length
      expect(mean).toBeCloseTo(step.loss(inputs, targets), 12)
    }
  })
})
