import { expect, test } from 'vitest'
import { MODELS } from './models.ts'
import { countShape, matrices, shapeOf, usualWidth } from './shape.ts'

// N_total as the checkpoints have it (the hub's counts, and transformers' num_parameters).
const PUBLISHED: Record<string, number> = {
  'llama-2-7b': 6_738_415_616,
  'llama-2-13b': 13_015_864_320,
  'llama-2-70b': 68_976_648_192,
  'llama-3-8b': 8_030_261_248,
  'llama-3-70b': 70_553_706_496,
  'llama-3.1-405b': 405_853_388_800,
  'llama-3.2-1b': 1_235_814_400,
  'llama-3.2-3b': 3_212_749_824,
  'mistral-7b': 7_241_732_096,
  'tinyllama-1.1b': 1_100_048_384,
  'pythia-70m': 70_426_624,
  'pythia-160m': 162_322_944,
  'pythia-410m': 405_334_016,
  'pythia-1b': 1_011_781_632,
  'pythia-1.4b': 1_414_647_808,
  'pythia-2.8b': 2_775_208_960,
  'pythia-6.9b': 6_857_302_016,
  'pythia-12b': 11_846_072_320,
  'opt-125m': 125_239_296,
  'opt-1.3b': 1_315_758_080,
  'opt-2.7b': 2_651_596_800,
  'opt-6.7b': 6_658_473_984,
  'bloom-560m': 559_214_592,
  'bloom-1b7': 1_722_408_960,
  'bloom-7b1': 7_069_016_064,
  bloom: 176_247_271_424,
  'falcon-7b': 6_921_720_704,
  'qwen2.5-0.5b': 494_032_768,
  'qwen2.5-1.5b': 1_543_714_304,
  'qwen2.5-7b': 7_615_616_512,
  'qwen2.5-32b': 32_763_876_352,
  'qwen2.5-72b': 72_706_203_648,
  'qwen3-0.6b': 596_049_920,
  'qwen3-8b': 8_190_735_360,
  'qwen3-32b': 32_762_123_264,
  'olmo-1b': 1_176_764_416,
  'olmo-7b': 6_888_095_744,
  'olmo-2-7b': 7_298_617_344,
  'olmo-2-13b': 13_716_198_400,
  'smollm2-135m': 134_515_008,
  'smollm2-360m': 361_821_120,
  'smollm2-1.7b': 1_711_376_384,
  'gemma-2-2b': 2_614_341_888,
  'gemma-2-9b': 9_241_705_984,
  'gemma-2-27b': 27_227_128_320,
  'phi-2': 2_779_683_840,
}

test('at least 40 models, each with a source and its name once', () => {
  expect(MODELS.length).toBeGreaterThanOrEqual(40)
  expect(new Set(MODELS.map(model => model.name)).size).toBe(MODELS.length)
  for (const { source, hub, d } of MODELS) {
    expect(source).not.toBe('')
    expect(hub).toMatch(/^[\w.-]+\/[\w.-]+$/)
    if (d !== null) expect(d).toBeGreaterThan(1e11)
  }
})

test.each(Object.entries(PUBLISHED))('%s has as many parameters as its checkpoint', (name, nTotal) => {
  expect(MODELS.find(model => model.name === name)?.nTotal).toBe(nTotal)
})

test('non-embedding parameters of the models that others quantized', () => {
  expect(MODELS.find(model => model.name === 'llama-2-7b')?.n).toBe(6_476_271_616)
  expect(MODELS.find(model => model.name === 'llama-3-8b')?.n).toBe(6_979_588_096)
})

test('a shape of n parameters has about n of them, and the usual width', () => {
  for (const n of [1e6, 1e8, 1e9, 7e9, 7e10]) {
    const shape = shapeOf(n)
    expect(Math.abs(countShape(shape).n / n - 1)).toBeLessThan(0.06)
    expect(Math.abs(shape.width / usualWidth(n) - 1)).toBeLessThan(0.3)
    for (const matrix of matrices(shape))
      expect(matrix.shape.every(size => size % 64 === 0 || size === shape.vocab)).toBe(true)
  }
})
