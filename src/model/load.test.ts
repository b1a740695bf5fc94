// What loadModel makes of good and bad checkpoints: tied heads in every form, wrong tensors, types, references.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { f32, i32s, text, texts, u32, writeGguf } from '../checkpoint/gguf-write.ts'
import { type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors.ts'
import { RequestError } from '../formats/index.ts'
import { tensorPlaces } from './families/family.ts'
import { parseConfig } from './families/index.ts'
import { loadModel, readPrecision } from './load.ts'

const scratch = mkdtempSync(join(tmpdir(), 'bitlaw-load-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const raw = {
  ...{
    model_type: 'llama',
    vocab_size: 6,
    hidden_size: 4,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
  },
  ...{ max_position_embeddings: 8, tie_word_embeddings: true },
}

/** Tensors of a tied model, each filled with its number in the list. */
function makeTensors(): TensorToWrite[] {
  const { config, family } = parseConfig(raw)
  return tensorPlaces(config, family.tensors(config)).map((place, i) => ({
    ...{ name: place.file, dtype: 'F32', shape: place.shape },
    data: () => new Float32Array(place.shape.reduce((a, b) => a * b, 1)).fill(i + 0.5),
  }))
}

let tensors: TensorToWrite[]
let folder: string
let count = 0

beforeEach(() => {
  tensors = makeTensors()
  folder = join(scratch, String(count++))
  mkdirSync(folder)
})

/** Writes the folder and opens it. */
function load(config: object = raw, options: Parameters<typeof loadModel>[1] = {}) {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  writeSafetensors(join(folder, 'model.safetensors'), tensors)
  return loadModel(folder, options)
}

const matrix = (name: string, value: number): TensorToWrite => ({
  name,
  dtype: 'F32',
  shape: [6, 4],
  data: () => new Float32Array(24).fill(value),
})

test('tied: the embedding alone, the head alone, both alike, both but different', async () => {
  expect((await load()).parameters.has('head.weight')).toBe(false)
  const embedding = tensors[0]
  tensors.push(matrix('lm_head.weight', 0.5))
  expect((await load()).config.tied).toBe(true)
  tensors = [
    ...tensors.filter(tensor => tensor !== embedding && tensor.name !== 'lm_head.weight'),
    matrix('lm_head.weight', 7),
  ]
  expect((await load()).parameters.get('embedding.weight')?.[0]).toBe(7)
  tensors.push(embedding)
  const apart = await load()
  expect(apart.config.tied).toBe(false)
  expect([apart.parameters.get('embedding.weight')?.[0], apart.parameters.get('head.weight')?.[0]]).toEqual([0.5, 7])
})

test('missing, unexpected and misshapen tensors are errors that name them', async () => {
  const all = tensors
  tensors = all.filter(tensor => !tensor.name.includes('k_proj'))
  await expect(load()).rejects.toThrow("no tensor 'model.layers.0.self_attn.k_proj.weight'")
  tensors = [...all, matrix('model.layers.0.extra.weight', 1)]
  await expect(load()).rejects.toThrow("tensor 'model.layers.0.extra.weight' that its model has not")
  tensors = all.map(tensor => (tensor.name.includes('k_proj') ? { ...matrix(tensor.name, 1), shape: [4, 6] } : tensor))
  await expect(load()).rejects.toThrow("k_proj.weight' has shape [4, 6], expected [4, 4]")
  tensors = [...all, { ...matrix('model.layers.0.self_attn.rotary_emb.inv_freq', 1), shape: [24] }]
  await load()
})

test('names without the prefix of the whole model', async () => {
  tensors = tensors.map(tensor => ({ ...tensor, name: tensor.name.replace(/^model\./, '') }))
  expect((await load()).parameters.get('norm.weight')?.length).toBe(4)
})

test('types: bf16 stays in matrices, floats on request', async () => {
  tensors = tensors.map(tensor => ({
    ...tensor,
    dtype: 'BF16',
    data: () => new Uint16Array(tensor.shape.reduce((a, b) => a * b, 1)).fill(0x3fc0),
  }))
  const kept = await load()
  expect(kept.parameters.get('layers.0.q.weight')).toBeInstanceOf(Uint16Array)
  expect(kept.parameters.get('norm.weight')).toEqual(new Float32Array(4).fill(1.5))
  const wide = await load(raw, { dtype: 'float32' })
  expect(wide.parameters.get('layers.0.q.weight')).toEqual(new Float32Array(16).fill(1.5))
  tensors = makeTensors()
  expect((await load(raw, { dtype: 'bf16' })).parameters.get('embedding.weight')).toEqual(
    new Uint16Array(24).fill(0x3f00),
  )
})

test('keys that are not known, and how to go on without them', async () => {
  await expect(load({ ...raw, twist: 2 })).rejects.toThrow("'twist' 2")
  expect((await load({ ...raw, twist: 2 }, { ignoreConfig: ['twist'] })).config.width).toBe(4)
  await expect(load({ ...raw, quantization_config: { quant_method: 'hqq' } })).rejects.toThrow("quant_method 'hqq'")
})

test('what training wrote beside the weights', async () => {
  const model = await load({
    ...raw,
    bitlaw: { d: 1e6, precision: { weights: 4, activations: 'fp8e4m3@tensor/exact', kv: 16 }, note: 'x' },
  })
  expect(model.d).toBe(1e6)
  expect(model.bitlaw?.['note']).toBe('x')
  expect(model.precision).toMatchObject({
    weights: 'int4@channel/exact',
    activations: 'fp8e4m3@tensor/exact',
    kv: null,
    gradients: null,
  })
  expect(readPrecision({ weights: 16, activations: null })).toBeNull()
  expect(readPrecision(undefined)).toBeNull()
})

test('references that are none', async () => {
  const refused = async (reference: string, message: string) => {
    await expect(loadModel(reference)).rejects.toThrow(RequestError)
    await expect(loadModel(reference)).rejects.toThrow(message)
  }
  await refused(join(scratch, 'none'), 'no model')
  await refused(folder, 'no config.json')
  writeFileSync(join(folder, 'x.txt'), 'x')
  await refused(join(folder, 'x.txt'), 'is no model file')
  writeFileSync(join(folder, 'config.json'), '{')
  await refused(folder, 'is not JSON')
  writeFileSync(join(folder, 'config.json'), JSON.stringify(raw))
  await refused(folder, 'no weights')
})

test('weights packed by GPTQ are (out, in), also where the family stores (in, out)', async () => {
  const width = 32
  const config = {
    model_type: 'gpt2',
    vocab_size: 4,
    n_embd: width,
    n_head: 2,
    n_layer: 1,
    n_inner: width,
    n_positions: 4,
  }
  const { config: record, family } = parseConfig(config)
  tensors = tensorPlaces(record, family.tensors(record)).map(place => ({
    ...{ name: place.file, dtype: 'F32', shape: place.shape },
    data: () => new Float32Array(place.shape.reduce((a, b) => a * b, 1)),
  }))
  const layer = 'transformer.h.0.attn.c_proj'
  tensors = tensors.filter(tensor => tensor.name !== `${layer}.weight`)
  // codes of 8 bits, output o and input i: (o + 2 i) % 256; zero point 1 is stored as 0
  const words = Int32Array.from({ length: 8 * width }, (_, at) => {
    const [word, output] = [Math.floor(at / width), at % width]
    return [3, 2, 1, 0].reduce((sum, i) => (sum << 8) | (output + 2 * (4 * word + i)), 0)
  })
  const part = (name: string, dtype: string, shape: number[], data: Int32Array | Float32Array): TensorToWrite => ({
    name: `${layer}.${name}`,
    dtype,
    shape,
    data: () => data,
  })
  tensors.push(
    part('qweight', 'I32', [8, width], words),
    part('qzeros', 'I32', [1, 8], new Int32Array(8)),
    part('scales', 'F32', [1, width], new Float32Array(width).fill(0.5)),
  )
  const model = await load({ ...config, quantization_config: { quant_method: 'gptq', bits: 8 } })
  const o = model.parameters.get('layers.0.o.weight') as Float32Array
  expect([o[0], o[1], o[width], o[5 * width + 3]]).toEqual([-0.5, 0.5, 0, 5])
})

/** A GGUF Llama of one layer; `split`: in two parts. */
function writeLlama(split: boolean): string {
  const shapes: Record<string, number[]> = {
    'token_embd.weight': [6, 4], 'blk.0.attn_norm.weight': [4], 'blk.0.attn_q.weight': [4, 4], 'blk.0.attn_k.weight': [4, 4], 'blk.0.attn_v.weight': [4, 4],
    'blk.0.attn_output.weight': [4, 4], 'blk.0.ffn_norm.weight': [4], 'blk.0.ffn_gate.weight': [8, 4], 'blk.0.ffn_up.weight': [8, 4],
    'blk.0.ffn_down.weight': [4, 8], 'output_norm.weight': [4], 'rope_freqs.weight': [1],
  } // biome-ignore format: a table
  const all = Object.entries(shapes).map(([name, shape]) => ({
    name,
    dtype: 'F32',
    shape,
    data: () => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
  }))
  const metadata = {
    'general.architecture': text('llama'),
    ...{
      'llama.context_length': u32(8),
      'llama.embedding_length': u32(4),
      'llama.block_count': u32(1),
      'llama.feed_forward_length': u32(8),
    },
    ...{
      'llama.attention.head_count': i32s([1]),
      'llama.attention.layer_norm_rms_epsilon': f32(1e-5),
      'general.tags': texts(['a']),
    },
  }
  const parts = split ? 2 : 1
  const path = (part: number) => join(folder, split ? `m-0000${part}-of-00002.gguf` : 'm.gguf')
  for (let part = 1; part <= parts; part++)
    writeGguf(
      path(part),
      part === 1 ? { ...metadata, ...(split && { 'split.count': u32(2) }) } : { 'split.no': u32(1) },
      all.filter((_, i) => i % parts === part - 1),
    )
  return path(1)
}

test('GGUF: whole, split, and in a folder of its own; rows of q from neighbours to halves', async () => {
  const whole = await loadModel(writeLlama(false))
  expect(whole.config).toMatchObject({ family: 'llama', heads: 1, headSize: 4, tied: true, norm: { eps: 1e-5 } })
  expect([...(whole.parameters.get('layers.0.q.weight') as Float32Array)]).toEqual([
    0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15,
  ])
  expect(whole.tokenizer).toBeNull()
  expect((await loadModel(folder)).parameters).toEqual(whole.parameters)
  rmSync(join(folder, 'm.gguf'))
  const first = writeLlama(true)
  expect((await loadModel(first)).parameters).toEqual(whole.parameters)
  expect((await loadModel(folder)).parameters).toEqual(whole.parameters)
})

test('the folder of a training run opens its last checkpoint', async () => {
  const run = folder
  for (const [step, value] of [
    ['step-0000002', 1],
    ['step-0000010', 2],
  ] as const) {
    folder = join(run, step)
    mkdirSync(folder)
    tensors = makeTensors().map(tensor => ({
      ...tensor,
      data: () => new Float32Array(tensor.data().length).fill(value),
    }))
    await load()
  }
  const opened = await loadModel(run)
  expect(opened.folder).toBe(join(run, 'step-0000010'))
  expect(opened.parameters.get('embedding.weight')?.[0]).toBe(2)
})
