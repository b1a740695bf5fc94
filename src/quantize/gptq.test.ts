import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readTensors, unpackCodes } from '../../test/ptq.ts'
import { golden } from '../../test/shared.ts'
import { type GptqOptions, type GptqResult, gptq, type PreparedHessian, prepareHessian, roundToGrid } from './gptq.ts'
import { affineGrid } from './grid.ts'
import { addToHessian, outputError } from './hessian.ts'
import { nativeSolvers } from './solvers.ts'

interface Case {
  layer: string
  method: 'gptq' | 'rtn'
  bits: number
  group: number
  sym: boolean
  actorder?: boolean
  static_groups?: boolean
  blocksize?: number
  percdamp?: number
  error: number
  codes: string
  scales: string
  zeros: string
  perm?: string
  unstable_rows?: number[]
}

/** What of a result is not as in the golden case, rows on ties left out; the error of the layer's output everywhere to 1%. */
function differences(
  done: GptqResult,
  each: Case,
  tensors: ReturnType<typeof readTensors>,
  rows: number,
  columns: number,
  error: number,
): string[] {
  const codes = unpackCodes(tensors.get(each.codes)!.data as Uint8Array, rows * columns)
  const scales = tensors.get(each.scales)!.data
  const zeros = tensors.get(each.zeros)!.data
  const perm = each.perm ? tensors.get(each.perm)!.data : null
  const unstable = new Set(each.unstable_rows)
  const groups = scales.length / rows
  const found: string[] = []
  for (let r = 0; r < rows; r++) {
    if (unstable.has(r)) continue
    for (let i = r * columns; i < (r + 1) * columns; i++) if (done.codes[i] !== codes[i]) found.push(`code ${i}`)
    for (let g = r * groups; g < (r + 1) * groups; g++) {
      if (!(Math.abs(done.scales[g] - scales[g]) <= 1e-10 * scales[g])) found.push(`scale ${g}`)
      if (done.zeros[g] !== zeros[g]) found.push(`zero ${g}`)
    }
  }
  if (perm?.some((column, place) => done.order?.[place] !== column)) found.push('order')
  if (!(error <= each.error * 1.01)) found.push(`error ${error} above ${each.error}`)
  return found.slice(0, 3).map(text => `${text} of ${JSON.stringify(each)}`)
}

const folder = golden('ptq')
if (folder) {
  const file = JSON.parse(readFileSync(join(folder, 'gptq.json'), 'utf8')) as {
    layers: Record<string, { file: string; rows: number; cols: number }>
    cases: Case[]
  }
  for (const [name, { file: tensorsFile, rows, cols }] of Object.entries(file.layers)) {
    const tensors = readTensors(join(folder, tensorsFile))
    const weight = tensors.get('W')!.data as Float32Array
    const inputs = tensors.get('X')!.data as Float32Array
    const hessian = new Float64Array(cols * cols)
    addToHessian(hessian, inputs, inputs.length / cols, cols)
    const mine = file.cases.filter(each => each.layer === name)

    test(`hessian of ${name}`, () => {
      const diagonal = tensors.get('H_diag')!.data
      for (let i = 0; i < cols; i++)
        expect(Math.abs(hessian[i * cols + i] - diagonal[i])).toBeLessThanOrEqual(1e-9 * diagonal[i])
    })

    test(`${mine.length} cases of ${name} give the authors' codes, scales, zeros, order and error`, () => {
      const native = nativeSolvers({ threads: 2, exact: true })
      const prepared = new Map<string, PreparedHessian>()
      for (const each of mine) {
        const grid = affineGrid(each.bits, each.sym, each.group === -1 ? null : each.group)
        const options: GptqOptions = {
          damp: each.percdamp,
          blocksize: each.blocksize,
          actOrder: each.actorder,
          staticGroups: each.static_groups,
        }
        const key = `${each.percdamp} ${each.actorder}`
        const factor = prepared.get(key) ?? prepareHessian(hessian, cols, options)
        prepared.set(key, factor)
        const theirs =
          each.method === 'rtn'
            ? roundToGrid(weight, rows, cols, grid)
            : gptq(weight, hessian, rows, cols, grid, { ...options, groupScales: 'block' }, factor)
        const error = outputError(weight, theirs.values, hessian, rows, cols)
        expect(differences(theirs, each, tensors, rows, cols, error)).toEqual([])
        if (each.method === 'rtn') continue
        const theirsNative = native?.gptq(weight, hessian, rows, cols, grid, { ...options, groupScales: 'block' })
        if (theirsNative) {
          const nativeError = outputError(weight, theirsNative.values, hessian, rows, cols)
          expect(differences(theirsNative, each, tensors, rows, cols, nativeError)).toEqual([])
          expect(Math.abs(theirsNative.error! / nativeError - 1)).toBeLessThan(1e-6)
        }
        const ours = gptq(weight, hessian, rows, cols, grid, options, factor)
        expect(outputError(weight, ours.values, hessian, rows, cols), JSON.stringify(each)).toBeLessThanOrEqual(
          error * (1 + 1e-9),
        )
      }
    })
  }
}
