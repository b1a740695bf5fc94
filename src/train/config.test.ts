import { expect, test } from 'vitest'
import { countParameters } from '../model/config.ts'
import { FAMILIES, modelConfig } from './architecture.ts'
import { modelPrecision, parseRunConfig } from './config.ts'

const BASE = {
  data: { train: 'books/train', valid: 'books/valid', tokenizer: { kind: 'bpe', vocab: 4096 } },
  model: { family: 'llama', width: 128, layers: 4, heads: 4, hidden: 384, context: 256 },
  tokens: '20M',
}

test('defaults are filled in, quantities are read', () => {
  const run = parseRunConfig({ ...BASE, checkpoints: ['5M', 20e6], evaluate: { every: 2e6 } })
  expect(run).toMatchObject({
    seed: 0,
    tokens: 20e6,
    batch: 8192,
    checkpoints: [5e6, 20e6],
    precision: { weights: 16, activations: 16, kv: 16, gradients: 16 },
    optimizer: { lr: 1e-3, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1, clip: 1 },
    schedule: { kind: 'cosine', warmup: 0.1, final: 0.1 },
    evaluate: { every: 2e6, tokens: 200e3 },
    compute: 'bf16',
  })
  expect(parseRunConfig({ ...BASE, schedule: { kind: 'wsd' } }).schedule).toEqual({
    kind: 'wsd',
    warmup: 0.1,
    final: 0.1,
    decay: 0.2,
  })
  expect(parseRunConfig({ ...BASE, data: { train: ['a', 'b'], valid: { share: 0.02 } } }).data.valid).toEqual({
    share: 0.02,
  })
})

test('a parsed configuration parses to itself', () => {
  for (const schedule of ['cosine', { kind: 'constant' }, { kind: 'wsd', decay: 0.3 }, { kind: 'linear', final: 0 }]) {
    const run = parseRunConfig({
      ...BASE,
      schedule,
      precision: { weights: 4, gradients: 'bf16' },
      average: { last: 0.1 },
    })
    expect(parseRunConfig(JSON.parse(JSON.stringify(run)))).toEqual(run)
  }
})

test('precision: numbers are the paper’s choice, 16 is not quantized, formats pass', () => {
  const { precision } = parseRunConfig({
    ...BASE,
    precision: { weights: 4, activations: 8, kv: 'fp8e4m3@tensor/exact', gradients: 'bf16' },
  })
  expect(modelPrecision(precision)).toEqual({
    weights: 'int4@channel/exact',
    activations: 'int8@tensor/exact',
    kv: 'fp8e4m3@tensor/exact',
    gradients: 'bf16',
  })
  expect(modelPrecision(parseRunConfig(BASE).precision)).toEqual({
    weights: null,
    activations: null,
    kv: null,
    gradients: null,
  })
})

test.each([
  [{ ...BASE, tokens: undefined }, /tokens is missing, expected a number of tokens/],
  [{ ...BASE, tokens: 'many' }, /tokens is 'many', expected a number of tokens/],
  [{ ...BASE, model: { ...BASE.model, width: 0.5 } }, /model\.width is 0\.5, expected a whole number from 1/],
  [{ ...BASE, model: { ...BASE.model, widht: 64 } }, /unknown key 'model\.widht' \(did you mean width\?\)/],
  [{ ...BASE, model: { ...BASE.model, family: 'lama' } }, /model\.family is 'lama', expected one of llama/],
  [{ ...BASE, token: 5 }, /unknown key 'token' \(did you mean tokens\?\)/],
  [{ ...BASE, precision: { weights: 1 } }, /precision\.weights is 1, expected a whole number of bits from 2 to 16/],
  [
    { ...BASE, precision: { weights: 'int9x@64' } },
    /precision\.weights is 'int9x@64', expected .*unknown format 'int9x@64' \(did you mean int9\?\)/,
  ],
  [
    { ...BASE, precision: { activations: 'int8@channel' } },
    /precision\.activations is 'int8@channel', expected .*@token, @tensor or a block/,
  ],
  [{ ...BASE, data: { ...BASE.data, valid: { share: 2 } } }, /data\.valid is \{"share":2\}, expected .*share/],
  [
    { ...BASE, data: { ...BASE.data, tokenizer: { kind: 'bpe' } } },
    /data\.tokenizer is \{"kind":"bpe"\}, expected \{ kind: bytes \}/,
  ],
  [{ ...BASE, schedule: { kind: 'cosin' } }, /schedule is \{"kind":"cosin"\}, expected .*kinds are cosine/],
  [{ ...BASE, schedule: { kind: 'cosine', decay: 0.2 } }, /expected no decay in a cosine schedule/],
  [{ ...BASE, optimizer: { lr: -1 } }, /optimizer\.lr is -1, expected a learning rate above 0/],
  [{ ...BASE, optimizer: { betas: [0.9] } }, /optimizer\.betas is \[0\.9\], expected two numbers/],
  [{ ...BASE, checkpoints: ['5M', 'x'] }, /checkpoints\[1\] is 'x', expected a number of tokens/],
  ['text', /it is 'text', expected a run configuration/],
  [null, /it is null, expected a run configuration/],
])('wrong configuration %#', (value, message) => {
  expect(() => parseRunConfig(value)).toThrow(message)
})

test('every family gives a model whose parameters can be counted', () => {
  for (const family of Object.keys(FAMILIES)) {
    const { model } = parseRunConfig({ ...BASE, model: { family, width: 64, layers: 2, heads: 2, context: 32 } })
    const config = modelConfig(model, 300)
    const { n, nTotal } = countParameters(config)
    expect(n).toBeGreaterThan(0)
    expect(nTotal - n).toBeGreaterThanOrEqual(300 * 64)
  }
  const small = modelConfig(parseRunConfig(BASE).model, 4096)
  expect(countParameters(small).n).toBe(4 * (4 * 128 * 128 + 3 * 128 * 384 + 2 * 128) + 128)
  expect(modelConfig(parseRunConfig({ ...BASE, model: { ...BASE.model, hidden: undefined } }).model, 4096).hidden).toBe(
    384,
  )
})

test('sizes that do not fit each other are refused', () => {
  const build = (model: object) =>
    modelConfig(parseRunConfig({ ...BASE, model: { ...BASE.model, ...model } }).model, 10)
  expect(() => build({ heads: 3 })).toThrow("model.heads '3' does not divide model.width '128'")
  expect(() => build({ kvHeads: 3 })).toThrow("model.kvHeads '3' does not divide model.heads '4'")
  expect(() => build({ heads: 128 })).toThrow(/expected an even number from 2/)
})
