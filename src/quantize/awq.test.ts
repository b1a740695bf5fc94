import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readTensors } from '../../test/ptq.ts'
import { golden } from '../../test/shared.ts'
import { searchAwq } from './awq.ts'
import { roundToGrid } from './gptq.ts'
import { affineGrid, bookGrid } from './grid.ts'
import { addToHessian } from './hessian.ts'

const folder = golden('ptq')
if (folder) {
  const { alphas, cases } = JSON.parse(readFileSync(join(folder, 'awq.json'), 'utf8')) as {
    alphas: number[]
    cases: {
      layer: string
      bits: number
      group: number
      element: 'int' | 'uint'
      error: number
      rtn_error: number
      errors: number[]
    }[]
  }
  for (const each of cases) {
    test(`awq of ${each.layer}, ${each.element}${each.bits}@${each.group}`, () => {
      const tensors = readTensors(join(folder, `gptq_${each.layer}.safetensors`))
      const [rows, columns] = tensors.get('W')!.shape
      const inputs = tensors.get('X')!.data as Float32Array
      const hessian = new Float64Array(columns * columns)
      addToHessian(hessian, inputs, inputs.length / columns, columns)
      const magnitude = new Float64Array(columns)
      for (let i = 0; i < inputs.length; i++) magnitude[i % columns] += (Math.abs(inputs[i]) * columns) / inputs.length
      const largest = 2 ** (each.bits - 1) - 1
      const levels = Float64Array.from({ length: 2 * largest + 1 }, (_, i) => (i - largest) / largest)
      const group = each.group === -1 ? null : each.group
      const grid = each.element === 'int' ? bookGrid(levels, group) : affineGrid(each.bits, false, group)
      const roundTrip = (weight: Float64Array, r: number, c: number) => roundToGrid(weight, r, c, grid).values
      const linear = { weight: tensors.get('W')!.data as Float32Array, rows, roundTrip }
      const found = searchAwq([linear], columns, hessian, magnitude, { alphas })
      // A weight on a tie may go either way: an exponent's error to 1%, the least no more than 1% above.
      for (const [i, error] of each.errors.entries()) expect(Math.abs(found.errors[i] / error - 1)).toBeLessThan(0.01)
      expect(found.error).toBeLessThanOrEqual(each.error * 1.01)
      expect(found.error).toBe(Math.min(...found.errors))
    })
  }
}
