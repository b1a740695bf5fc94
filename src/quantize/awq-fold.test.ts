// AWQ's scales change no logit before rounding, whatever stands in the blocks; and the model that was given stays as it is.
import { expect, test } from 'vitest'
import { parseFormat } from '../formats/index.ts'
import { createInference } from '../model/inference.ts'
import { widenModel } from '../model/model.ts'
import { ARRANGEMENTS, randomModel, SMALL } from '../model/testing.ts'
import type { Weights } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import { ALL_GROUPS, foldAwq } from './awq-fold.ts'
import { startWalk } from './calibration.ts'

const kernels = createReference({ float: 'float64' })
const ids = Int32Array.from({ length: 32 }, (_, i) => (i * 13) % SMALL.vocab)
const rows = Int32Array.from({ length: 16 }, (_, i) => i)

test.each(Object.keys(ARRANGEMENTS))('folded scales leave the logits as they were: %s', name => {
  const config = { ...SMALL, ...ARRANGEMENTS[name] }
  const parameters = randomModel(config, 7, Float32Array).parameters as Map<string, Weights>
  const logits = (each: Map<string, Weights>) =>
    Array.from(createInference(widenModel({ config, parameters: each }, kernels), kernels).logits(ids, 2, 16, rows))
  const before = logits(parameters)
  const folded = new Map(parameters)
  const walk = startWalk(createInference({ config, parameters: folded }, kernels, { compute: 'float' }), {
    ids,
    length: 16,
  })
  let scaled = 0
  for (let layer = 0; layer < config.layers; layer++) {
    const moments = walk.collect(layer, ALL_GROUPS, { magnitudes: true })
    const found = foldAwq(
      config,
      folded,
      layer,
      moments,
      () => parseFormat('int4@channel'),
      weight => Float32Array.from(weight, x => Math.round(x * 3) / 3),
    )
    scaled += found.filter(({ alpha }) => alpha > 0).length
    if (layer < config.layers - 1) walk.advance(layer)
  }
  expect(scaled).toBeGreaterThan(0)
  const after = logits(folded)
  const scale = before.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  expect(before.reduce((most, x, i) => Math.max(most, Math.abs(x - after[i])), 0)).toBeLessThan(1e-5 * scale)
  expect(logits(parameters)).toEqual(before)
})
