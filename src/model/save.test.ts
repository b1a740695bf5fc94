// Writing and reading back: Hugging Face folders, GGUF, and Bitlaw's packed layout, for every golden family.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gguf } from '@huggingface/gguf'
import { afterAll, describe, expect, test } from 'vitest'
import { golden, shared } from '../../test/shared.ts'
import { storeEncoded } from '../checkpoint/encoded.ts'
import { openGguf } from '../checkpoint/gguf.ts'
import { decode, encode, RequestError } from '../formats/index.ts'
import type { Weights } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import { type ModelConfig, parameterSpecs } from './config.ts'
import { FAMILIES } from './families/index.ts'
import { loadModel } from './load.ts'
import { initialModel, type Model } from './model.ts'
import { saveModel } from './save.ts'
import { saveGguf } from './save-gguf.ts'
import { ARRANGEMENTS, llamaConfig } from './testing.ts'

const scratch = mkdtempSync(join(tmpdir(), 'bitlaw-save-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const root = golden('models')
const folders = root ? readdirSync(root).filter(name => existsSync(join(root, name, 'config.json'))) : []

/** Every parameter of two models alike: names, types, numbers. */
function expectSame(a: ReadonlyMap<string, Weights>, b: ReadonlyMap<string, Weights>): void {
  expect([...b.keys()].sort()).toEqual([...a.keys()].sort())
  for (const [name, weights] of a) {
    const other = b.get(name) as Weights
    expect(other.constructor, name).toBe(weights.constructor)
    expect(other.length, name).toBe(weights.length)
    expect(
      weights.every((x: number, i: number) => Object.is(x, other[i])),
      name,
    ).toBe(true)
  }
}

describe.each(folders)('%s', name => {
  test('Hugging Face folder, whole and in shards', async () => {
    const model = await loadModel(join(root as string, name))
    for (const shardBytes of [5e9, 20_000]) {
      const folder = join(scratch, `${name}-${shardBytes}`)
      await saveModel(folder, model, { bitlaw: { d: 12, precision: { weights: 4 } }, shardBytes })
      const copy = await loadModel(folder)
      expectSame(model.parameters, copy.parameters)
      expect(copy.config).toEqual(model.config)
      expect(copy.d).toBe(12)
      expect(copy.precision?.weights).toBe('int4@channel/exact')
      expect(readdirSync(folder).filter(file => file.endsWith('.safetensors')).length > 1).toBe(shardBytes < 5e9)
    }
  })

  test('GGUF and back is lossless, or refused with a reason', async () => {
    const model = await loadModel(join(root as string, name))
    const path = join(scratch, `${name}.gguf`)
    const refusal = await saveGguf(path, model).then(
      () => null,
      (error: Error) => error,
    )
    if (refusal) {
      expect(refusal).toBeInstanceOf(RequestError)
      expect(refusal.message).toMatch(/llama\.cpp|GGUF/)
      return
    }
    const copy = await loadModel(path)
    expectSame(model.parameters, copy.parameters)
    const folder = join(scratch, `${name}-from-gguf`)
    await saveModel(folder, copy)
    expectSame(model.parameters, (await loadModel(folder)).parameters)
  })

  test('packed layout: every linear in another format, the rest as it was', async () => {
    const model = await loadModel(join(root as string, name))
    const formats = [
      'int4@64',
      'nf4@64/dyn8x256',
      'mxfp4',
      'int3@channel/fp32',
      'uint4@64',
      'fp8e4m3@tensor/exact',
      'int5@tensor',
    ]
    const encoded = new Map()
    const values = new Map<string, Float32Array>()
    parameterSpecs(model.config)
      .filter(spec => spec.kind === 'linear' && !spec.name.endsWith('.v.weight'))
      .forEach((spec, i) => {
        const weights = model.parameters.get(spec.name) as Weights
        const floats =
          weights instanceof Uint16Array
            ? Float32Array.from(weights, bits => new Float32Array(Uint32Array.of(bits << 16).buffer)[0])
            : Float32Array.from(weights)
        const format =
          formats[i % formats.length].startsWith('mx') && spec.shape[1] % 32 !== 0
            ? 'int4@64'
            : formats[i % formats.length]
        const stored = encode(floats, spec.shape, format)
        const order =
          i % 2 === 0 ? null : Int32Array.from({ length: spec.shape[1] }, (_, place) => spec.shape[1] - 1 - place)
        encoded.set(spec.name, { encoded: stored, order })
        const plain = decode(stored)
        const columns = spec.shape[1]
        values.set(
          spec.name,
          order ? plain.map((_, at) => plain[at - (at % columns) + columns - 1 - (at % columns)]) : plain,
        )
      })
    const folder = join(scratch, `${name}-packed`)
    await saveModel(folder, model, {
      encoded: { has: key => encoded.has(key), store: key => storeEncoded(key, encoded.get(key)!) },
    })
    const copy = await loadModel(folder)
    expectSame(
      new Map([...model.parameters].map(([key, weights]) => [key, values.get(key) ?? weights])),
      copy.parameters,
    )
  })
})

const widths = { vocab: 40, width: 16, layers: 2, heads: 4, hidden: 24, context: 32 }
const small: ModelConfig = { ...llamaConfig(widths), kvHeads: 2 }
const made = (config: ModelConfig): Model => initialModel(config, 1, { kernels: createReference({ float: 'float32' }) })

test('records that came from no file are written as an architecture that computes them', async () => {
  const cases: [Partial<ModelConfig>, string][] = [
    [{}, 'LlamaForCausalLM'],
    [{ tied: true, bias: { qkv: true, output: true, mlp: true, head: false } }, 'LlamaForCausalLM'],
    [{ qkNorm: 'head' }, 'Qwen3ForCausalLM'],
    [{ qkNorm: 'whole' }, 'BitlawForCausalLM'],
    [{ mlp: { gated: false, activation: 'relu' }, residual: 'parallel' }, 'BitlawForCausalLM'],
    [
      {
        position: {
          kind: 'rope',
          theta: 5e5,
          fraction: 1,
          scaling: { kind: 'yarn', factor: 4, originalContext: 8, betaFast: 32, betaSlow: 1, attentionFactor: null },
        },
      },
      'LlamaForCausalLM',
    ],
  ]
  for (const [change, architecture] of cases) {
    const model = made({ ...small, ...change })
    const folder = join(scratch, 'made')
    await saveModel(folder, model)
    const copy = await loadModel(folder)
    expect(copy.rawConfig['architectures']).toEqual([architecture])
    expect({ ...copy.config, family: 'llama' }).toEqual(model.config)
    expectSame(model.parameters, copy.parameters)
  }
})

test('a folder is written whole or not at all, and keeps files that are not a checkpoint’s', async () => {
  const folder = join(scratch, 'kept')
  mkdirSync(folder)
  writeFileSync(join(folder, 'log.jsonl'), 'line')
  await saveModel(folder, made(small))
  expect(readFileSync(join(folder, 'log.jsonl'), 'utf8')).toBe('line')
  const broken = made(small)
  broken.parameters.set('norm.weight', new Float32Array(3))
  await expect(saveModel(folder, broken)).rejects.toThrow('norm.weight')
  expectSame(made(small).parameters, (await loadModel(folder)).parameters)
  expect(readdirSync(scratch).filter(name => name.startsWith('.'))).toEqual([])
})

test('bf16 rounds, float32 widens', async () => {
  const folder = join(scratch, 'types')
  await saveModel(folder, made(small), { dtype: 'bf16' })
  const copy = await loadModel(folder)
  expect(copy.parameters.get('layers.0.q.weight')).toBeInstanceOf(Uint16Array)
  expect(copy.parameters.get('norm.weight')).toBeInstanceOf(Float32Array)
  expect(copy.storedDtype).toBe('BF16')
  const wide = await loadModel(folder, { dtype: 'float32' })
  await saveModel(folder, wide)
  expect((await loadModel(folder)).storedDtype).toBe('F32')
})

const stories = shared('models', 'tinystories-656k')
test.skipIf(!stories)('a GGUF file with a vocabulary, as another reader sees it', async () => {
  const model = await loadModel(stories as string)
  const path = join(scratch, 'stories.gguf')
  await saveGguf(path, model, {
    tokenizer: model.tokenizer,
    encodeTensor: spec => {
      if (spec.kind !== 'linear') return null
      const values = model.parameters.get(spec.name) as Float32Array
      return { dtype: 'q8_0', bytes: () => encode(values, spec.shape, 'q8_0').bytes! }
    },
  })
  const { metadata, tensorInfos } = await gguf(path, { allowLocalFile: true })
  const own = openGguf(path)
  expect(tensorInfos.map(info => info.name)).toEqual(own.names)
  const found = metadata as Record<string, unknown>
  expect(found['llama.block_count']).toBe(2)
  expect(found['tokenizer.ggml.tokens']).toEqual(own.metadata['tokenizer.ggml.tokens'])
  own.close()
  const copy = await loadModel(path)
  expect(copy.storedDtype).toBe('q8_0')
  const q = model.parameters.get('layers.0.q.weight') as Float32Array
  const back = copy.parameters.get('layers.0.q.weight') as Float32Array
  expect(q.reduce((most, x, i) => Math.max(most, Math.abs(x - back[i])), 0)).toBeLessThan(0.02)
  expect(await copy.tokenizer?.encode('Once upon a time')).toHaveLength(5)
})

test('rows of an encoded matrix are in the order of llama.cpp, and parts of one matrix have one type', async () => {
  // Rows that differ by what a short digest of them would not tell.
  const config = llamaConfig({ ...widths, width: 32 })
  const model = made(config)
  const q = model.parameters.get('layers.0.q.weight') as Float32Array
  q.fill(0)
  for (let row = 0; row < 32; row++)
    q.set(
      [127, 64 + row, 127 - 31 * (row % 3), 127].map(step => step / 128),
      32 * row,
    )
  const path = join(scratch, 'rows.gguf')
  const types = (typeOf: (name: string) => string | null) => ({
    encodeTensor: ({ name, shape }: { name: string; shape: readonly number[] }) => {
      const dtype = typeOf(name)
      const bytes = () => encode(model.parameters.get(name) as Float32Array, shape, dtype!).bytes!
      return dtype ? { dtype, bytes } : null
    },
  })
  await saveGguf(
    path,
    model,
    types(name => (name === 'layers.0.q.weight' ? 'q8_0' : null)),
  )
  expectSame(model.parameters, (await loadModel(path, { tokenizer: false })).parameters)

  const fused = made({ ...config, family: 'gpt_neox', ...ARRANGEMENTS['gpt_neox'] })
  const asked = types(name => (/[qk]\.weight$/.test(name) ? 'q8_0' : null))
  await expect(saveGguf(path, fused, asked)).rejects.toThrow(/'blk.0.attn_qkv.weight' is one matrix.* not q8_0, plain/)
})

test('every family has an architecture and a table', () => {
  for (const family of FAMILIES) expect(family.architecture).toMatch(/(ForCausalLM|LMHeadModel)$/)
  expect(new Set(FAMILIES.map(family => family.name)).size).toBe(FAMILIES.length)
})
