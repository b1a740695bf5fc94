// What is written reads back as exactly what was evaluated, whatever the layout.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import type { ModelConfig } from '../model/config.ts'
import { parseConfig } from '../model/families/index.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import { initialModel } from '../model/model.ts'
import { saveModel } from '../model/save.ts'
import { llamaConfig } from '../model/testing.ts'
import { createKernels } from '../tensor/index.ts'
import type { QuantizedMatrix } from './layer.ts'
import { checkHolds, plainBits, writeQuantized } from './output.ts'
import { quantizeModel } from './quantize.ts'
import { recipeFormat } from './recipes.ts'
import { selectTensors } from './select.ts'

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-quantize-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const kernels = createKernels({ threads: 1 })

const widths = { vocab: 96, width: 64, layers: 2, heads: 4, hidden: 128, context: 32 }
const config: ModelConfig = { ...llamaConfig(widths), kvHeads: 2, tied: true }

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
  ['int4@64', 'rtn', 'bitlaw'],
  ['int4full@32', 'rtn', 'compressed-tensors'],
  ['uint4@64', 'gptq', 'compressed-tensors'],
  ['uint8@channel', 'rtn', 'compressed-tensors'],
  ['int8@channel', 'gptq', 'compressed-tensors'],
  ['int4full@64/bf16', 'rtn', 'compressed-tensors'],
  ['uint3@64', 'gptq', 'gptq'],
  ['int2full@32', 'rtn', 'gptq'],
  ['uint2@channel/fp32', 'rtn', 'gptq'],
  ['int3@32', 'gptq', 'bitlaw'],
  ['nf4@64/dyn8x256', 'gptq', 'bitlaw'],
  ['fp4e2m1@32/e4m3', 'gptq', 'bitlaw'],
  ['quantile4@64', 'gptq', 'bitlaw'],
  ['nf4@64+hadamard', 'gptq', 'bitlaw'],
  ['int4@64+proxy2%', 'gptq', 'bitlaw'],
  ['int4@64+proxy5%', 'gptq', 'ordered'],
  ['int4@64+clip', 'gptq', 'bitlaw'],
  ['int4@64', 'awq', 'bitlaw'],
  ['mxfp4', 'rtn', 'bitlaw'],
  ['int4@tensor', 'gptq', 'bitlaw'],
] as const

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

/** The source with other numbers in its first q. */
async function changed(change: (weights: Float32Array) => void): Promise<LoadedModel> {
  const model = await source()
  const weights = Float32Array.from(model.parameters.get('layers.0.q.weight') as Float32Array)
  change(weights)
  return { ...model, parameters: new Map(model.parameters).set('layers.0.q.weight', weights) }
}

const HARD: Record<string, (weights: Float32Array) => void> = {
  zeros: weights => weights.fill(0),
  'few numbers': weights => weights.set(weights.map((_, i) => (i % 3) / 4)),
  'a nan': weights => (weights[5] = Number.NaN),
  'an infinity': weights => (weights[70] = Number.NEGATIVE_INFINITY),
}
test.each(Object.keys(HARD))('a matrix with %s goes into a file and back', async what => {
  const model = await changed(HARD[what])
  for (const format of [
    'int4@64',
    'int4full@32',
    'uint3@64',
    'quantile4@64',
    'nf4@64/dyn8x256',
    'fp4e2m1@64/e8m0',
    'nvfp4',
    'q4_0',
    'ternary@64',
  ]) {
    const matrices = new Map<string, QuantizedMatrix>()
    const done = quantizeModel(model, { format, include: ['layers.0.q'], onTensor: keep(matrices) })
    const out = join(folder, 'hard')
    await writeQuantized(out, model, done.model, matrices)
    const back = await loadModel(out, { dtype: 'float32', tokenizer: false })
    const [is, was] = [back, done.model].map(({ parameters }) => parameters.get('layers.0.q.weight')!)
    expect(is.length).toBe(was.length)
    expect(
      was.every((x, i) => x === is[i] || (Number.isNaN(x) && Number.isNaN(is[i]))),
      format,
    ).toBe(true)
    if (what === 'zeros')
      expect(
        was.every(x => x === 0),
        format,
      ).toBe(true)
  }
})

test('a .gguf file that could not hold the formats is refused before the work', () => {
  const parsed = parseConfig({
    ...{ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: 64, n_positions: 32 },
    ...{ n_embd: 64, n_layer: 1, n_head: 2, activation_function: 'gelu_new' },
  })
  const { config } = parsed
  const model = initialModel(config, 1, { kernels })
  const chosen = (format: (spec: { name: string }) => string) => selectTensors(config, format)
  const one = chosen(() => 'q8_0')
  expect(one.map(({ spec }) => spec.name)).toContain('layers.0.q.weight')
  expect(() => checkHolds('model.gguf', model, one)).not.toThrow()
  const mixed = chosen(({ name }) => (name.includes('.q.') ? 'q4_0' : 'q8_0'))
  expect(() => checkHolds('model.gguf', model, mixed)).toThrow(
    "'blk.0.attn_qkv.weight' is one matrix in a .gguf file, expected one type for",
  )
  expect(() => checkHolds('folder', model, mixed)).not.toThrow()
})

test('what cannot be calibrated says why', async () => {
  const broken = await changed(HARD['a nan'])
  const by = (method: 'gptq' | 'awq', format: string) => () =>
    quantizeModel(broken, { format, method, calibration, kernels })
  expect(by('gptq', 'int4@64')).toThrow('what enters o of block 0 is not finite on the calibration text')
  expect(by('awq', 'int4@64+proxy5%')).toThrow("method awq does not combine with +proxy in 'int4@64+proxy5%'")
})

const SIZED = [
  'int4@64',
  'int3@32/bf16',
  'nf4@64/dyn8x256',
  'nf4@64/e4m3',
  'fp4e2m1@64/e8m0',
  'uint4@64/fp32',
  'uint5@64',
  'int5full@64',
  'int6@channel',
  'quantile4@64',
  'int4@64+centered',
  'int4@64+proxy5%',
  'int4@64+hadamard',
  'int4@64+hadamard+proxy5%',
  'mxfp4',
  'nvfp4',
  'mxint8',
  'int12@64',
  'q4_0',
  'ternary@64',
  'bf16',
]

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
