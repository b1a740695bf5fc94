// Opens a checkpoint as a model: a Hugging Face folder or hub name, a .gguf file, or a llama2.c .bin.
import { type EncodedParameter, encodedParameters, type StoredTensor } from '../checkpoint/encoded.ts'
import { openPacked } from '../checkpoint/packed.ts'
import type { TensorFile } from '../checkpoint/tensors.ts'
import { formatOfBits, printFormat } from '../formats/index.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { ModelConfig, Precision } from './config.ts'
import { type TensorRule, tensorPlaces } from './families/family.ts'
import { parseConfig } from './families/index.ts'
import { type Model, sizeOf } from './model.ts'
import { lazyParameters, openParameters, readParameters } from './parameters.ts'
import { asObject, openSource } from './sources.ts'

/** A model from a checkpoint, with what stands beside the weights. */
export interface LoadedModel extends Model {
  /** The reference it was opened by. */
  name: string
  /** Folder of the checkpoint (for a single file, the folder that holds it). */
  folder: string
  tokenizer: Tokenizer | null
  /** What it computes at: what it was trained at (`bitlaw.precision` of config.json), but for weights that were quantized since; null: nothing is rounded or nothing is known. */
  precision: Precision | null
  /** Training tokens, from `bitlaw.d` of config.json; null: unknown. */
  d: number | null
  /** The `bitlaw` object of config.json, null: it has none. */
  bitlaw: Record<string, unknown> | null
  /** config.json as it was read; of other files, the same spelled as config.json. */
  rawConfig: Record<string, unknown>
  /** Type of most numbers on disk: F32, F16, BF16, or a ggml type. */
  storedDtype: string
  /** Type on disk of each parameter. */
  dtypes: ReadonlyMap<string, string>
  /** Closes the file that parameters are read from as they are asked for (`lazy`). */
  close(): void
}

/** How a checkpoint is opened. */
export interface LoadOptions {
  /** auto keeps bf16 matrices as bf16 and widens the rest; norms and biases are always float32. */
  dtype?: 'auto' | 'float32' | 'bf16'
  /** Keys of config.json to go on without, though Bitlaw does not know what they mean. */
  ignoreConfig?: readonly string[]
  /** Open no tokenizer. */
  tokenizer?: boolean
  /** Parameters are read from the file each time they are asked for, until the model is closed. */
  lazy?: boolean
}

/** Opens a model by folder, .gguf or .bin file, or hub name `owner/name[@revision]`; throws RequestError where it is not one that Bitlaw computes exactly. */
export async function loadModel(reference: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const { dtype = 'auto', ignoreConfig = [], tokenizer = true, lazy = false } = options
  const source = await openSource(reference, ignoreConfig)
  let kept = false
  try {
    const { quantization_config: quantization, ...rawConfig } = source.rawConfig
    const { family, config } = parseConfig(rawConfig, ignoreConfig)
    const { stored, encoded } = openQuantized(source.tensors, asObject(quantization), ignoreConfig)
    const rules = source.rules?.(config) ?? family.tensors(config)
    const { tensors, config: settled, rules: table } = settleHead(stored, config, rules, family.prefix)
    const ignored = [...(family.ignored ?? []), ...(source.ignored ?? [])]
    const open = openParameters(tensors, tensorPlaces(settled, table), {
      prefix: family.prefix,
      ignored,
      dtype,
      encoded,
    })
    const parameters = lazy ? lazyParameters(open) : readParameters(open)
    const bitlaw = asObject(source.rawConfig['bitlaw'])
    const opened: LoadedModel = {
      config: settled,
      parameters,
      name: reference,
      folder: source.folder,
      tokenizer: tokenizer ? await source.tokenizer() : null,
      precision: precisionOf(bitlaw),
      d: typeof bitlaw?.['d'] === 'number' ? bitlaw['d'] : null,
      bitlaw,
      rawConfig: source.rawConfig,
      storedDtype: commonDtype(tensors),
      dtypes: open.dtypes,
      close: lazy ? () => source.tensors.close() : () => {},
    }
    kept = lazy
    return opened
  } finally {
    if (!kept) source.tensors.close()
  }
}

/** Tensors with packed weights as plain ones, and the parameters in Bitlaw's own layout, by `quantization_config`. */
function openQuantized(
  tensors: TensorFile,
  config: Record<string, unknown> | null,
  ignore: readonly string[],
): { stored: TensorFile; encoded?: ReadonlyMap<string, EncodedParameter> } {
  if (!config || ignore.includes('quantization_config')) return { stored: tensors }
  if (config['quant_method'] === 'bitlaw')
    return {
      stored: tensors,
      encoded: encodedParameters(tensors, (asObject(config['tensors']) ?? {}) as Record<string, StoredTensor>),
    }
  return {
    stored: openPacked(tensors, { ...config, ignore_activations: ignore.includes('quantization_config.activations') }),
  }
}

/**
 * Tied embeddings come as either matrix or both: where only the head is stored it is read as the embedding, an equal copy
 * is passed over, and one that differs unties them (as transformers 5 does).
 */
function settleHead(tensors: TensorFile, config: ModelConfig, rules: readonly TensorRule[], prefix: string) {
  const fileOf = (part: string) =>
    rules
      .find(rule => rule.parts.length === 1 && rule.parts[0].replace('*', 'weight') === part)
      ?.file.replace('*', 'weight')
  const head = fileOf('head.weight')
  const embedding = fileOf('embedding.weight')
  if (!config.tied || head === undefined || embedding === undefined || !tensors.has(head))
    return { tensors, config, rules }
  const stored = [embedding, embedding.slice(prefix.length)].find(name => tensors.has(name))
  if (stored === undefined) {
    const renamed = rules.filter(
      rule => rule.parts[0] !== 'embedding.weight' && !rule.parts[0].startsWith('head.weight'),
    )
    return { tensors, config, rules: [...renamed, { file: head, parts: ['embedding.weight'] }] }
  }
  if (!sameTensor(tensors, head, stored)) return { tensors, config: { ...config, tied: false }, rules }
  return { tensors: { ...tensors, names: tensors.names.filter(name => name !== head) }, config, rules }
}

/** Whether two tensors are stored alike, bit for bit. */
function sameTensor(tensors: TensorFile, a: string, b: string): boolean {
  const [first, second] = [tensors.info(a), tensors.info(b)]
  if (first.dtype !== second.dtype || first.bytes !== second.bytes) return false
  return Buffer.compare(tensors.read(a), tensors.read(b)) === 0
}

/** The type of most numbers. */
function commonDtype(tensors: TensorFile): string {
  const counts = new Map<string, number>()
  for (const name of tensors.names) {
    const { dtype, shape } = tensors.info(name)
    counts.set(dtype, (counts.get(dtype) ?? 0) + sizeOf(shape))
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'F32'
}

/** What a checkpoint with this `bitlaw` in its config.json computes at. */
function precisionOf(bitlaw: Record<string, unknown> | null): Precision | null {
  const trained = readPrecision(bitlaw?.['precision'])
  // Quantized weights are no masters, to be rounded in each product: they are the rounded ones.
  return trained && asObject(bitlaw?.['quantized']) ? readPrecision({ ...trained, weights: null }) : trained
}

/** `bitlaw.precision` of a config.json: spellings, or numbers of bits as in a run configuration; null: nothing is quantized. */
export function readPrecision(value: unknown): Precision | null {
  const object = asObject(value)
  if (!object) return null
  const spelling = (part: 'weights' | 'activations' | 'kv' | 'gradients') => {
    const found = object[part] ?? null
    if (typeof found !== 'number') return typeof found === 'string' ? found : null
    const format = formatOfBits(found, part === 'gradients' ? 'activations' : part)
    return format === null ? null : printFormat(format)
  }
  const precision: Precision = {
    ...object,
    weights: spelling('weights'),
    activations: spelling('activations'),
    kv: spelling('kv'),
    gradients: spelling('gradients'),
  }
  return (precision.weights ?? precision.activations ?? precision.kv ?? precision.gradients) ? precision : null
}
