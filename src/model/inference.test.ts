// The forward pass: pieces, chosen rows, bf16 weights, precision by window, and what calibration sees.
import { expect, test } from 'vitest'
import { fromBfloat16, toBfloat16 } from '../formats/index.ts'
import type { Weights } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import type { ModelConfig, Precision } from './config.ts'
import { generate } from './generate.ts'
import { createInference } from './inference.ts'
import type { Model } from './model.ts'
import { llamaConfig, randomModel } from './testing.ts'
import { createTrainingStep } from './training.ts'

const kernels = createReference({ float: 'float64' })
const config = llamaConfig({ vocab: 23, width: 24, layers: 2, heads: 4, hidden: 20, context: 16 })
const model = randomModel(config)
const [batch, length] = [3, 7]
const inputs = Int32Array.from({ length: batch * length }, (_, i) => (i * 7 + 3) % config.vocab)
const targets = Int32Array.from({ length: batch * length }, (_, i) => (i % 5 === 4 ? -1 : (i * 11 + 1) % config.vocab))
const precision: Precision = {
  weights: 'int4@channel/exact',
  activations: 'int8@tensor/exact',
  kv: 'int6@tensor/exact',
  gradients: null,
}

test('losses are the log-softmax of logits', () => {
  const inference = createInference(model, kernels)
  const rows = Int32Array.of(0, 9, 20, 9)
  const losses = inference.losses(inputs, targets, batch, length)
  const logits = inference.logits(inputs, batch, length, rows)
  kernels.logSoftmax(logits, rows.length, config.vocab)
  rows.forEach((row, i) => {
    if (targets[row] >= 0) expect(losses[row]).toBeCloseTo(-logits[i * config.vocab + targets[row]], 12)
  })
  expect(losses[4]).toBe(0)
  expect(
    inference.losses(
      inputs,
      targets.map(() => -1),
      batch,
      length,
    ),
  ).toEqual(new Float64Array(batch * length))
  expect(inference.losses(new Int32Array(0), new Int32Array(0), 0, 5)).toEqual(new Float64Array(0))
})

test('walking layer by layer gives the same bits, and shows every linear its input', () => {
  const inference = createInference(model, kernels)
  const x = inference.embed(inputs, batch, length)
  const seen: string[] = []
  for (let layer = 0; layer < config.layers; layer++)
    inference.block(layer, x, batch, length, (linear, input, rows, width) => {
      expect([rows, width]).toEqual([batch * length, linear.endsWith('down') ? config.hidden : config.width])
      expect(input.length).toBe(rows * width)
      seen.push(linear)
    })
  expect(seen).toEqual(
    [0, 1].flatMap(i => ['q', 'k', 'v', 'o', 'gate', 'up', 'down'].map(name => `layers.${i}.${name}`)),
  )
  expect(inference.finishLosses(x, targets)).toEqual(inference.losses(inputs, targets, batch, length))
  const rows = Int32Array.of(5, 1)
  expect(inference.finishLogits(x, rows)).toEqual(inference.logits(inputs, batch, length, rows))
})

test('parameters may be replaced between calls', () => {
  const own: Model = { config, parameters: new Map(model.parameters) }
  const inference = createInference(own, kernels)
  const before = inference.losses(inputs, targets, batch, length)
  own.parameters.set('layers.1.down.weight', new Float64Array(config.width * config.hidden))
  expect(inference.losses(inputs, targets, batch, length)).not.toEqual(before)
})

test('bf16 weights give what their widened numbers give', () => {
  const narrow = new Map<string, Weights>()
  const wide = new Map<string, Weights>()
  const options: Partial<ModelConfig> = {
    bias: { qkv: true, output: true, mlp: true, head: true },
    norm: { ...config.norm, gainOffset: 1 },
    position: { kind: 'learned', positions: 16, offset: 0 },
  }
  const changed = { ...config, ...options }
  for (const [name, values] of randomModel(changed).parameters) {
    const bits = Uint16Array.from(values as Float64Array, toBfloat16)
    narrow.set(name, bits)
    wide.set(name, Float64Array.from(bits, fromBfloat16))
  }
  const run = (parameters: Map<string, Weights>) =>
    createInference({ config: changed, parameters }, kernels).losses(inputs, targets, batch, length)
  expect(run(narrow)).toEqual(run(wide))
})

test('@tensor of activations and keys is one window, however many are computed together', () => {
  const inference = createInference(model, kernels, { precision })
  const together = inference.losses(inputs, targets, batch, length)
  for (let b = 0; b < batch; b++) {
    const part = [b * length, (b + 1) * length] as const
    const alone = inference.losses(inputs.slice(...part), targets.slice(...part), 1, length)
    expect(together.slice(...part)).toEqual(alone)
    const step = createTrainingStep(model, kernels, { precision, batch: 1, length, compute: 'float' })
    const scored = targets.slice(...part).filter(target => target >= 0).length
    const mean = Array.from(alone).reduce((sum, loss) => sum + loss, 0) / scored
    expect(step.loss(inputs.slice(...part), targets.slice(...part))).toBeCloseTo(mean, 12)
  }
  expect(together).not.toEqual(createInference(model, kernels).losses(inputs, targets, batch, length))
})

test('sequences of other lengths before do not change the angles', () => {
  const dynamic: ModelConfig = {
    ...config,
    position: { kind: 'rope', theta: 100, fraction: 1, scaling: { kind: 'dynamic', factor: 2, originalContext: 4 } },
  }
  for (const changed of [config, dynamic]) {
    const used = createInference(randomModel(changed), kernels)
    for (const size of [3, 7, 5, 2, 7]) {
      const part = [inputs.slice(0, size), targets.slice(0, size), 1, size] as const
      expect(used.losses(...part)).toEqual(createInference(randomModel(changed), kernels).losses(...part))
    }
  }
})

test('wrong requests are refused before the kernels see them', () => {
  const inference = createInference(model, kernels)
  expect(() => inference.losses(Int32Array.of(23), Int32Array.of(0), 1, 1)).toThrow(
    'token 23 is outside the vocabulary of 23',
  )
  expect(() => inference.losses(Int32Array.of(1), Int32Array.of(-2), 1, 1)).toThrow('target -2')
  expect(() => inference.embed(Int32Array.of(1, 2), 1, 1)).toThrow('expected 1 input tokens, got 2')
  const learned: ModelConfig = { ...config, position: { kind: 'learned', positions: 4, offset: 0 } }
  expect(() => createInference(randomModel(learned), kernels).embed(new Int32Array(5), 1, 5)).toThrow('4 positions')
  expect(() => createTrainingStep({ config, parameters: new Map() }, kernels, { batch: 1, length: 2 })).toThrow(
    'embedding.weight',
  )
})

const VARIANTS: Record<string, Partial<ModelConfig>> = {
  llama: { kvHeads: 2 },
  gpt2: { position: { kind: 'learned', positions: 16, offset: 2 }, embeddingWidth: 10, embeddingNorm: true },
  falcon: { position: { kind: 'alibi', rounded: 'bf16' }, kvHeads: 1 },
  bloom: { position: { kind: 'alibi' }, attention: { ...config.attention, windows: [3, null], softcap: 3 } },
}

test.each(Object.entries(VARIANTS))(
  'generate, %s: greedy tokens are the likeliest of the whole window',
  (_name, variant) => {
    const changed = randomModel({ ...config, ...variant })
    const prompt = Int32Array.of(3, 1, 4)
    const tokens = [...generate(changed, kernels, prompt, { count: 12 })]
    expect(tokens.length).toBe(12)
    const inference = createInference(changed, kernels)
    const text = [...prompt]
    for (const token of tokens) {
      const logits = inference.logits(Int32Array.from(text), 1, text.length, Int32Array.of(text.length - 1))
      expect(token).toBe(logits.indexOf(Math.max(...logits)))
      text.push(token)
    }
    // rounding of a whole window: read anew each time, and the same tokens as when nothing is rounded much
    const fine: Precision = {
      weights: null,
      activations: 'int16@tensor/exact',
      kv: 'int16@tensor/exact',
      gradients: null,
    }
    expect([...generate(changed, kernels, prompt, { count: 4, precision: fine })]).toEqual(tokens.slice(0, 4))
  },
)

test('generate goes on past the context, ends at the end token, and repeats itself by seed', () => {
  const prompt = Int32Array.of(5, 6)
  const long = [...generate(model, kernels, prompt, { count: 40 })]
  expect(long.length).toBe(40)
  const end = long[3]
  const until = long.indexOf(end)
  expect([...generate(model, kernels, prompt, { count: 40, end })]).toEqual(long.slice(0, until))
  const sampled = (seed: number, topK = 23) => [
    ...generate(model, kernels, prompt, { count: 10, temperature: 3, seed, topK }),
  ]
  expect(sampled(1)).toEqual(sampled(1))
  expect(sampled(1)).not.toEqual(sampled(2))
  expect(sampled(1, 1)).toEqual(long.slice(0, 10))
  expect(() => [...generate(model, kernels, new Int32Array(0), { count: 1 })]).toThrow('at least one token')
})

test('generate samples as often as the softmax at the temperature says, from the likeliest k alone', () => {
  const prompt = Int32Array.of(5, 6)
  const logits = createInference(model, kernels).logits(prompt, 1, 2, Int32Array.of(1))
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a])
  const weights = order.slice(0, 5).map(token => Math.exp((logits[token] - logits[order[0]]) / 4))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const counts = new Map<number, number>()
  const draws = 600
  for (let seed = 0; seed < draws; seed++) {
    const [token] = generate(model, kernels, prompt, { count: 1, temperature: 4, topK: 5, seed })
    counts.set(token, (counts.get(token) ?? 0) + 1)
  }
  expect([...counts.keys()].every(token => order.slice(0, 5).includes(token))).toBe(true)
  // five standard deviations of a share of 600 draws are at most 0.1
  weights.forEach((weight, i) => {
    expect(Math.abs((counts.get(order[i]) ?? 0) / draws - weight / total)).toBeLessThan(0.1)
  })
})
