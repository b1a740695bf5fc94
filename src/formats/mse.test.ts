import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { bitsPerParameter, totalBits } from './bits.ts'
import { fakeQuantize } from './encode.ts'
import { SEARCHED_MSE } from './gaussian-table.ts'
import { bestClip, gaussianMse, trainingCapacity } from './mse.ts'
import { normalQuantile, normalTail, normalWithin } from './normal.ts'
import { randomNormal } from './random.ts'

const bits = golden('formats', 'bits.json')
test.skipIf(!bits)('bits per parameter of every row with a spelling', () => {
  for (const { spelling, shape, numerator, denominator } of JSON.parse(readFileSync(bits!, 'utf8')).formats) {
    if (spelling === null) continue
    expect(bitsPerParameter(spelling, shape), spelling).toBeCloseTo(numerator / denominator, 13)
  }
})

test('a shape counts everything that is stored', () => {
  const shape = [3, 100]
  expect(totalBits('int4@64', shape)).toBe(300 * 4 + 5 * 16)
  expect(totalBits('uint3@channel', shape)).toBe(300 * 3 + 3 * (16 + 3))
  expect(totalBits('int4@64/e4m3', shape)).toBe(300 * 4 + 5 * 8 + 32)
  expect(totalBits('nf4@64/dyn8x256', shape)).toBe(300 * 4 + 5 * 8 + 32 + 32)
  expect(totalBits('quantile3@64', shape)).toBe(300 * 3 + 5 * 16 + 8 * 32)
  expect(totalBits('int4@64+proxy2%', shape)).toBe(300 * 4 + 5 * 16 + 2 * (3 * 12 + 32))
  expect(totalBits('ternary@tensor', shape)).toBeCloseTo(300 * Math.log2(3) + 16, 9)
  expect(totalBits('q4_0', [2, 64])).toBe(2 * 2 * 18 * 8)
  expect(totalBits('mxfp4', [0, 64])).toBe(0)
})

const gaussian = golden('formats', 'gaussian_mse.json')
const document = gaussian ? JSON.parse(readFileSync(gaussian, 'utf8')) : undefined

test.skipIf(!document)('Gaussian errors of code books equal the quadrature to 6 digits', () => {
  for (const { codebook, absmax_blocks, best_clip } of document.codebooks) {
    // Estimated books have no error of their own; the formats' own book of levels is the exact normal's.
    if (codebook.endsWith('_sample')) continue
    for (const [block, , , quadrature] of absmax_blocks)
      expect(Math.abs(gaussianMse(`${codebook}@${block}`) / quadrature - 1), `${codebook}@${block}`).toBeLessThan(1e-6)
    // The golden search ends at a scale of 60 and may rest in a valley; where it found the same scale the errors are equal.
    const { scale, mse } = bestClip(`${codebook}@64`)
    expect(mse / best_clip.mse - 1, `${codebook} clip`).toBeLessThan(1e-6)
    if (Math.abs(scale / best_clip.scale - 1) < 1e-3)
      expect(Math.abs(mse / best_clip.mse - 1), `${codebook} clip`).toBeLessThan(1e-6)
  }
})

test.skipIf(!document)(
  'Gaussian errors of presets are within 3 standard errors, of those that search no larger',
  () => {
    for (const { format, mse, standard_error } of document.presets) {
      const ours = gaussianMse(format)
      if (!(format in SEARCHED_MSE)) expect(ours, format).toBeGreaterThan(mse - 3 * standard_error)
      expect(ours, format).toBeLessThan(mse + 3 * standard_error)
    }
  },
)

/** Standard normal numbers, the same for every format. */
const SAMPLE = Float32Array.from({ length: 2 ** 18 }, (_, i) => randomNormal(7, i))

/** Mean squared error of a format on the first `count` of them, and its standard error over rows. */
function monteCarlo(format: string, count: number): { mse: number; standardError: number } {
  const width = 4096
  const x = SAMPLE.subarray(0, count)
  const y = fakeQuantize(x, [count / width, width], format)
  const rows = Float64Array.from({ length: count / width }, (_, row) => {
    let sum = 0
    for (let i = row * width; i < (row + 1) * width; i++) sum += (x[i] - y[i]) ** 2
    return sum / width
  })
  const mse = rows.reduce((a, b) => a + b, 0) / rows.length
  const variance = rows.reduce((a, b) => a + (b - mse) ** 2, 0) / (rows.length - 1)
  return { mse, standardError: Math.sqrt(variance / rows.length) }
}

test('errors of grids, stored scales and extras agree with what encoding gives', () => {
  const formats = [
    'uint4@32', 'uint2@128', 'uint8@64/exact', 'int4full@64', 'int3full@16', 'int4@channel', 'ternary@channel',
    'nf4@32/e8m0', 'int4@64/e4m3', 'nf4@64/dyn8x256', 'int4@64+sr', 'int4@64+hadamard', 'int4@channel/e8m0',
    'int3@64+centered', 'uint4@32+sr', 'q4_0', 'q8_0', 'q5_1', 'nvfp4', 'mxfp6e3m2', 'tq2_0', 'bf16', 'fp16',
  ] // biome-ignore format: a list
  for (const format of formats) {
    const { mse, standardError } = monteCarlo(format, 2 ** 18)
    const expected = gaussianMse(format)
    const tolerance = 4 * standardError + expected * 2e-3
    expect(Math.abs(mse - expected), `${format}: ${mse} by encoding, ${expected} expected`).toBeLessThan(tolerance)
  }
})

test('the table of searched presets is that of these encoders', () => {
  for (const [format, expected] of Object.entries(SEARCHED_MSE)) {
    const { mse, standardError } = monteCarlo(format, 2 ** 16)
    expect(Math.abs(mse - expected), `${format}: ${mse}, table ${expected}`).toBeLessThan(
      4 * standardError + expected * 2e-3,
    )
  }
})

test('capacity rises with bits and never passes 1', () => {
  const capacities = [2, 3, 4, 6, 8].map(width => trainingCapacity(`int${width}@64`))
  for (let i = 1; i < capacities.length; i++) expect(capacities[i]).toBeGreaterThanOrEqual(capacities[i - 1])
  expect(capacities[0]).toBeLessThan(0.5)
  expect(capacities[4]).toBe(1)
})

test('the normal distribution and its inverse', () => {
  expect(normalTail(1.959963984540054)).toBeCloseTo(0.025, 15)
  expect(normalTail(8) / 6.220960574271785e-16).toBeCloseTo(1, 12)
  expect(normalWithin(1e-3) / 7.978844278e-4).toBeCloseTo(1, 8)
  for (const p of [1e-12, 1e-4, 0.3, 0.5, 0.8, 0.999]) expect(normalTail(-normalQuantile(p)) / p).toBeCloseTo(1, 9)
})
