import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { golden, shared } from '../../test/shared.ts'
import { shapeOfConfig } from '../check/subject.ts'
import { openGguf } from '../checkpoint/gguf.ts'
import { loadModel } from '../model/load.ts'
import type { QuantizedMatrix } from '../quantize/layer.ts'
import { writeQuantized } from '../quantize/output.ts'
import { quantizeModel } from '../quantize/quantize.ts'
import { activationBytes, cacheBytes, linearsIn, storageOf, trainingBytes, weightBytes } from './bytes.ts'
import { MODELS } from './models.ts'

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-plan-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const small = shared('models', 'tinystories-656k')

/** A file's size, and what its header takes of it: 8 bytes and the JSON of safetensors. */
function safetensorsBytes(path: string): { data: number; header: number } {
  const header = 8 + Number(readFileSync(path).readBigUInt64LE(0))
  return { data: statSync(path).size - header, header }
}

// Packed where another layout says them exactly, else Bitlaw's own.
const FORMATS = ['int2@64', 'int3@64', 'int4@64', 'int5@64', 'int6@32', 'int8@channel', 'nf4@64', 'dyn4@64', 'uint4@64', 'int4full@128', 'fp8e4m3@128', 'q4_0'] // biome-ignore format: a list

test.skipIf(!small).each(FORMATS)('predicted bytes of tinystories-656k in %s are those of its file', async format => {
  const model = await loadModel(small!)
  const matrices = new Map<string, QuantizedMatrix>()
  const { model: quantized, totalBits } = quantizeModel(model, {
    format,
    storedBits: () => 32,
    onTensor: (tensor, matrix) => matrices.set(tensor.name, matrix),
  })
  const out = join(folder, format.replace(/\W/g, '-'))
  await writeQuantized(out, model, quantized, matrices)
  const { data, header } = safetensorsBytes(join(out, 'model.safetensors'))
  const predicted = weightBytes(shapeOfConfig(model.config), linearsIn(format, { embeddings: 'fp32', vectors: 32 }))
  expect(predicted).toBe(Math.ceil(totalBits / 8))
  // A file says the shape of each packed matrix beside it (compressed-tensors) and pads a tensor to whole words.
  const tensors = matrices.size
  expect(data).toBeGreaterThanOrEqual(predicted)
  expect(data - predicted).toBeLessThanOrEqual(tensors * 24)
  // Names and shapes take some 100 bytes a tensor.
  expect(header).toBeLessThan(400 * (4 * tensors + 8))
})

test.skipIf(!small).each(['q4_0', 'q8_0', 'q4_k_m', 'q6_k'])(
  'a GGUF file in %s holds the predicted bytes behind its header',
  async type => {
    const model = await loadModel(small!)
    const shape = shapeOfConfig(model.config)
    const storage = storageOf(type, shape)
    const matrices = new Map<string, QuantizedMatrix>()
    const { model: quantized } = quantizeModel(model, {
      format: spec => {
        const [, layer, name] = /^layers\.(\d+)\.(\w+)/.exec(spec.name) ?? [null, null, 'embedding']
        return storage.type!(
          { name: name as 'q', shape: spec.shape as [number, number], count: 1 },
          layer === null ? null : Number(layer),
        )
      },
      include: ['*'],
      exclude: undefined,
      embeddings: null,
      onTensor: (tensor, matrix) => matrices.set(tensor.name, matrix),
    })
    const path = join(folder, `${type}.gguf`)
    await writeQuantized(path, model, quantized, matrices)
    const file = openGguf(path)
    let stored = 0
    for (const name of file.names) stored += file.read(name).length
    file.close()
    expect(stored).toBe(weightBytes(shape, storage))
    expect(statSync(path).size).toBeGreaterThan(stored)
  },
)

const measured = golden('fits', 'llama_ptq_measured.csv')

test.skipIf(!measured).each(['q8_0', 'q6_k', 'q5_k_m', 'q4_k_m', 'q5_0', 'q4_0', 'q3_k_m'])(
  'published bits per parameter of Llama 3 8B in %s are predicted within 1%%',
  format => {
    const rows = readFileSync(measured!, 'utf8')
      .split('\n')
      .map(line => line.split(','))
    const row = rows.find(cells => cells[0] === 'llama-3-8b' && cells[4] === format)!
    const { shape, nTotal } = MODELS.find(model => model.name === 'llama-3-8b')!
    const bits = (weightBytes(shape, storageOf(format, shape)) * 8) / nTotal
    expect(bits / Number(row[6])).toBeGreaterThan(0.99)
    expect(bits / Number(row[6])).toBeLessThan(1.01)
  },
)

// Bytes of whole files on the hub, vocabulary and names included (a few MB of thousands).
const FILES: readonly (readonly [string, string, number])[] = [
  ['llama-2-7b', 'q4_k_m', 4_081_004_224],
  ['llama-2-7b', 'q8_0', 7_161_089_728],
  ['llama-2-7b', 'q6_k', 5_529_194_176],
  ['llama-2-13b', 'q4_k_m', 7_865_956_224],
]

test.each(FILES)('the published file of %s in %s has the predicted size within 1%%', (name, format, bytes) => {
  const { shape } = MODELS.find(model => model.name === name)!
  expect(weightBytes(shape, storageOf(format, shape)) / bytes).toBeGreaterThan(0.99)
  expect(weightBytes(shape, storageOf(format, shape)) / bytes).toBeLessThan(1.01)
})

test('cache, activations and state of training, by hand', () => {
  const { shape } = MODELS.find(model => model.name === 'llama-3-8b')!
  expect(cacheBytes(shape, 8192)).toBe(2 * 32 * 8 * 128 * 8192 * 2)
  expect(cacheBytes(shape, 8192, 'q8_0')).toBe((2 * 32 * 8 * 128 * 8192 * 34) / 32)
  expect(activationBytes(shape, 1)).toBe((4 * 4096 + 2 * 14336) * 2 + 128256 * 4)
  expect(trainingBytes(1e9, 16)).toBe(18e9)
  expect(trainingBytes(1e9, 4)).toBe(16.5e9)
})
