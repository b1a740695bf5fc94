// A whole training step with the native kernels against the same step with the reference: loss and every gradient.
import { expect, test } from 'vitest'
import type { Precision } from '../model/config.ts'
import { initialModel } from '../model/model.ts'
import { createTrainingStep } from '../model/training.ts'
import { modelConfig } from '../train/architecture.ts'
import { missingReason, pathsHere } from './addon.ts'
import type { Compute, Kernels } from './kernels.ts'
import { createNative } from './native.ts'
import { createReference } from './reference.ts'

const here = pathsHere()
if (here.length === 0) console.log(`skipped: native kernels are not built: ${missingReason()}`)

const QUANTIZED: Precision = {
  weights: 'int4@channel/exact',
  activations: 'int8@tensor/exact',
  kv: 'int6@tensor/exact',
  gradients: null,
}

/** Loss and gradients of one step on repeatable tokens. */
function gradients(kernels: Kernels, precision: Precision | null, compute: Compute) {
  const section = { family: 'llama', width: 48, layers: 2, heads: 3, hidden: 80, context: 20 } as const
  const config = modelConfig(section, 70)
  const model = initialModel(config, 1, { kernels })
  const step = createTrainingStep(model, kernels, { precision, batch: 3, length: 20, compute })
  const tokens = (seed: number) => Int32Array.from({ length: 60 }, (_, i) => (i * i * 7 + seed * 13) % 70)
  const loss = step.gradients(tokens(1), tokens(2))
  return { loss, parameters: step.parameters }
}

test.skipIf(here.length === 0).each([
  ['not quantized, float', null, 'float', 1e-5],
  ['not quantized, bf16', null, 'bf16', 2e-2],
  ['quantized, float', QUANTIZED, 'float', 5e-2],
] as const)('a training step, %s, equals the reference', (_, precision, compute, tolerance) => {
  const expected = gradients(createReference({ float: 'float32' }), precision, compute)
  for (const isa of here) {
    const actual = gradients(createNative({ threads: 2, isa })!, precision, compute)
    expect(Math.abs(actual.loss - expected.loss)).toBeLessThan(tolerance * 0.1)
    for (const [i, { name, gradient }] of expected.parameters.entries()) {
      const other = actual.parameters[i].gradient
      let squares = 0
      let size = 0
      for (let j = 0; j < gradient.length; j++) {
        squares += (gradient[j] - other[j]) ** 2
        size += gradient[j] ** 2
      }
      expect(Math.sqrt(squares / size), `${name} on ${isa}`).toBeLessThan(tolerance)
    }
  }
})
