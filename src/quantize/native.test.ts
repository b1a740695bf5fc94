// The native solver against the definition, in double, on every instruction path: grids, shapes and options.
import { expect, test } from 'vitest'
import { parseFormat } from '../formats/index.ts'
import { pathsHere } from '../tensor/addon.ts'
import { type GptqOptions, gptq } from './gptq.ts'
import { griddable, gridOf } from './grid.ts'
import { addToHessian, outputError } from './hessian.ts'
import { nativeSolvers } from './solvers.ts'

const paths = pathsHere()
if (paths.length === 0) console.log('skipped: the native kernels are not built')

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32 - 0.5
  }
}

function layer(rows: number, columns: number) {
  const next = random(rows * 1000 + columns)
  const weight = Float32Array.from({ length: rows * columns }, () => next() + next() + next())
  const count = 2 * columns + 3
  const inputs = new Float32Array(count * columns)
  for (let r = 0; r < count; r++) {
    const common = next()
    for (let c = 0; c < columns; c++)
      inputs[r * columns + c] = c === 5 ? 0 : (next() + 0.5 * common) * (c % 13 === 0 ? 8 : 1)
  }
  return { weight, inputs, count }
}

const CASES: [string, number, number, GptqOptions][] = [
  ['int4@32', 7, 96, {}],
  ['nf3@16', 33, 80, { actOrder: true }],
  ['uint3@channel', 17, 130, { actOrder: true }],
  ['int3full@64', 40, 192, { groupScales: 'block' }],
  ['fp4e2m1@32/bf16', 19, 160, { staticGroups: true, actOrder: true }],
  ['dyn8@256/exact', 5, 256, {}],
  ['quantile4@32', 16, 64, { damp: 0.1 }],
  ['int8@channel', 3, 66, {}],
  ['int4@96/exact', 9, 288, { groupScales: 'current' }],
  ['uint4@16/fp32', 65, 48, { blocksize: 32 }],
]

for (const isa of paths) {
  const solvers = nativeSolvers({ threads: 2, isa, exact: true })!
  const single = nativeSolvers({ threads: 2, isa })!
  test(`hessians and output errors on ${isa}`, () => {
    const { weight, inputs, count } = layer(21, 70)
    const wanted = new Float64Array(70 * 70)
    addToHessian(wanted, inputs, count, 70)
    const rounded = weight.map(Math.round)
    for (const [solver, tolerance] of [
      [solvers, 1e-12],
      [single, 1e-5],
    ] as const) {
      const found = new Float64Array(70 * 70)
      solver.addToHessian(found, inputs, count, 70)
      const largest = Math.max(...wanted)
      for (let i = 0; i < wanted.length; i++)
        expect(Math.abs(found[i] - wanted[i])).toBeLessThanOrEqual(tolerance * largest)
      const error = outputError(weight, rounded, wanted, 21, 70)
      expect(Math.abs(solver.outputError(weight, rounded, wanted, 21, 70) / error - 1)).toBeLessThan(tolerance * 10)
    }
  })
  for (const [spelling, rows, columns, options] of CASES)
    test(`${spelling} of ${rows} x ${columns} ${JSON.stringify(options)} on ${isa}`, () => {
      const { weight, inputs, count } = layer(rows, columns)
      const hessian = new Float64Array(columns * columns)
      addToHessian(hessian, inputs, count, columns)
      const grid = gridOf(griddable(spelling, 'gptq'), weight, columns)
      expect(parseFormat(spelling).kind).toBe('scaled')
      const wanted = gptq(weight, hessian, rows, columns, grid, options)
      const found = solvers.gptq(weight, hessian, rows, columns, grid, options)
      expect(found.order).toEqual(wanted.order)
      expect(found.groupOf).toEqual(wanted.groupOf)
      let differing = 0
      for (let i = 0; i < wanted.codes.length; i++) if (found.codes[i] !== wanted.codes[i]) differing++
      expect(differing).toBe(0)
      expect(found.zeros).toEqual(wanted.zeros)
      for (let i = 0; i < wanted.scales.length; i++)
        expect(Math.abs(found.scales[i] - wanted.scales[i])).toBeLessThanOrEqual(1e-9 * wanted.scales[i])
      const error = outputError(weight, wanted.values, hessian, rows, columns)
      expect(Math.abs(found.error! / error - 1)).toBeLessThan(1e-6)
      // In float codes may differ where a value is near a tie; the damage may not.
      const rough = single.gptq(weight, hessian, rows, columns, grid, options)
      expect(outputError(weight, rough.values, hessian, rows, columns)).toBeLessThan(error * 1.05)
    })
}
