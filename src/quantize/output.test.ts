// What is written reads back as exactly what was evaluated, whatever the layout.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import type { ModelConfig } from '../model/config.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import { initialModel } from '../model/model.ts'
import { saveModel } from '../model/save.ts'
import { createKernels } from '../tensor/index.ts'
import type { QuantizedMatrix } from './layer.ts'
import { plainBits, writeQuantized } from './output.ts'
import { quantizeModel } from './quantize.ts'
import { recipeFormat } from './recipes.ts'

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-quantize-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const kernels = createKernels({ threads: 1 })

const config: ModelConfig = {
  family: 'llama',
  vocab: 96,
  width: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 16,
  hidden: 128,
  context: 32,
  norm: { kind: 'rms', eps: 1e-5, gain: true, bias: false, gainOffset: 0 },
  normPlacement: 'pre',
  residual: 'sequential',
  finalNorm: true,
  embeddingNorm: false,
  embeddingWidth: 64,
  embeddingScale: 1,
  position: { kind: 'rope', theta: 10000, fraction: 1 },
  mlp: { gated: true, activation: 'silu' },
  bias: { qkv: false, output: false, mlp: false, head: false },
  qkNorm: 'none',
  attention: { scale: 0.25, clip: null, softcap: null },
  logitSoftcap: null,
  tied: true,
}

async function source(): Promise<LoadedModel> {
  const path = join(folder, 'source')
  if (!existsSync(path)) {
    const model = initialModel(config, 1, { kernels })
    await saveModel(path, model, {})
  }
  return loadModel(path, { tokenizer: false })
}

const keep = (matrices: Map<string, QuantizedMatrix>) => (tensor: { name: string }, matrix: QuantizedMatrix) =>
  void matrices.set(tensor.name, matrix)

const calibration = { ids: Int32Array.from({ length: 256 }, (_, i) => (i * 37 + (i >> 3)) % 96), length: 32 }

const CASES = [
  ['int4@64', 'rtn', 'bitlaw'], ['int4full@32', 'rtn', 'compressed-tensors'], ['uint4@64', 'gptq', 'compressed-tensors'],
  ['uint8@channel', 'rtn', 'compressed-tensors'], ['int8@channel', 'gptq', 'compressed-tensors'], ['int4full@64/bf16', 'rtn', 'compressed-tensors'],
  ['uint3@64', 'gptq', 'gptq'], ['int2full@32', 'rtn', 'gptq'], ['uint2@channel/fp32', 'rtn', 'gptq'], ['int3@32', 'gptq', 'bitlaw'],
  ['nf4@64/dyn8x256', 'gptq', 'bitlaw'], ['fp4e2m1@32/e4m3', 'gptq', 'bitlaw'], ['quantile4@64', 'gptq', 'bitlaw'], ['nf4@64+hadamard', 'gptq', 'bitlaw'],
  ['int4@64+proxy2%', 'gptq', 'bitlaw'], ['int4@64+proxy5%', 'gptq', 'ordered'], ['int4@64+clip', 'gptq', 'bitlaw'], ['int4@64', 'awq', 'bitlaw'], ['mxfp4', 'rtn', 'bitlaw'], ['int4@tensor', 'gptq', 'bitlaw'],
] as const // biome-ignore format: a table

for (const [format, method, layout] of CASES)
  for (const actOrder of layout === 'ordered'
    ? [true]
    : method === 'gptq' && layout !== 'bitlaw'
      ? [false, true]
      : [false])
    test(`${format} by ${method}${actOrder ? ' in activation order' : ''} goes into ${layout} and back`, async () => {
      const model = await source()
      const matrices = new Map<string, QuantizedMatrix>()
      const done = quantizeModel(model, {
        format,
        method,
        calibration,
        kernels,
        gptq: { actOrder },
        onTensor: (tensor, matrix) => matrices.set(tensor.name, matrix),
      })
      const out = join(folder, 'out')
      expect(await writeQuantized(out, model, done.model, matrices)).toBe(layout === 'ordered' ? 'bitlaw' : layout)
      const back = await loadModel(out, { dtype: 'float32', tokenizer: false })
      for (const [name, values] of done.model.parameters) {
        const read = back.parameters.get(name)!
        expect(read.length).toBe(values.length)
        let differing = 0
        for (let i = 0; i < values.length; i++) if (read[i] !== values[i]) differing++
        expect(differing, name).toBe(0)
      }
      expect(readdirSync(folder).filter(name => name.startsWith('.'))).toEqual([])
    })

test('a dequantized folder holds the bf16 numbers that were counted', async () => {
  const model = await source()
  const done = quantizeModel(model, { format: 'int4@64', toBf16: true })
  const out = join(folder, 'plain')
  expect(await writeQuantized(out, model, done.model, new Map(), { dequantize: true })).toBe('plain')
  const back = await loadModel(out, { dtype: 'float32', tokenizer: false })
  for (const [name, values] of done.model.parameters) expect([...back.parameters.get(name)!]).toEqual([...values])
  expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))['quantization_config']).toBeUndefined()
})

test('a recipe goes into GGUF and back', async () => {
  const model = await source()
  const matrices = new Map<string, QuantizedMatrix>()
  const done = quantizeModel(model, {
    format: spec => recipeFormat('q4_k_m', spec, model.config),
    include: ['*'],
    onTensor: (tensor, matrix) => matrices.set(tensor.name, matrix),
  })
  const out = join(folder, 'model.gguf')
  expect(await writeQuantized(out, model, done.model, matrices)).toBe('gguf')
  const back = await loadModel(out, { dtype: 'float32', tokenizer: false })
  for (const [name, values] of done.model.parameters) expect([...back.parameters.get(name)!], name).toEqual([...values])
})

const SIZED = [
  'int4@64', 'int3@32/bf16', 'nf4@64/dyn8x256', 'nf4@64/e4m3', 'fp4e2m1@64/e8m0', 'uint4@64/fp32', 'uint5@64', 'int5full@64', 'int6@channel', 'quantile4@64',
  'int4@64+centered', 'int4@64+proxy5%', 'int4@64+hadamard', 'int4@64+hadamard+proxy5%', 'mxfp4', 'nvfp4', 'mxint8', 'int12@64', 'q4_0', 'ternary@64', 'bf16',
] // biome-ignore format: a list

test.each(SIZED)('a file in %s is as large as its totalBits say, but for last bytes', async format => {
  const model = await source()
  const matrices = new Map<string, QuantizedMatrix>()
  const options = { format, storedBits: plainBits(model), onTensor: keep(matrices) }
  const { totalBits } = quantizeModel(model, options)
  const out = join(folder, 'sized')
  await writeQuantized(out, model, model, matrices, { layout: 'bitlaw' })
  const file = openSafetensors(join(out, 'model.safetensors'))
  const bytes = file.names.reduce((sum, name) => sum + file.info(name).bytes, 0)
  file.close()
  // Five ternary digits take a byte, which could hold 5.05.
  const slack = file.names.length + (format.startsWith('ternary') ? 0.01 * bytes : 0)
  expect(bytes - totalBits / 8).toBeGreaterThanOrEqual(0)
  expect(bytes - totalBits / 8).toBeLessThanOrEqual(slack)
})
