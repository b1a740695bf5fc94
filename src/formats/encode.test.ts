// The definition of rounding, checked by brute force, and what happens at the edges.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { codebook } from './codebook.ts'
import { decode, encode, fakeQuantize } from './encode.ts'
import { RequestError } from './error.ts'
import { PRESETS, type ScaledFormat } from './format.ts'
import { elementLevels } from './levels.ts'
import { parseFormat } from './spelling.ts'

const scaled = (spelling: string) => parseFormat(spelling) as ScaledFormat

/** A tensor of normal-like numbers with a few outliers. */
function tensor(size: number, seed = 1): Float32Array {
  let state = seed
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  return Float32Array.from(
    { length: size },
    () => (uniform() + uniform() + uniform() - 1.5) * (uniform() < 0.02 ? 20 : 1),
  )
}

const maximum = (x: Float32Array) => x.reduce((max, value) => Math.max(max, Math.abs(value)), 0)

test('block formats: the stored scale is the rounded absmax, each code the nearest level of x / scale', () => {
  for (const name of [
    'int2',
    'int5',
    'int8',
    'int9',
    'nf3',
    'nf4',
    'fp4e2m1',
    'fp8e4m3.ocp',
    'dyn4',
    'dyn8',
    'ternary',
    'int4.bnb',
  ])
    for (const scale of ['fp16', 'fp32', 'bf16', 'e8m0', 'exact']) {
      const format = scaled(`${name}@48/${scale}`)
      const x = tensor(1000)
      const { codes, scales } = encode(x, [10, 100], format)
      const { levels } = codebook(format.element)
      const y = fakeQuantize(x, [10, 100], format)
      expect(scales!.length).toBe(21)
      for (let block = 0; block < 21; block++) {
        const part = x.subarray(block * 48, (block + 1) * 48)
        const absmax = maximum(part)
        const stored = scales![block]
        const precision = { fp16: 2 ** -11, fp32: 2 ** -24, bf16: 2 ** -8, e8m0: 1, exact: 0 }[scale]!
        expect(Math.abs(stored - absmax)).toBeLessThanOrEqual(absmax * precision)
        if (scale === 'e8m0') expect(stored >= absmax && Number.isInteger(Math.log2(stored))).toBe(true)
        for (let i = 0; i < part.length; i++) {
          const q = part[i] / stored
          let best = 0
          for (let code = 1; code < levels.length; code++)
            if (Math.abs(levels[code] - q) < Math.abs(levels[best] - q) - 2e-12) best = code
          if (codes![block * 48 + i] !== best)
            expect.fail(`${name}/${scale}: ${q} has code ${codes![block * 48 + i]}, nearest is ${best}`)
          expect(y[block * 48 + i]).toBe(Math.fround(Math.fround(levels[best]) * stored))
        }
      }
    }
})

test('an exact tie goes to the lower level in blocks, to the even step by row and tensor', () => {
  const x = Float32Array.of(7, 0.5, 1.5, -0.5, -1.5, 2.5, -2.5, 0)
  expect(Array.from(fakeQuantize(x, [8], 'int4@8/exact'), value => value + 0)).toEqual([7, 0, 1, -1, -2, 2, -3, 0])
  expect(Array.from(fakeQuantize(x, [8], 'int4@tensor/exact'), value => value + 0)).toEqual([7, 0, 2, 0, -2, 2, -2, 0])
})

test('rows and tensors share a step: absmax over the largest code', () => {
  const x = tensor(60)
  for (const [shares, length] of [
    ['channel', 20],
    ['token', 20],
    ['tensor', 60],
  ] as const)
    for (const bits of [2, 4, 8, 11, 16]) {
      const { codes, scales } = encode(x, [3, 20], `int${bits}@${shares}/exact`)
      const largest = 2 ** (bits - 1) - 1
      for (let i = 0; i < 60; i++) {
        const row = Math.floor(i / length)
        const step = Math.fround(maximum(x.subarray(row * length, (row + 1) * length)) / largest)
        expect(scales![row]).toBe(step)
        expect(Math.abs(codes![i])).toBeLessThanOrEqual(largest)
        expect(Math.abs(codes![i] - x[i] / step)).toBeLessThan(0.5005)
      }
    }
})

test('float64 in, float64 out, with exact scales in float64', () => {
  const x = Float64Array.from({ length: 12 }, (_, i) => Math.sin(i + 1) / 3)
  const y = fakeQuantize(x, [3, 4], 'int4@channel/exact')
  expect(y).toBeInstanceOf(Float64Array)
  for (let row = 0; row < 3; row++) {
    const part = x.subarray(4 * row, 4 * row + 4)
    const step = part.reduce((max, value) => Math.max(max, Math.abs(value)), 0) / 7
    for (let i = 0; i < 4; i++) expect(y[4 * row + i]).toBe(Math.round(part[i] / step) * step)
  }
})

test('grids: zero is on them, and each code is the nearest', () => {
  for (const name of ['uint2', 'uint4', 'uint8', 'int3full', 'int8full'])
    for (const scale of ['fp16', 'exact', 'bf16']) {
      const x = tensor(256, 5).map(value => value + 0.4)
      const { codes, scales, zeros } = encode(x, [4, 64], `${name}@32/${scale}`)
      const y = fakeQuantize(x, [4, 64], `${name}@32/${scale}`)
      const top = 2 ** Number(/\d/.exec(name)![0]) - 1
      for (let i = 0; i < 256; i++) {
        const [step, zero] = [scales![i >> 5], zeros![i >> 5]]
        const wanted = Math.min(Math.max(x[i] / step + zero, 0), top)
        expect(Math.abs(codes![i] - wanted)).toBeLessThanOrEqual(0.5 + 1e-4)
        expect(y[i]).toBe(Math.fround(step * (codes![i] - zero)))
      }
      if (name.endsWith('full')) expect(zeros!.every(zero => zero === (top + 1) / 2)).toBe(true)
    }
})

test('e4m3 scales are fractions of one number a tensor', () => {
  const x = tensor(512, 3)
  const { scales, scaleCodes, tensorScale } = encode(x, [8, 64], 'nf4@64/e4m3')
  expect(tensorScale).toBe(Math.fround(maximum(x) / 448))
  for (let b = 0; b < 8; b++) {
    expect(Math.abs(scales![b] / maximum(x.subarray(64 * b, 64 * b + 64)) - 1)).toBeLessThan(2 ** -4)
    expect(scaleCodes![b]).toBeLessThan(127)
  }
})

test('a clipped scale never has a larger error than the absmax', () => {
  for (const name of ['int2@64', 'int3@channel', 'nf3@32', 'uint3@64', 'int4full@64', 'fp4e2m1@128', 'int4@32/e8m0']) {
    const x = tensor(1024, 9)
    const error = (format: string) => {
      const y = fakeQuantize(x, [8, 128], format)
      return x.reduce((sum, value, i) => sum + (value - y[i]) ** 2, 0)
    }
    expect(error(`${name}+clip`), name).toBeLessThanOrEqual(error(name))
    if (name.startsWith('int2')) expect(error(`${name}+clip`)).toBeLessThan(0.7 * error(name))
  }
})

test('a centered block is its rounded mean plus what is left in levels', () => {
  const x = tensor(128, 4).map(value => value + 5)
  const { means, scales } = encode(x, [2, 64], 'int4@64/fp32+centered')
  expect(Math.abs(means![0] - x.subarray(0, 64).reduce((a, b) => a + b, 0) / 64)).toBeLessThan(1e-6)
  expect(scales![0]).toBeLessThan(maximum(x) / 2)
  expect(maximum(fakeQuantize(x, [2, 64], 'int4@64/fp32+centered').map((value, i) => value - x[i]))).toBeLessThan(
    scales![0] / 14 + 1e-4,
  )
})

test('kept dimensions stay in fp16 and do not count in the absmax', () => {
  const x = tensor(4 * 32, 6)
  for (let row = 0; row < 4; row++) x[row * 32 + 7] = 100 + row / 10
  const encoded = encode(x, [4, 32], 'int4@32+proxy3%', { keep: [7] })
  expect(Math.max(...encoded.scales!)).toBeLessThan(50)
  const y = decode(encoded)
  for (let row = 0; row < 4; row++) expect(Math.abs(y[row * 32 + 7] - x[row * 32 + 7])).toBeLessThan(0.05)
  expect(() => encode(x, [4, 32], 'int4@32+proxy3%')).toThrow(/needs keep/)
  expect(() => encode(x, [4, 32], 'int4@32+proxy3%', { keep: [32] })).toThrow(/kept dimension '32'/)
})

test('a rotation is undone: only rounding is left, and outliers are spread', () => {
  const x = tensor(6 * 96, 8)
  const y = fakeQuantize(x, [6, 96], 'int16@tensor/exact+hadamard', { seed: 3 })
  for (let i = 0; i < x.length; i++) expect(Math.abs(y[i] - x[i])).toBeLessThan(1e-2)
  const spike = new Float32Array(64)
  spike[11] = 1
  const { scales } = encode(spike, [1, 64], 'int8@64/exact+hadamard')
  expect(scales![0]).toBeCloseTo(1 / 8, 6)
  const again = encode(x, [6, 96], 'int4@32+hadamard', { seed: 1 })
  expect(encode(x, [6, 96], 'int4@32+hadamard', { seed: 2 }).codes).not.toEqual(again.codes)
})

test('stochastic rounding is right on average and the same for the same seed', () => {
  const x = new Float32Array(20000).fill(0.3)
  x[0] = 1
  for (const format of ['int2@tensor/exact+sr', 'int3@20000/exact+sr', 'uint2@tensor/exact+sr', 'nf4@20000/exact+sr']) {
    const y = fakeQuantize(x, [20000], format, { seed: 5 })
    expect(Math.abs(y.subarray(1).reduce((a, b) => a + b, 0) / 19999 - 0.3), format).toBeLessThan(0.015)
    expect(fakeQuantize(x, [20000], format, { seed: 5 })).toEqual(y)
    expect(fakeQuantize(x, [20000], format, { seed: 6 })).not.toEqual(y)
  }
})

const EVERY = [
  'int4@64', 'int8@channel', 'int12@32', 'nf4@64/dyn8x256', 'fp4e2m1@32/e8m0', 'dyn8@256/e4m3', 'quantile4@64', 'uint4@64', 'int4full@64',
  'ternary@tensor', 'int4@64+centered', 'int4@64+clip', 'uint3@64+clip', 'int4@64+sr', 'int4@64+hadamard', 'bf16', 'fp16', 'fp32', ...PRESETS,
] // biome-ignore format: a list

test('empty tensors, zeros, tiny and huge numbers are defined in every format', () => {
  for (const format of EVERY) {
    expect(fakeQuantize(new Float32Array(0), [0, 256], format).length, format).toBe(0)
    const zeros = fakeQuantize(new Float32Array(512), [2, 256], format)
    expect(
      zeros.every(value => value === 0),
      `${format} of zeros`,
    ).toBe(true)
    for (const size of [1e-45, 1e-38, 1e-8, 1e30]) {
      const x = tensor(512, 2).map(value => value * size)
      const y = fakeQuantize(x, [2, 256], format)
      const finite = y.every(Number.isFinite) || (format === 'fp16' && size === 1e30)
      expect(finite, `${format} of numbers near ${size}`).toBe(true)
    }
  }
})

test('a block with a nan or an infinity decodes as nan throughout, other blocks as ever', () => {
  for (const bad of [Number.NaN, Infinity, -Infinity])
    for (const format of EVERY) {
      if (['bf16', 'fp16', 'fp32'].includes(format)) continue
      const x = tensor(1024, 2)
      const clean = fakeQuantize(x, [4, 256], format)
      x[300] = bad
      const y = fakeQuantize(x, [4, 256], format)
      expect(y[300], `${format} ${bad}`).toBeNaN()
      const shared = /tensor|e4m3|dyn8x256|nvfp4|quantile/.test(format)
      if (!shared) for (let i = 768; i < 1024; i++) expect(y[i] === clean[i], `${format} ${bad} value ${i}`).toBe(true)
    }
  expect(Array.from(fakeQuantize(Float32Array.of(Number.NaN, Infinity, -Infinity), [3], 'bf16'))).toEqual([
    Number.NaN,
    Infinity,
    -Infinity,
  ])
})

test('shapes are checked', () => {
  expect(() => encode(new Float32Array(6), [2, 4], 'int4@64')).toThrow(/shape \[2, 4\] has 8 values, the array has 6/)
  expect(() => encode(new Float32Array(6), [2, 3.5], 'int4@64')).toThrow(RequestError)
  expect(() => encode(new Float32Array(48), [48], 'q4_0')).toThrow(
    /q4_0 has blocks of 32 within a row, which do not divide rows of 48/,
  )
  const encoded = encode(new Float32Array(64), [64], 'q4_0')
  expect(() => decode({ ...encoded, bytes: new Uint8Array(5) })).toThrow(/5 bytes, expected 36/)
  expect(() => decode({ ...encode(new Float32Array(8), [8], 'int4@8'), shape: [9] })).toThrow(/8 codes/)
})

test('decode of encode keeps values that a format has, any shape', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('int4@5', 'nf4@3', 'fp4e2m1@tensor', 'int3@channel', 'dyn4@7', 'mxfp4', 'uint4@4'),
      fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), { maxLength: 40 }),
      (format, values) => {
        const once = fakeQuantize(
          Float32Array.from(values),
          [values.length],
          `${format}${format === 'mxfp4' ? '' : '/exact'}`,
        )
        expect(once.every(Number.isFinite)).toBe(true)
        expect(once.length).toBe(values.length)
      },
    ),
  )
})

test('estimated quantiles use the tensor: a skewed one keeps more levels where its values are', () => {
  const x = Float32Array.from({ length: 4096 }, (_, i) => ((i + 0.5) / 4096) ** 3)
  const { levels } = encode(x, [1, 4096], 'quantile4@4096/exact')
  expect(levels!.filter(level => level > 0).length).toBeGreaterThan(14)
  expect(levels!.filter(level => level > 0 && level < 0.1).length).toBeGreaterThan(5)
  expect(elementLevels(scaled('quantile4@64').element).length).toBe(15)
})
