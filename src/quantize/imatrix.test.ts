import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { decode, encode } from '../formats/index.ts'
import { randomNormal } from '../formats/random.ts'
import { imatrixName, readImatrix, writeImatrix } from './imatrix.ts'
import { squaredError } from './layer.ts'
import { recipeFormat, usesMoreBits } from './recipes.ts'
import { weightedError } from './sensitivity.ts'

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-imatrix-'))
afterAll(() => rmSync(folder, { recursive: true }))

test.each(['imatrix.dat', 'imatrix.gguf'])('an importance matrix is written and read (%s)', name => {
  const path = join(folder, name)
  const entries = new Map([
    ['blk.0.attn_q.weight', { calls: 4, means: Float32Array.of(1, 0.5, 2) }],
    ['blk.0.ffn_down.weight', { calls: 8, means: Float32Array.of(0, 3) }],
  ])
  writeImatrix(path, { entries, chunks: 4, chunkSize: 512, dataset: 'text.txt' })
  const size = name.endsWith('.gguf') ? { chunkSize: 512 } : {}
  expect(readImatrix(path)).toEqual({ entries, chunks: 4, ...size, dataset: 'text.txt' })
})

test.each(['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'q4_0', 'q4_1', 'q5_0', 'q5_1'])(
  'importance moves the error of %s to dimensions that matter less',
  type => {
    const [rows, columns] = [8, 512]
    const x = Float32Array.from({ length: rows * columns }, (_, i) => randomNormal(7, i))
    const importance = Float32Array.from({ length: columns }, (_, c) => (c % 8 === 0 ? 100 : 1))
    const error = (values: Float32Array) => weightedError(x, values, importance)
    const alike = decode(encode(x, [rows, columns], type))
    const weighed = decode(encode(x, [rows, columns], type, { importance }))
    expect(error(weighed)).toBeLessThan(0.97 * error(alike))
    const even = new Float32Array(columns).fill(3)
    if (type === 'q6_k') expect(decode(encode(x, [rows, columns], type, { importance: even }))).toEqual(alike)
    // Dimensions that calibration never saw are stored all the same.
    const none = decode(encode(x, [rows, columns], type, { importance: new Float32Array(columns) }))
    expect(squaredError(x, none)).toBeLessThan(1.5 * squaredError(x, alike))
    expect(() => encode(x, [rows, columns], type, { importance: [1] })).toThrow('expected 512')
  },
)

test('bytes that are no importance matrix are refused', () => {
  const path = join(folder, 'none.dat')
  writeFileSync(path, Buffer.from([1, 0, 0, 0, 200, 0, 0, 0, 1]))
  expect(() => readImatrix(path)).toThrow('is no importance matrix')
})

test('names are those of llama.cpp', () => {
  expect(imatrixName('layers.3.down.weight')).toBe('blk.3.ffn_down.weight')
  expect(imatrixName('embedding.weight')).toBeUndefined()
})

test('layers at both ends and every third between get more bits', () => {
  const chosen = Array.from({ length: 32 }, (_, i) => i).filter(i => usesMoreBits(i, 32))
  expect(chosen).toEqual([0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31])
})

test('the small and large mixtures are those of llama.cpp', () => {
  const config = { family: 'llama', layers: 16, heads: 8, kvHeads: 8, tied: false }
  const of = (recipe: Parameters<typeof recipeFormat>[0], layer: number, part: string) =>
    recipeFormat(recipe, { name: `layers.${layer}.${part}.weight`, shape: [256, 256], kind: 'linear' }, config)
  expect([0, 3, 4].map(layer => of('q4_k_s', layer, 'v'))).toEqual(['q5_k', 'q5_k', 'q4_k'])
  expect([0, 1, 2].map(layer => of('q4_k_s', layer, 'down'))).toEqual(['q5_k', 'q5_k', 'q4_k'])
  expect(['v', 'o', 'down', 'q', 'up'].map(part => of('q3_k_l', 5, part))).toEqual([
    'q5_k',
    'q5_k',
    'q5_k',
    'q3_k',
    'q3_k',
  ])
  expect(['v', 'o', 'down', 'q'].map(part => of('q3_k_s', 0, part))).toEqual(['q3_k', 'q3_k', 'q3_k', 'q3_k'])
  expect(['v', 'o', 'down', 'q'].map(part => of('q5_k_s', 0, part))).toEqual(['q5_k', 'q5_k', 'q5_k', 'q5_k'])
  expect([of('q4_k_m', 0, 'qkv'), of('q5_k_m', 0, 'qkv')]).toEqual(['q5_k', 'q6_k'])
})
