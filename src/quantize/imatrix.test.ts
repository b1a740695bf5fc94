import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { imatrixName, readImatrix, writeImatrix } from './imatrix.ts'
import { usesMoreBits } from './recipes.ts'

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-imatrix-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('an importance matrix is written and read', () => {
  const path = join(folder, 'imatrix.dat')
  const entries = new Map([
    ['blk.0.attn_q.weight', { calls: 4, means: Float32Array.of(1, 0.5, 2) }],
    ['blk.0.ffn_down.weight', { calls: 8, means: Float32Array.of(0, 3) }],
  ])
  writeImatrix(path, entries, { chunks: 4, dataset: 'text.txt' })
  expect(readImatrix(path)).toEqual({ entries, chunks: 4, dataset: 'text.txt' })
})

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
