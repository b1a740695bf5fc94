// What a reference to a model may be, and how each is opened: tensors, a config.json, names of tensors, a tokenizer.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openFolder } from '../checkpoint/folder.ts'
import { type GgufValue, openGguf } from '../checkpoint/gguf.ts'
import { hubFolder, parseHubName } from '../checkpoint/hub.ts'
import { type Llama2cSizes, openLlama2c } from '../checkpoint/llama2c.ts'
import { widen } from '../checkpoint/numbers.ts'
import { joinTensors, type TensorFile } from '../checkpoint/tensors.ts'
import { RequestError } from '../formats/index.ts'
import { ggufTokenizer } from '../text/gguf-vocabulary.ts'
import { findTokenizer, openTokenizer, type Tokenizer } from '../text/tokenizer.ts'
import type { ModelConfig } from './config.ts'
import { one, type TensorRule } from './families/family.ts'
import { GGUF_IGNORED, ggufArchitecture, ggufRules } from './families/gguf.ts'
import { configOfGguf } from './families/gguf-metadata.ts'
import { interleavedPairs } from './families/rows.ts'

/** What a kind of file gives to be read as a model. */
export interface Source {
  tensors: TensorFile
  rawConfig: Record<string, unknown>
  /** Tensor names where they are not the family's own (GGUF). */
  rules?: (config: ModelConfig) => readonly TensorRule[]
  ignored?: readonly RegExp[]
  folder: string
  tokenizer: () => Promise<Tokenizer | null>
}

/** Finds out what a reference is, and opens it. */
export async function openSource(reference: string, ignore: readonly string[]): Promise<Source> {
  const found = statSync(reference, { throwIfNoEntry: false })
  if (found?.isDirectory()) {
    if (existsSync(join(reference, 'config.json'))) return openHuggingfaceFolder(reference)
    const inside = ggufFiles(reference)
    if (inside.length === 1) return openGgufFile(join(reference, inside[0]), ignore)
    return openHuggingfaceFolder(lastCheckpoint(reference) ?? reference)
  }
  if (found?.isFile()) {
    if (reference.endsWith('.bin')) return openLlama2cFile(reference)
    if (reference.endsWith('.gguf')) return openGgufFile(reference, ignore)
    throw new RequestError(`'${reference}' is no model file, expected a folder, .gguf or llama2.c .bin`)
  }
  const hub = parseHubName(reference)
  if (hub) return openHuggingfaceFolder(await hubFolder(hub))
  throw new RequestError(
    `no model '${reference}', expected a folder, a .gguf or llama2.c .bin file, or a hub name owner/name[@revision]`,
  )
}

/** The last checkpoint in the folder of a training run (`step-0002441`), undefined: it is none. */
function lastCheckpoint(folder: string): string | undefined {
  const steps = readdirSync(folder).filter(
    name => /^step-\d+$/.test(name) && existsSync(join(folder, name, 'config.json')),
  )
  return steps.length === 0 ? undefined : join(folder, steps.sort().at(-1) as string)
}

/** A folder in the layout of Hugging Face. */
function openHuggingfaceFolder(folder: string): Source {
  const path = join(folder, 'config.json')
  if (!existsSync(path)) throw new RequestError(`no config.json in '${folder}'`)
  const rawConfig = parseObject(readFileSync(path, 'utf8'), path)
  const older = join(folder, 'quantize_config.json')
  if (rawConfig['quantization_config'] === undefined && existsSync(older))
    rawConfig['quantization_config'] = { quant_method: 'gptq', ...parseObject(readFileSync(older, 'utf8'), older) }
  return {
    tensors: openFolder(folder),
    rawConfig,
    folder,
    tokenizer: async () => (findTokenizer(folder) === undefined ? null : openTokenizer(folder)),
  }
}

/** A JSON text that must be an object; `path` is what an error calls it. */
function parseObject(text: string, path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new RequestError(`'${path}' is not JSON`)
  }
  const object = asObject(value)
  if (!object) throw new RequestError(`'${path}' is no JSON object`)
  return object
}

/** A JSON value that is an object, else null. */
export const asObject = (value: unknown): Record<string, unknown> | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null

/** llama2.c's names of tensors; q and k rotate neighbouring pairs, which are brought to halves. */
function llama2cRules(): TensorRule[] {
  const halves = (part: 'heads' | 'kvHeads') => (config: ModelConfig) =>
    interleavedPairs(config[part], config.headSize, config.headSize)
  return [
    one('tok_embeddings', 'embedding.weight'),
    one('layers.{}.attention_norm', 'layers.{}.attentionNorm.weight'),
    one('layers.{}.wq', 'layers.{}.q.weight', { rows: halves('heads') }),
    one('layers.{}.wk', 'layers.{}.k.weight', { rows: halves('kvHeads') }),
    one('layers.{}.wv', 'layers.{}.v.weight'),
    one('layers.{}.wo', 'layers.{}.o.weight'),
    one('layers.{}.ffn_norm', 'layers.{}.mlpNorm.weight'),
    one('layers.{}.w1', 'layers.{}.gate.weight'),
    one('layers.{}.w3', 'layers.{}.up.weight'),
    one('layers.{}.w2', 'layers.{}.down.weight'),
    one('norm', 'norm.weight'),
    one('output', 'head.weight'),
  ]
}

/** A llama2.c checkpoint; its tokenizer is a tok*.bin or tok*.model beside it with as many pieces. */
function openLlama2cFile(path: string): Source {
  const file = openLlama2c(path)
  const { sizes } = file
  const folder = dirname(path)
  return {
    tensors: file,
    rawConfig: {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      vocab_size: sizes.vocab,
      hidden_size: sizes.width,
      intermediate_size: sizes.hidden,
      num_hidden_layers: sizes.layers,
      num_attention_heads: sizes.heads,
      num_key_value_heads: sizes.kvHeads,
      max_position_embeddings: sizes.context,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      tie_word_embeddings: sizes.tied,
      bos_token_id: 1,
      eos_token_id: 2,
    },
    rules: llama2cRules,
    folder,
    tokenizer: () => llama2cTokenizer(folder, sizes),
  }
}

/** The tokenizer beside a llama2.c checkpoint whose vocabulary has the right size, null: none has. */
async function llama2cTokenizer(folder: string, { vocab }: Llama2cSizes): Promise<Tokenizer | null> {
  const names = readdirSync(folder).filter(name => /^tok[^/]*\.(bin|model)$/.test(name))
  for (const name of names.sort((a, b) => a.split('.')[1].localeCompare(b.split('.')[1]))) {
    const tokenizer = await openTokenizer(join(folder, name)).catch(() => null)
    if (tokenizer?.vocab === vocab) return tokenizer
  }
  return null
}

/** GGUF files of a folder; of one that is split, the first part. */
function ggufFiles(folder: string): string[] {
  return readdirSync(folder).filter(
    name => name.endsWith('.gguf') && !/-\d{5}-of-\d{5}\.gguf$/.test(name.replace('-00001-of-', '-first-of-')),
  )
}

/** A GGUF file, or all parts of one that is split (<name>-00001-of-00003.gguf). */
function openGgufParts(path: string): TensorFile & { metadata: Readonly<Record<string, GgufValue>> } {
  const file = openGguf(path)
  const count = file.metadata['split.count']
  if (typeof count !== 'number' || count <= 1) return file
  const parts = [file]
  try {
    const match = /-00001-of-(\d{5})\.gguf$/.exec(path)
    if (!match || Number(match[1]) !== count)
      throw new RequestError(
        `'${path}' is one of ${count} parts, expected the first (…-00001-of-${String(count).padStart(5, '0')}.gguf)`,
      )
    for (let part = 2; part <= count; part++)
      parts.push(openGguf(path.replace('-00001-of-', `-${String(part).padStart(5, '0')}-of-`)))
    return { ...joinTensors(parts), metadata: file.metadata }
  } catch (error) {
    for (const part of parts) part.close()
    throw error
  }
}

/** A GGUF file with its vocabulary. */
function openGgufFile(path: string, ignore: readonly string[]): Source {
  const file = openGgufParts(path)
  try {
    const architecture = ggufArchitecture(file.metadata)
    const rawConfig = configOfGguf(
      file.metadata,
      architecture,
      {
        has: file.has,
        shape: name => file.info(name).shape,
        factors: name => {
          if (!file.has(`${name}.weight`)) return undefined
          const { dtype, shape } = file.info(`${name}.weight`)
          return Array.from(widen(file.read(`${name}.weight`), dtype, shape))
        },
      },
      ignore,
    )
    return {
      tensors: file,
      rawConfig,
      rules: config => ggufRules(architecture, config, file.has),
      ignored: GGUF_IGNORED,
      folder: dirname(path),
      tokenizer: async () => ggufTokenizer(file.metadata, path),
    }
  } catch (error) {
    file.close()
    throw error
  }
}
