// Initial parameters: their distribution, and that they depend on seed, name and place alone.
import { expect, test } from 'vitest'
import { toBfloat16 } from '../formats/index.ts'
import type { Weights } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import { parameterSpecs } from './config.ts'
import { initialModel, widenModel } from './model.ts'
import { createNormal, createUniform } from './random.ts'
import { llamaConfig } from './testing.ts'

const kernels = createReference()
const config = { ...llamaConfig({ vocab: 300, width: 64, layers: 8, heads: 4, hidden: 96, context: 16 }), tied: true }

function deviation(values: ArrayLike<number>): number {
  const mean = Array.from(values).reduce((sum, x) => sum + x, 0) / values.length
  return Math.sqrt(Array.from(values).reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length)
}

test('matrices are normal, those into the residual stream narrower, gains 1 and biases 0', () => {
  const biased = { ...config, bias: { ...config.bias, qkv: true }, norm: { ...config.norm, gainOffset: 1 } }
  const { parameters } = initialModel(biased, 1, { kernels })
  expect([...parameters.keys()]).toEqual(parameterSpecs(biased).map(({ name }) => name))
  expect(deviation(parameters.get('embedding.weight')!)).toBeCloseTo(0.02, 3)
  expect(deviation(parameters.get('layers.3.gate.weight')!)).toBeCloseTo(0.02, 3)
  expect(deviation(parameters.get('layers.3.o.weight')!)).toBeCloseTo(0.02 / 4, 3)
  expect(deviation(parameters.get('layers.7.down.weight')!)).toBeCloseTo(0.02 / 4, 3)
  expect(new Set(parameters.get('layers.0.q.bias'))).toEqual(new Set([0]))
  expect(new Set(parameters.get('norm.weight'))).toEqual(new Set([0]))
  const plain = initialModel(config, 1, { kernels }).parameters
  expect(new Set(plain.get('norm.weight'))).toEqual(new Set([1]))
})

test('the same seed gives the same bits, in float64 too; another seed, name or layer others', () => {
  const a = initialModel(config, 7, { kernels }).parameters
  expect(initialModel({ ...config, layers: 8 }, 7, { kernels }).parameters).toEqual(a)
  const double = initialModel(config, 7, { kernels: createReference({ float: 'float64' }) }).parameters
  expect(Float32Array.from(double.get('layers.1.q.weight')!)).toEqual(a.get('layers.1.q.weight'))
  expect(Array.from(double.get('layers.1.q.weight')!)).toEqual(Array.from(a.get('layers.1.q.weight')!))
  expect(initialModel(config, 8, { kernels }).parameters.get('layers.1.q.weight')).not.toEqual(
    a.get('layers.1.q.weight'),
  )
  expect(a.get('layers.2.q.weight')).not.toEqual(a.get('layers.1.q.weight'))
  expect(a.get('layers.1.k.weight')).not.toEqual(a.get('layers.1.q.weight'))
})

test('random numbers: moments, tails and no correlation between neighbours', () => {
  const normal = createNormal(3, 'x')
  const uniform = createUniform(3, 'x')
  const count = 200_000
  let [sum, squares, fourth, product, low] = [0, 0, 0, 0, 0]
  for (let i = 0; i < count; i++) {
    const z = normal(i)
    sum += z
    squares += z * z
    fourth += z ** 4
    product += z * normal(i + 1)
    if (uniform(i) < 0.25) low++
  }
  expect(Math.abs(sum / count)).toBeLessThan(0.01)
  expect(Math.abs(squares / count - 1)).toBeLessThan(0.015)
  expect(Math.abs(fourth / count - 3)).toBeLessThan(0.1)
  expect(Math.abs(product / count)).toBeLessThan(0.01)
  expect(Math.abs(low / count - 0.25)).toBeLessThan(0.005)
  expect(createUniform(2 ** 40 + 3, 'x')(0)).not.toBe(uniform(0))
  expect(uniform(2 ** 33)).not.toBe(uniform(0))
})

test('widening shares what is wide already', () => {
  const parameters = new Map<string, Weights>([
    ['a', Uint16Array.of(toBfloat16(1.5))],
    ['b', Float32Array.of(2)],
  ])
  const wide = widenModel({ config, parameters }, kernels).parameters
  expect(wide.get('a')).toEqual(Float32Array.of(1.5))
  expect(wide.get('b')).toBe(parameters.get('b'))
})
