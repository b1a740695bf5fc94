// Rotary frequencies against those of transformers 5.23 (float32, printed by its ROPE_INIT_FUNCTIONS), and ALiBi's slopes.
import { expect, test } from 'vitest'
import { createReference } from '../tensor/reference.ts'
import type { RopeScaling } from './config.ts'
import { alibiSlopes, layerRope, ropeFrequencies } from './rope.ts'
import { llamaConfig } from './testing.ts'

const shortFactor = [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
const longFactor = [2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5]
const yarn = { kind: 'yarn', factor: 4, originalContext: 32, betaFast: 32, betaSlow: 1, attentionFactor: null } as const
const plain = [1, 0.316227766, 0.1, 0.0316227766, 0.01, 0.00316227766, 0.001, 0.000316227766]
const stretched = [1, 0.197642356, 0.025, 0.007905695, 0.0025, 0.000790569, 0.00025, 7.9057e-5]

const CASES: [name: string, scaling: RopeScaling | undefined, length: number, magnitude: number, expected: number[]][] =
  [
    ['none', undefined, 8, 1, plain],
    ['linear', { kind: 'linear', factor: 4 }, 8, 1, plain.map(f => f / 4)],
    [
      'llama3',
      { kind: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 32 },
      8,
      1,
      [1, 0.095839977, 0.0125, 0.003952847, 0.00125, 0.000395285, 0.000125, 3.9528e-5],
    ],
    ['dynamic, short', { kind: 'dynamic', factor: 2, originalContext: 32 }, 32, 1, plain],
    [
      'dynamic, long',
      { kind: 'dynamic', factor: 2, originalContext: 32 },
      100,
      1,
      [1, 0.249528468, 0.062264454, 0.015536753, 0.003876863, 0.000967388, 0.000241391, 6.0234e-5],
    ],
    ['yarn', yarn, 8, 1.138629436111989, stretched],
    ['yarn, attention factor', { ...yarn, attentionFactor: 1.3 }, 8, 1.3, stretched],
    [
      'yarn, everything set',
      { ...yarn, betaFast: 4, betaSlow: 0.5, truncate: false, mscale: 0.7, mscaleAllDim: 0.5 },
      8,
      1.0259286501478284,
      [1, 0.212468684, 0.025664398, 0.007905695, 0.0025, 0.000790569, 0.00025, 7.9057e-5],
    ],
    [
      'longrope, short',
      { kind: 'longrope', shortFactor, longFactor, originalContext: 32, attentionFactor: 1.1832159566199232 },
      32,
      1.1832159566199232,
      [1, 0.287479758, 0.083333336, 0.024325214, 0.007142857, 0.002108185, 0.000625, 0.000186016],
    ],
    [
      'longrope, long',
      { kind: 'longrope', shortFactor, longFactor, originalContext: 32, attentionFactor: 1.1832159566199232 },
      33,
      1.1832159566199232,
      [0.5, 0.126491114, 0.033333335, 0.009035079, 0.0025, 0.000702728, 0.0002, 5.7496e-5],
    ],
  ]

test.each(CASES)('%s', (_name, scaling, length, magnitude, expected) => {
  const found = ropeFrequencies(10000, 16, scaling, length)
  expect(found.magnitude).toBeCloseTo(magnitude, 12)
  expect(found.frequencies.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) expect(found.frequencies[i]).toBeCloseTo(expected[i], 7)
})

test('layers: partial heads, a theta of layers with a window, layers without rotation', () => {
  const base = llamaConfig({ vocab: 8, width: 40, layers: 3, heads: 4, hidden: 8, context: 8 })
  const rope = layerRope(
    {
      ...base,
      position: { kind: 'rope', theta: 1e6, fraction: 0.75, localTheta: 100, layers: [true, true, false] },
      attention: { ...base.attention, windows: [4, null, null] },
    },
    createReference({ float: 'float64' }),
    5,
  )
  // three quarters of 10 are 7 numbers: 3 whole pairs
  expect(rope(0)!.pairs).toBe(3)
  expect(rope(0)!.cos.length).toBe(15)
  expect(rope(0)!.cos[4 * 3 + 1]).toBeCloseTo(Math.cos(4 * 100 ** (-2 / 6)), 12)
  expect(rope(1)!.sin[2 * 3 + 2]).toBeCloseTo(Math.sin(2 * 1e6 ** (-4 / 6)), 12)
  expect(rope(2)).toBeNull()
})

test('slopes of 8 and of 6 heads', () => {
  expect(Array.from(alibiSlopes(8))).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map(power => 2 ** -power))
  expect(Array.from(alibiSlopes(6))).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3])
})
