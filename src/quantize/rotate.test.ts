// A rotated model computes what it did, whatever stands in its blocks; and formats lose the rotation that is in the weights.
import { expect, test } from 'vitest'
import type { ModelConfig } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import { widenModel } from '../model/model.ts'
import { llamaConfig, randomModel } from '../model/testing.ts'
import type { Weights } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import { quantizeModel } from './quantize.ts'
import { fusedFormat, rotateModel, rotationObstacle } from './rotate.ts'

const llama: ModelConfig = {
  ...llamaConfig({ vocab: 96, width: 48, layers: 2, heads: 4, hidden: 80, context: 32 }),
  kvHeads: 2,
  headSize: 16,
  attention: { scale: 0.25, clip: null, softcap: null },
}

const VARIANTS: Record<string, Partial<ModelConfig>> = {
  llama: {},
  'biases, qk-norm': { bias: { qkv: true, output: true, mlp: true, head: true }, qkNorm: 'head' },
  'parallel, one norm, clamped values': {
    residual: 'parallelShared',
    attention: { scale: 0.25, clip: 0.5, softcap: null },
  },
  'gains stored less 1, scaled embedding, no gate': {
    norm: { kind: 'rms', eps: 1e-5, gain: true, bias: false, gainOffset: 1 },
    embeddingScale: 3,
    mlp: { gated: false, activation: 'gelu' },
  },
}

const kernels = createReference({ float: 'float64' })
const ids = Int32Array.from({ length: 24 }, (_, i) => (i * 37) % 96)
const rows = Int32Array.from({ length: 24 }, (_, i) => i)

/** A random model in float32. */
function singleModel(config: ModelConfig) {
  const parameters = new Map<string, Float32Array>()
  for (const [name, values] of randomModel(config).parameters) parameters.set(name, Float32Array.from(values))
  return { config, parameters: parameters as Map<string, Weights> }
}

test.each(Object.keys(VARIANTS))('the logits of a rotated model are the same: %s', name => {
  const config = { ...llama, ...VARIANTS[name] }
  expect(rotationObstacle(config)).toBeNull()
  const model = singleModel(config)
  const logits = (parameters: typeof model.parameters) =>
    Array.from(createInference(widenModel({ config, parameters }, kernels), kernels).logits(ids, 1, 24, rows))
  const before = logits(model.parameters)
  const { parameters } = rotateModel(model, 5)
  const after = logits(parameters)
  const scale = before.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  expect(before.reduce((most, x, i) => Math.max(most, Math.abs(x - after[i])), 0)).toBeLessThan(3e-6 * scale)
  // It is another model in the weights, and other signs make another.
  const q = 'layers.1.q.weight'
  expect(Array.from(parameters.get(q)!)).not.toEqual(Array.from(model.parameters.get(q)!))
  expect(Array.from(rotateModel(model, 6).parameters.get(q)!)).not.toEqual(Array.from(parameters.get(q)!))
})

test('a dimension with outliers costs less after the rotation', () => {
  const model = singleModel(llama)
  for (const name of ['layers.0.q.weight', 'layers.0.up.weight']) {
    const weights = model.parameters.get(name)!
    for (let i = 7; i < weights.length; i += 48) weights[i] *= 30
  }
  const error = (parameters: typeof model.parameters) =>
    quantizeModel({ config: llama, parameters }, { format: 'int4@16', include: ['layers.0.q', 'layers.0.up'] })
  expect(error(rotateModel(model, 1).parameters).squaredError).toBeLessThan(0.5 * error(model.parameters).squaredError)
})

test('what cannot be rotated says why, and only the input of down keeps its rotation', () => {
  expect(rotationObstacle({ ...llama, tied: true })).toMatch('unembedding')
  expect(rotationObstacle({ ...llama, norm: { ...llama.norm, kind: 'layer' } })).toMatch('mean')
  expect(rotationObstacle({ ...llama, normPlacement: 'inside' })).toMatch('norms')
  const of = (part: string) =>
    fusedFormat('int4@16+hadamard', { name: `layers.0.${part}.weight`, shape: [48, 48], kind: 'linear' }, llama)
  expect(['q', 'o', 'up', 'down'].map(of)).toEqual(['int4@16', 'int4@16', 'int4@16', 'int4@16+hadamard'])
})
