// Whole training steps on the native kernels against the reference in float32: every arrangement, and the same bits from
// one thread and two. Kernel by kernel they are compared in tensor/.
import { describe, expect, test } from 'vitest'
import { toBfloat16 } from '../formats/index.ts'
import type { Floats, Kernels } from '../tensor/kernels.ts'
import { createNative } from '../tensor/native.ts'
import { createReference } from '../tensor/reference.ts'
import type { ModelConfig, Precision } from './config.ts'
import { generate } from './generate.ts'
import { createInference } from './inference.ts'
import { ARRANGEMENTS, llamaConfig, randomModel, SMALL } from './testing.ts'
import { createTrainingStep, type TrainingOptions } from './training.ts'

const native = createNative({ threads: 2 })
if (native === undefined) console.log('skipped: the native kernels were not built')
const reference = createReference()

const [batch, length] = [2, 9]
const inputs = Int32Array.from({ length: batch * length }, (_, i) => (i * 7 + 3) % SMALL.vocab)
const targets = Int32Array.from({ length: batch * length }, (_, i) => (i === 4 ? -1 : (i * 11 + 1) % SMALL.vocab))

function run(config: ModelConfig, kernels: Kernels, options: Partial<TrainingOptions>) {
  const step = createTrainingStep(randomModel(config, 5, Float32Array), kernels, { batch, length, ...options })
  const loss = step.loss(inputs, targets)
  // the two sum the same exponentials in another order
  expect(step.gradients(inputs, targets)).toBeCloseTo(loss, 6)
  return { loss, gradients: step.parameters.map(({ name, gradient }) => ({ name, gradient })) }
}

function length2(x: Floats, minus: Floats | null = null): number {
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += (x[i] - (minus === null ? 0 : minus[i])) ** 2
  return Math.sqrt(sum)
}

/** Loss and each gradient within a share of the reference's; one that cancels to nothing (keys' bias) counts as a hundredth of all. */
function compare(config: ModelConfig, options: Partial<TrainingOptions>, tolerance: number): void {
  const a = run(config, native!, options)
  const b = run(config, reference, options)
  expect(Math.abs(a.loss / b.loss - 1)).toBeLessThan(tolerance)
  const all = Math.hypot(...b.gradients.map(({ gradient }) => length2(gradient)))
  a.gradients.forEach(({ name, gradient }, i) => {
    const expected = b.gradients[i].gradient
    const size = Math.max(length2(expected), all / 100)
    expect(length2(gradient, expected) / size, name).toBeLessThan(tolerance)
  })
}

const W4: Precision = { weights: 'int4@channel/exact', activations: null, kv: null, gradients: null }
const W4A8KV8: Precision = { ...W4, activations: 'int8@tensor/exact', kv: 'int8@tensor/exact' }
const BY_CHANCE: Precision = {
  weights: 'int4@channel/exact+sr',
  activations: 'int8@tensor/exact+sr',
  kv: 'int8@tensor/exact+sr',
  gradients: 'int8@token/exact+sr',
}

describe.skipIf(native === undefined)('native training steps', () => {
  const arrangements = Object.entries(ARRANGEMENTS).map(([name, option]) => ({ name, config: { ...SMALL, ...option } }))

  test.each(arrangements)('$name: float computing within 2e-5', ({ config }) => {
    compare(config, { compute: 'float' }, 2e-5)
  })

  test.each(arrangements)('$name: bf16 computing within 2%, quantized weights too', ({ config }) => {
    compare(config, { compute: 'bf16' }, 0.02)
    compare(config, { compute: 'bf16', precision: W4 }, 0.02)
  })

  test('W4A8KV8 in bf16: within 5%, as a code of the activations may fall the other way', () => {
    compare(SMALL, { compute: 'bf16', precision: W4A8KV8 }, 0.05)
  })

  test('one thread and two: the same bits', () => {
    const config = llamaConfig({ vocab: 23, width: 64, layers: 2, heads: 4, hidden: 96, context: 16 })
    const one = createNative({ threads: 1 })!
    for (const precision of [null, W4A8KV8, BY_CHANCE])
      expect(run(config, one, { precision })).toEqual(run(config, native!, { precision }))
  })

  test('rounding by chance draws anew at each step and from each seed, and the same again', () => {
    for (const [part, spelling] of Object.entries(BY_CHANCE) as [keyof Precision, string][]) {
      const precision: Precision = { weights: null, activations: null, kv: null, gradients: null, [part]: spelling }
      const [a, again, later, other] = (
        [
          [3, 1],
          [3, 1],
          [3, 2],
          [4, 1],
        ] as const
      ).map(([seed, step]) => {
        const training = createTrainingStep(randomModel(SMALL, 5, Float32Array), native!, {
          batch,
          length,
          precision,
          seed,
        })
        training.draw(step)
        training.gradients(inputs, targets)
        return training.parameters.map(({ gradient }) => gradient)
      })
      expect(again).toEqual(a)
      expect(later).not.toEqual(a)
      expect(other).not.toEqual(a)
    }
    compare(SMALL, { compute: 'float', precision: BY_CHANCE }, 0.05)
  })

  test('inference on bf16 weights, and generation, agree with the reference', () => {
    const { config, parameters } = randomModel({ ...SMALL, kvHeads: 2, tied: true }, 5, Float32Array)
    const narrow = new Map([...parameters].map(([name, weights]) => [name, Uint16Array.from(weights, toBfloat16)]))
    const model = { config, parameters: narrow }
    const [a, b] = [native!, reference].map(kernels =>
      createInference(model, kernels).losses(inputs, targets, batch, length),
    )
    expect(length2(a, b)).toBeLessThan(1e-5 * length2(b))
    const [c, d] = [native!, reference].map(kernels => [...generate(model, kernels, inputs.slice(0, 4), { count: 20 })])
    expect(c).toEqual(d)
  })
})
