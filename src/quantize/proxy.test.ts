import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readTensors } from '../../test/ptq.ts'
import { golden } from '../../test/shared.ts'
import { proxyDimensions, ranking, rowDeviations } from './proxy.ts'

const folder = golden('ptq')
if (folder) {
  const expected = JSON.parse(readFileSync(join(folder, 'proxy.json'), 'utf8')) as {
    file: string
    fraction: number
    picked: number[]
  }
  const tensors = readTensors(join(folder, expected.file))

  test('scores, ranking and picked dimensions of the golden layer', () => {
    const { shape, data } = tensors.get('W1')!
    const scores = rowDeviations(data as Float32Array, shape[0], shape[1])
    const deviations = tensors.get('std')!.data
    for (let i = 0; i < scores.length; i++) expect(Math.abs(scores[i] - deviations[i])).toBeLessThan(1e-9)
    expect([...ranking(scores)]).toEqual([...tensors.get('ranking')!.data])
    expect([...proxyDimensions(scores, expected.fraction * 100)]).toEqual(expected.picked.toSorted((a, b) => a - b))
  })
}

test('at least one dimension is kept', () => {
  expect([...proxyDimensions(Float64Array.of(1, 3, 2), 2)]).toEqual([1])
})
