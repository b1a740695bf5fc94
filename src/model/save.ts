// Writes a model as a Hugging Face folder, whole or not at all.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { StoredTensor } from '../checkpoint/encoded.ts'
import { roundToBf16 } from '../checkpoint/numbers.ts'
import { bytesToWrite, type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors.ts'
import { RequestError, toFloat16 } from '../formats/index.ts'
import type { Weights } from '../tensor/kernels.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { ModelConfig, ParameterSpec } from './config.ts'
import { type Family, type TensorPlace, tensorPlaces } from './families/family.ts'
import { FAMILIES, findFamily, parseConfig } from './families/index.ts'
import type { Model } from './model.ts'
import { plainName, storedNumbers, toFloat32 } from './parameters.ts'

/** Types of plain numbers in a checkpoint. */
export type PlainType = 'F32' | 'F16' | 'BF16'

/** How plain numbers are stored: all alike, or each parameter in a type of its own. */
export type PlainDtypes = 'auto' | 'float32' | 'bf16' | ((name: string) => PlainType)

/** Parameters in Bitlaw's own layout. */
export interface EncodedSource {
  has(name: string): boolean
  store(name: string): { stored: StoredTensor; tensors: TensorToWrite[] }
}

/** What goes into the folder beside the weights. */
export interface SaveOptions {
  tokenizer?: Tokenizer | null
  /** Becomes `bitlaw` of config.json: precision, d, schedule … */
  bitlaw?: Record<string, unknown>
  /** Type of matrices on disk; auto: as they are in memory; or the type of each parameter. */
  dtype?: PlainDtypes
  /** Quantized parameters, by canonical name: stored in Bitlaw's own layout instead of as plain numbers. */
  encoded?: EncodedSource
  /** Parameters in another's packed layout, by canonical name: the tensors that stand for each, names and all. */
  packed?: ReadonlyMap<string, readonly TensorToWrite[]>
  /** `quantization_config` of `packed`. */
  quantizationConfig?: Record<string, unknown>
  /** The most bytes of tensors in one file; more are sharded with an index. */
  shardBytes?: number
}

/** Files of a checkpoint that a new one replaces; others in the folder are kept. */
const OURS =
  /^(config\.json|generation_config\.json|.*\.safetensors|.*\.safetensors\.index\.json|tokenizer.*|special_tokens_map\.json|vocab\.json|merges\.txt)$/

/** Writes config.json, model.safetensors and the tokenizer into a folder of a temporary name beside `folder`, then renames it; an existing checkpoint is replaced. */
export async function saveModel(
  folder: string,
  model: Model & { rawConfig?: Record<string, unknown> },
  options: SaveOptions = {},
): Promise<void> {
  const { tokenizer = null, bitlaw, dtype = 'auto', encoded, packed, quantizationConfig, shardBytes = 5e9 } = options
  const { family, raw: spelled } = spellModel(model)
  await writeFolder(folder, async target => {
    const entries: Record<string, StoredTensor> = {}
    const tensors = tensorPlaces(model.config, family.tensors(model.config)).flatMap(
      place =>
        packed?.get(place.parts[0].name) ??
        (encoded && place.parts.some(part => encoded.has(part.name))
          ? place.parts.flatMap(part => writeEncoded(part, encoded, model.parameters, dtype, entries))
          : toWrite(place, model.parameters, dtype)),
    )
    const has = (type: PlainType) => tensors.some(tensor => tensor.dtype === type && !isPart(tensor.name))
    const computed = has('BF16') ? 'bfloat16' : has('F16') ? 'float16' : 'float32'
    const raw = { ...spelled, ...tokenIds(model.rawConfig, tokenizer), dtype: computed, torch_dtype: computed }
    const { bitlaw: before, ...rest } = raw as Record<string, unknown>
    const kept = bitlaw ?? before
    writeFileSync(
      join(target, 'config.json'),
      `${JSON.stringify({ ...rest, ...(kept ? { bitlaw: kept } : {}), ...(encoded && { quantization_config: { quant_method: 'bitlaw', tensors: entries } }), ...(quantizationConfig && { quantization_config: quantizationConfig }) }, null, 2)}\n`,
    )
    writeShards(target, tensors, shardBytes)
    await tokenizer?.save(target)
  })
}

/** Runs `write` on a new folder beside `folder` and renames it to that name only when all is written; other files of an old folder move over. */
async function writeFolder(folder: string, write: (target: string) => Promise<void>): Promise<void> {
  const final = resolve(folder)
  const old = existsSync(final) ? readdirSync(final) : []
  mkdirSync(dirname(final), { recursive: true })
  const temporary = join(dirname(final), `.${basename(final)}.${process.pid}.${Date.now().toString(36)}`)
  mkdirSync(temporary)
  try {
    await write(temporary)
    const written = new Set(readdirSync(temporary))
    for (const name of old)
      if (!OURS.test(name) && !written.has(name)) renameSync(join(final, name), join(temporary, name))
    if (existsSync(final)) {
      renameSync(final, `${temporary}.old`)
      renameSync(temporary, final)
      rmSync(`${temporary}.old`, { recursive: true })
    } else renameSync(temporary, final)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    throw error
  }
}

/** config.json of a model as it was read, or spelled anew, and the family whose tensor names go with it. */
function spellModel(model: Model & { rawConfig?: Record<string, unknown> }): {
  family: Family
  raw: Record<string, unknown>
} {
  const { rawConfig, config } = model
  if (!rawConfig) return spellConfig(config)
  const family = findFamily(config.family)
  if (!family) throw new RequestError(`unknown family '${config.family}'`)
  const { quantization_config: _, ...raw } = rawConfig
  return {
    family,
    raw: raw['tie_word_embeddings'] === config.tied ? raw : { ...raw, tie_word_embeddings: config.tied },
  }
}

/** config.json of a record that came from no file, in its own family or another that computes the same (Llama with normed heads is Qwen 3); throws RequestError where none does. */
export function spellConfig(config: ModelConfig): { family: Family; raw: Record<string, unknown> } {
  const own = findFamily(config.family)
  if (!own) throw new RequestError(`unknown family '${config.family}'`)
  let reason: keyof ModelConfig | undefined
  for (const family of [own, ...FAMILIES.filter(other => other !== own)]) {
    if (!family.spell) continue
    const raw = {
      architectures: [family.architecture],
      model_type: family.name,
      ...family.spell(config),
      use_cache: true,
    }
    let read: ModelConfig
    try {
      read = parseConfig(raw).config
    } catch {
      continue
    }
    const differing = difference({ ...read, family: config.family }, config)
    if (differing === undefined) return { family, raw }
    reason ??= differing
  }
  const value = reason === undefined ? '' : ` '${reason}' ${JSON.stringify(config[reason])}`
  throw new RequestError(
    `no checkpoint layout holds a ${config.family} model with${value}, expected what a known family computes`,
  )
}

/** The first key in which two records differ. */
function difference(a: ModelConfig, b: ModelConfig): keyof ModelConfig | undefined {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])] as (keyof ModelConfig)[]
  return keys.find(key => canonical(a[key]) !== canonical(b[key]))
}

/** A value as JSON with its keys in order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined'
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return `{${entries
    .sort(([x], [y]) => (x < y ? -1 : 1))
    .map(([key, inner]) => `${key}:${canonical(inner)}`)
    .join()}}`
}

/** Ids of the tokens that begin and end a text, where config.json does not have them. */
function tokenIds(raw: Record<string, unknown> | undefined, tokenizer: Tokenizer | null): Record<string, unknown> {
  if (!tokenizer || raw) return {}
  return { bos_token_id: tokenizer.bos, eos_token_id: tokenizer.eos }
}

/** Whether a tensor is a scale of a packed matrix, whose type says nothing of the model's. */
const isPart = (name: string) => !/\.(weight|bias)$/.test(name)

/** How one tensor is written: `bf16` rounds all, `auto` keeps each array's own type, and vectors follow the matrices where they lose nothing. */
function toWrite(place: TensorPlace, parameters: ReadonlyMap<string, Weights>, dtypes: PlainDtypes): TensorToWrite[] {
  const dtype = typeOfPlace(place, parameters, dtypes)
  const { files, shape } = place
  return files.map((name, i) => ({
    name,
    dtype,
    shape: [shape[0] / files.length, ...shape.slice(1)],
    data: () => {
      const all = storedNumbers(parameters, place)
      const numbers =
        files.length === 1 ? all : all.slice((i * all.length) / files.length, ((i + 1) * all.length) / files.length)
      if (dtype === 'BF16') return numbers instanceof Uint16Array ? numbers : roundToBf16(numbers)
      return dtype === 'F16' ? Uint16Array.from(toFloat32(numbers), toFloat16) : toFloat32(numbers)
    },
  }))
}

/** The one type of all parts of a tensor; F32 where they differ. */
export function typeOfPlace(
  { parts }: TensorPlace,
  parameters: ReadonlyMap<string, Weights>,
  dtypes: PlainDtypes,
): PlainType {
  if (typeof dtypes === 'function') {
    const [first, ...others] = parts.map(part => dtypes(part.name))
    return others.every(type => type === first) ? first : 'F32'
  }
  const isBf16 =
    dtypes === 'bf16' || (dtypes === 'auto' && parts.every(part => isBf16Exact(parameters.get(part.name), parameters)))
  return isBf16 ? 'BF16' : 'F32'
}

/** One part of a tensor that is not stored as a whole: encoded, with an entry for quantization_config, or plain under its own name. */
function writeEncoded(
  part: ParameterSpec,
  encoded: EncodedSource,
  parameters: ReadonlyMap<string, Weights>,
  dtype: PlainDtypes,
  entries: Record<string, StoredTensor>,
): TensorToWrite[] {
  if (!encoded.has(part.name))
    return toWrite(
      { ...wholeParameter(part), file: plainName(part.name), files: [plainName(part.name)] },
      parameters,
      dtype,
    )
  const { stored, tensors } = encoded.store(part.name)
  entries[part.name] = stored
  return tensors
}

/** A parameter as a place of its own. */
function wholeParameter(part: ParameterSpec): TensorPlace {
  return {
    file: part.name,
    files: [part.name],
    shape: part.shape,
    parts: [part],
    transposed: false,
    rows: null,
    flat: false,
    add: 0,
  }
}

/** bf16 bits, or floats of a model with bf16 matrices that are bf16 numbers all. */
function isBf16Exact(weights: Weights | undefined, parameters: ReadonlyMap<string, Weights>): boolean {
  if (weights === undefined || weights instanceof Uint16Array) return weights !== undefined
  if (!(weights instanceof Float32Array) || ![...parameters.values()].some(other => other instanceof Uint16Array))
    return false
  const words = new Uint32Array(weights.buffer, weights.byteOffset, weights.length)
  return words.every(word => (word & 0xffff) === 0)
}

/** Writes model.safetensors, or shards with model.safetensors.index.json where there are more than `shardBytes`. */
function writeShards(folder: string, tensors: readonly TensorToWrite[], shardBytes: number): void {
  const shards: TensorToWrite[][] = [[]]
  let filled = 0
  let total = 0
  for (const tensor of tensors) {
    const bytes = bytesToWrite(tensor)
    if (filled > 0 && filled + bytes > shardBytes) {
      shards.push([])
      filled = 0
    }
    shards[shards.length - 1].push(tensor)
    filled += bytes
    total += bytes
  }
  if (shards.length === 1) {
    writeSafetensors(join(folder, 'model.safetensors'), tensors)
    return
  }
  const map: Record<string, string> = {}
  const digits = (n: number) => String(n).padStart(5, '0')
  shards.forEach((shard, i) => {
    const name = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`
    writeSafetensors(join(folder, name), shard)
    for (const tensor of shard) map[tensor.name] = name
  })
  writeFileSync(
    join(folder, 'model.safetensors.index.json'),
    `${JSON.stringify({ metadata: { total_size: total }, weight_map: map }, null, 2)}\n`,
  )
}
