// Every family against transformers' logits: the folders of golden/models, and further ones in BITLAW_MODELS.
import { cpSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { golden } from '../../../test/shared.ts'
import { widen } from '../../checkpoint/numbers.ts'
import { openSafetensors } from '../../checkpoint/safetensors.ts'
import { createReference } from '../../tensor/reference.ts'
import { createInference } from '../inference.ts'
import { loadModel } from '../load.ts'
import type { Model } from '../model.ts'

const roots = [golden('models'), process.env['BITLAW_MODELS']].filter(root => root !== undefined)
const folders = roots.flatMap(root =>
  readdirSync(root)
    .map(name => join(root, name))
    .filter(folder => existsSync(join(folder, 'reference.safetensors'))),
)

/** Largest difference of a model's logits to those stored beside it. */
function logitError(model: Model, folder: string): number {
  const reference = openSafetensors(join(folder, 'reference.safetensors'))
  const numbers = (name: string) => widen(reference.read(name), reference.info(name).dtype, reference.info(name).shape)
  const [batch, length] = reference.info('input_ids').shape
  const inference = createInference(model, createReference({ float: 'float32' }))
  const rows = Int32Array.from({ length: batch * length }, (_, i) => i)
  const logits = inference.logits(Int32Array.from(numbers('input_ids')), batch, length, rows)
  return numbers('logits').reduce((most, expected, i) => Math.max(most, Math.abs(expected - logits[i])), 0)
}

describe.each(folders)('%s', folder => {
  test('logits', async () => {
    expect(logitError(await loadModel(folder, { dtype: 'float32' }), folder)).toBeLessThan(1e-4)
  })

  test.skipIf(!existsSync(join(folder, 'config.v4.json')))('logits with the older config.json', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'bitlaw-model-'))
    try {
      cpSync(folder, copy, { recursive: true })
      renameSync(join(copy, 'config.v4.json'), join(copy, 'config.json'))
      expect(logitError(await loadModel(copy, { dtype: 'float32' }), folder)).toBeLessThan(1e-4)
    } finally {
      rmSync(copy, { recursive: true })
    }
  })
})

test.skipIf(folders.length === 0)('a changed weight would be noticed', async () => {
  const model = await loadModel(folders[0], { dtype: 'float32' })
  const weights = model.parameters.get('layers.0.q.weight')!
  weights[0] += 0.1
  expect(logitError(model, folders[0])).toBeGreaterThan(1e-4)
})
