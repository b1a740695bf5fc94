// Every training case of the golden folder in float64: loss, gradients, and weights after five steps of AdamW.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import type { TensorFile } from '../checkpoint/tensors.ts'
import type { Floats } from '../tensor/kernels.ts'
import { createNative } from '../tensor/native.ts'
import { createReference } from '../tensor/reference.ts'
import { createOptimizer } from '../train/optimizer.ts'
import { rateShare } from '../train/schedule.ts'
import type { Precision } from './config.ts'
import { type TensorPlace, tensorPlaces } from './families/family.ts'
import { findFamily } from './families/index.ts'
import { createInference } from './inference.ts'
import { loadModel } from './load.ts'
import { type Model, widenModel } from './model.ts'
import { llamaConfig } from './testing.ts'
import { createTrainingStep, type TrainingStep } from './training.ts'

const folder = golden('training')
const kernels = createReference({ float: 'float64' })

interface Case {
  name: string
  precision: Partial<Precision>
  shape: { width: number; layers: number; heads: number; hidden: number; vocab: number; context: number; batch: number }
  optimizer: {
    betas: [number, number]
    eps: number
    weight_decay: number
    clip: number
    steps: number
    lr: number
    warmup: number
    total: number
    min_lr: number
  }
  float64: {
    norm_eps: number
    loss: number
    train_loss: number[]
    loss_after: Record<string, number>
    grad_norm: number[]
    lr: number[]
  }
}

function allCases(): Case[] {
  if (folder === undefined) return []
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name, 'case.json'), 'utf8'))
  return readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => ({ name, ...read(name) }))
}

/** Cases that train the decoder of the README: those with a shape of their own. */
const cases = () => allCases().filter(({ shape }) => shape !== undefined)

/** Cases that are a checkpoint of transformers. */
const checkpointCases = () => allCases().filter(({ shape }) => shape === undefined)

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

function initial(): TensorFile {
  return openSafetensors(join(folder!, 'initial.safetensors'))
}

/** The README's decoder with its initial weights. */
function loadDecoder(shape: Case['shape'], eps: number): Model {
  const tensors = initial()
  const config = { ...llamaConfig(shape), norm: { ...llamaConfig(shape).norm, eps } }
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

/** Largest |a - b| over the largest |b|; a gradient that cancels to nothing (of the keys' bias) counts as 1e-5. */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let error = 0
  let size = 0
  for (let i = 0; i < b.length; i++) {
    error = Math.max(error, Math.abs(a[i] - b[i]))
    size = Math.max(size, Math.abs(b[i]))
  }
  return error / Math.max(size, 1e-5)
}

/** A stored gradient, in the order of the parameters that the tensor holds. */
function canonical(stored: Float64Array, { shape, transposed, rows }: TensorPlace): Float64Array {
  const [outputs, inputs] = transposed ? [shape[1], shape[0]] : [shape[0], shape[1] ?? 1]
  return stored.map((_, at) => {
    const [row, column] = [Math.floor(at / inputs), at % inputs]
    const from = rows === null ? row : rows[row]
    return stored[transposed ? column * outputs + from : from * inputs + column]
  })
}

function sum(x: Floats): number {
  let total = 0
  for (let i = 0; i < x.length; i++) total += x[i]
  return total
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
    const stored = openSafetensors(join(folder!, name, 'float64.safetensors'))
    const model = loadDecoder(shape, float64.norm_eps)
    const full: Precision = { weights: null, activations: null, kv: null, gradients: null, ...precision }
    const { batch, context } = shape
    const step = createTrainingStep(model, kernels, { precision: full, batch, length: context, compute: 'float' })
    const steps = batches(numbers(initial(), 'ids'), batch, context)
    const { betas, eps, weight_decay: weightDecay, clip, lr, warmup, total, min_lr } = optimizer
    const adamw = createOptimizer(step.parameters, kernels, { betas, eps, weightDecay, clip })
    const schedule = { kind: 'cosine', warmup: warmup / total, final: min_lr / lr } as const
    const close = (value: number, to: number) => expect(Math.abs(value / to - 1)).toBeLessThan(1e-9)
    close(step.loss(steps[0].inputs, steps[0].targets), float64.loss)
    for (let t = 1; t <= optimizer.steps; t++) {
      const { inputs, targets } = steps[t - 1]
      step.clear()
      close(step.gradients(inputs, targets), float64.train_loss[t - 1])
      const norm = adamw.gradientNorm()
      close(norm, float64.grad_norm[t - 1])
      if (t === 1) compareStep(step, stored, 'grad', 'gradient')
      const rate = lr * rateShare(schedule, t, total)
      close(rate, float64.lr[t - 1])
      adamw.step(rate, norm)
      if (stored.has(`after${t}.${goldenName(step.parameters[0].name)}`))
        compareStep(step, stored, `after${t}`, 'weight')
      if (`${t}` in float64.loss_after) close(step.loss(steps[0].inputs, steps[0].targets), float64.loss_after[t])
    }
  })

  test.each(checkpointCases())('$name: loss and gradients of a checkpoint', async ({ name, float64 }) => {
    const { config, parameters } = await loadModel(join(folder!, name), { dtype: 'float32', tokenizer: false })
    const model = widenModel({ config, parameters }, kernels)
    const ids = openSafetensors(join(folder!, name, 'batch.safetensors'))
    const [batch, columns] = ids.info('ids').shape
    const [{ inputs, targets }] = batches(numbers(ids, 'ids'), batch, columns - 1)
    const step = createTrainingStep(model, kernels, { batch, length: columns - 1, compute: 'float' })
    expect(Math.abs(step.gradients(inputs, targets) / float64.loss - 1)).toBeLessThan(1e-9)
    const gradients = new Map(step.parameters.map(parameter => [parameter.name, parameter.gradient]))
    const stored = openSafetensors(join(folder!, name, 'float64.safetensors'))
    for (const place of tensorPlaces(config, findFamily(config.family)!.tensors(config))) {
      const expected = canonical(numbers(stored, `grad.${place.file}`), place)
      let start = 0
      for (const part of place.parts) {
        const gradient = gradients.get(part.name)!
        expect(relativeError(gradient, expected.subarray(start, start + gradient.length)), part.name).toBeLessThan(1e-9)
        start += gradient.length
      }
    }
    const losses = createInference(model, kernels).losses(inputs, targets, batch, columns - 1)
    expect(sum(losses) / losses.length).toBeCloseTo(float64.loss, 10)
  })

  const native = createNative({ threads: 2 })
  const singles = [createReference({ float: 'float32' }), ...(native === undefined ? [] : [native])]
  if (native === undefined) console.log('skipped: the native kernels were not built')

  test.each(cases().flatMap(one => singles.map(single => ({ ...one, single, by: single.name }))))(
    '$name: float32 on $by kernels agrees on the first loss and gradients to 1e-5',
    ({ name, precision, shape, float64, single }) => {
      const model = widenModel(loadDecoder(shape, 2 ** -23), single)
      const full: Precision = { weights: null, activations: null, kv: null, gradients: null, ...precision }
      const { batch, context: length } = shape
      const step = createTrainingStep(model, single, { precision: full, batch, length, compute: 'float' })
      const [{ inputs, targets }] = batches(numbers(initial(), 'ids'), batch, length)
      expect(Math.abs(step.gradients(inputs, targets) / float64.loss - 1)).toBeLessThan(1e-5)
      const stored = openSafetensors(join(folder!, name, 'float64.safetensors'))
      for (const parameter of step.parameters) {
        const at = goldenName(parameter.name)
        expect(relativeError(parameter.gradient, numbers(stored, `grad.${at}`)), at).toBeLessThan(1e-5)
      }
    },
  )

  test.each(cases())('$name: bf16 computing is within 5e-3 of the first loss', ({ precision, shape, float64 }) => {
    const full: Precision = { weights: null, activations: null, kv: null, gradients: null, ...precision }
    const { batch, context: length } = shape
    const model = loadDecoder(shape, float64.norm_eps)
    const step = createTrainingStep(model, kernels, { precision: full, batch, length, compute: 'bf16' })
    const [{ inputs, targets }] = batches(numbers(initial(), 'ids'), batch, length)
    const loss = step.loss(inputs, targets)
    expect(Math.abs(loss / float64.loss - 1)).toBeLessThan(5e-3)
    expect(loss).not.toBe(float64.loss)
  })
})
