// Gradients of every architecture option against finite differences in float64: the derivative along a random direction
// of each parameter tensor, by central differences of fourth order.
import { describe, expect, test } from 'vitest'
import type { Floats } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import type { ModelConfig } from './config.ts'
import { createInference } from './inference.ts'
import { createNormal } from './random.ts'
import { ARRANGEMENTS, randomModel, SMALL } from './testing.ts'
import { createTrainingStep } from './training.ts'

const kernels = createReference({ float: 'float64' })
function dot(a: Floats, b: Floats): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}

describe('gradients', () => {
  const [batch, length] = [2, 6]
  const inputs = Int32Array.from({ length: batch * length }, (_, i) => (i * 7 + 3) % SMALL.vocab)
  const targets = Int32Array.from({ length: batch * length }, (_, i) => (i === 4 ? -1 : (i * 11 + 1) % SMALL.vocab))

  test.each(Object.entries(ARRANGEMENTS))('%s', (_name, option) => {
    const config: ModelConfig = { ...SMALL, ...option }
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

  test('every buffer is made before the first step', () => {
    for (const option of Object.values(ARRANGEMENTS)) {
      let made = 0
      const counted = {
        ...kernels,
        allocate(size: number) {
          const array = kernels.allocate(size)
          made += array.byteLength
          return array
        },
      }
      const step = createTrainingStep(randomModel({ ...SMALL, ...option }), counted, { batch, length })
      const before = made
      step.gradients(inputs, targets)
      expect(made).toBe(before)
      expect(step.bytes).toBeLessThanOrEqual(made)
    }
  })

  test('gradients add up over calls, and clear() forgets them', () => {
    const step = createTrainingStep(randomModel(SMALL), kernels, { batch, length, compute: 'float' })
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
