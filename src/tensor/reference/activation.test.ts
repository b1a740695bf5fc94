// Activation functions against known values and finite differences.
import { describe, expect, test } from 'vitest'
import type { Floats } from '../kernels.ts'
import { createReference } from '../reference.ts'
import { activation, activationBackward, erf } from './activation.ts'
import { expectClose, numbers } from './testing.ts'

const kernels = createReference({ float: 'float64' })

describe('activation', () => {
  test('erf', () => {
    const known = [
      [0, 0],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [2, 0.9953222650189527],
      [2.999, 0.9999777698314002],
      [3.5, 0.9999992569016276],
      [5, 0.9999999999984626],
      [7, 1],
    ]
    for (const [x, value] of known) {
      expect(erf(x)).toBeCloseTo(value, 14)
      expect(erf(-x)).toBeCloseTo(-value, 14)
    }
    expect(erf(3 - 1e-12)).toBeCloseTo(erf(3), 11)
  })

  test.each(['silu', 'gelu', 'geluTanh', 'relu'] as const)('%s: derivative', kind => {
    const gate = numbers(200, 12)
    const up = numbers(200, 13)
    const h = 1e-6
    const at = (x: Floats, y: Floats | null) => {
      const out = kernels.allocate(x.length)
      activation(x, y, out, kind)
      return out
    }
    const ones = gate.map(() => 1)
    for (const second of [null, up]) {
      const dGate = kernels.allocate(gate.length)
      const dUp = kernels.allocate(gate.length)
      activationBackward(gate, second, ones, dGate, second && dUp, kind)
      const [above, below] = [
        at(
          gate.map(x => x + h),
          second,
        ),
        at(
          gate.map(x => x - h),
          second,
        ),
      ]
      expectClose(
        dGate,
        above.map((a, i) => (a - below[i]) / (2 * h)),
        1e-8,
      )
      if (second !== null) expectClose(dUp, at(gate, null), 1e-15)
    }
  })

  test('large inputs stay finite', () => {
    for (const kind of ['silu', 'gelu', 'geluTanh', 'relu'] as const) {
      const out = kernels.allocate(2)
      activation(Float64Array.of(-1e4, 1e4), null, out, kind)
      expect(Array.from(out, x => x + 0)).toEqual([0, 1e4])
    }
  })
})
