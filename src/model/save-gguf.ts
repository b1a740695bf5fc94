// Writes a model as a .gguf file that llama.cpp opens: sizes, vocabulary and tensors under its names.
import { renameSync, rmSync } from 'node:fs'
import { type GgufEntry, type GgufTensor, text, u32, writeGguf } from '../checkpoint/gguf-write.ts'
import { roundToBf16 } from '../checkpoint/numbers.ts'
import { RequestError, toFloat16 } from '../formats/index.ts'
import { vocabularyMetadata } from '../text/gguf-vocabulary-write.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { ModelConfig, ParameterSpec, RopeScaling } from './config.ts'
import { type TensorPlace, tensorPlaces } from './families/family.ts'
import { architectureOf, ggufRules } from './families/gguf.ts'
import { configOfGguf, metadataOfConfig } from './families/gguf-metadata.ts'
import { parseConfig } from './families/index.ts'
import type { Model } from './model.ts'
import { storedNumbers, toFloat32 } from './parameters.ts'
import { ropeFrequencies } from './rope.ts'
import { type PlainDtypes, typeOfPlace } from './save.ts'

/** A matrix that becomes a ggml type. */
export interface EncodedForGguf {
  dtype: string
  /** Its rows one behind the other, in the model's order. */
  bytes: () => Uint8Array
}

/** What goes into the file beside the tensors. */
export interface SaveGgufOptions {
  tokenizer?: Tokenizer | null
  /** `general.name`. */
  name?: string
  /** A matrix in a ggml type, its bytes made when its turn comes, or null: plain numbers. */
  encodeTensor?: (spec: ParameterSpec) => EncodedForGguf | null
  /** Type of matrices that are not encoded; auto: as they are in memory. */
  dtype?: PlainDtypes
  /** Further keys. */
  metadata?: Readonly<Record<string, GgufEntry>>
}

/** Writes a model as GGUF, whole or not at all; throws RequestError where llama.cpp cannot say what the model is. */
export async function saveGguf(
  path: string,
  model: Model,
  { tokenizer = null, name, encodeTensor, dtype = 'auto', metadata = {} }: SaveGgufOptions = {},
): Promise<void> {
  const { config, parameters } = model
  const architecture = architectureOf(config.family)
  const keys = metadataOfConfig(config, architecture)
  const extra = rotaryTensors(config)
  const tensors: GgufTensor[] = []
  for (const place of tensorPlaces(config, ggufRules(architecture, config))) {
    const vector = place.shape.length === 1
    const plain = vector ? 'F32' : typeOfPlace(place, parameters, dtype)
    const encoded = encodeTensor && !vector ? encodeParts(place, encodeTensor) : null
    tensors.push({
      name: place.file,
      dtype: encoded?.dtype ?? plain,
      // StableLM's norm of each head has two dimensions in llama.cpp.
      shape:
        place.flat && config.qkNorm === 'layerEachHead'
          ? [place.shape[0] / config.headSize, config.headSize]
          : place.shape,
      data: () => {
        if (encoded) return encoded.bytes()
        const numbers = storedNumbers(parameters, place)
        if (plain === 'BF16') return numbers instanceof Uint16Array ? numbers : roundToBf16(numbers)
        return plain === 'F16' ? Uint16Array.from(toFloat32(numbers), toFloat16) : toFloat32(numbers)
      },
    })
  }
  checkReadsBack(config, keys, [...tensors, ...extra])
  const general = {
    'general.architecture': text(architecture.name),
    'general.name': text(name ?? config.family),
    'general.quantization_version': u32(2),
  }
  const vocabulary = tokenizer ? vocabularyMetadata(tokenizer, config.vocab) : { 'tokenizer.ggml.model': text('none') }
  const temporary = `${path}.${process.pid}.part`
  try {
    writeGguf(temporary, { ...general, ...keys, ...metadata, ...vocabulary }, [...tensors, ...extra])
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** Throws RequestError where a .gguf file could not hold a model whose matrices have these ggml types (null: plain numbers). */
export function checkGguf(config: ModelConfig, typeOf: (spec: ParameterSpec) => string | null): void {
  const architecture = architectureOf(config.family)
  metadataOfConfig(config, architecture)
  for (const place of tensorPlaces(config, ggufRules(architecture, config)))
    if (place.shape.length > 1) oneType(place, place.parts.map(typeOf))
}

/** The ggml type of all parts (q, k and v of a fused matrix), null: plain numbers. */
function oneType({ file, parts }: TensorPlace, types: readonly (string | null)[]): string | null {
  const all = new Set(types)
  if (all.size > 1)
    throw new RequestError(
      `'${file}' is one matrix in a .gguf file, expected one type for ${parts.map(part => part.name).join(', ')}, not ${[...all].map(type => type ?? 'plain numbers').join(', ')}`,
    )
  return types[0] ?? null
}

/** A matrix of which all parts are encoded, in one type; null where none is. */
function encodeParts(
  place: TensorPlace,
  encode: NonNullable<SaveGgufOptions['encodeTensor']>,
): { dtype: string; bytes: () => Uint8Array } | null {
  const { parts, rows } = place
  const encoded = parts.map(encode)
  const dtype = oneType(
    place,
    encoded.map(part => part?.dtype ?? null),
  )
  if (dtype === null) return null
  return {
    dtype,
    bytes() {
      const all = encoded.map(part => part!.bytes())
      const joined = all.length === 1 ? all[0] : Buffer.concat(all)
      return rows ? orderRows(joined, rows) : joined
    },
  }
}

/** Rows of equally many bytes, row i put where `rows` says. */
function orderRows(bytes: Uint8Array, rows: Int32Array): Uint8Array {
  const size = bytes.length / rows.length
  const out = new Uint8Array(bytes.length)
  rows.forEach((to, row) => {
    out.set(bytes.subarray(row * size, (row + 1) * size), to * size)
  })
  return out
}

/** Divisors of the rotary frequencies, which GGUF keeps as tensors (llama3, longrope). */
function rotaryTensors({ position, headSize }: ModelConfig): GgufTensor[] {
  if (position.kind !== 'rope' || !position.scaling) return []
  const tensor = (name: string, values: readonly number[]): GgufTensor => ({
    name: `${name}.weight`,
    dtype: 'F32',
    shape: [values.length],
    data: () => Float32Array.from(values),
  })
  const { scaling, theta, fraction } = position
  if (scaling.kind === 'longrope')
    return [tensor('rope_factors_long', scaling.longFactor), tensor('rope_factors_short', scaling.shortFactor)]
  if (scaling.kind !== 'llama3') return []
  const dimensions = Math.round(headSize * fraction)
  const scaled = ropeFrequencies(theta, dimensions, scaling, 1).frequencies
  const plain = ropeFrequencies(theta, dimensions, undefined, 1).frequencies
  return [
    tensor(
      'rope_freqs',
      Array.from(plain, (frequency, i) => frequency / scaled[i]),
    ),
  ]
}

/** Throws where the keys, read back, describe another model: GGUF fixes much that config.json can choose. */
function checkReadsBack(
  config: ModelConfig,
  keys: Readonly<Record<string, GgufEntry>>,
  tensors: readonly GgufTensor[],
): void {
  const byName = new Map(tensors.map(tensor => [tensor.name, tensor]))
  const values = Object.fromEntries(
    Object.entries(keys).map(([key, entry]) => [
      key,
      entry.type === 'f32' ? Math.fround(entry.value) : (entry.value as number),
    ]),
  )
  const raw = configOfGguf(
    values,
    architectureOf(config.family),
    {
      has: name => byName.has(name),
      shape: name => byName.get(name)?.shape ?? [],
      factors: name => {
        const data = byName.get(`${name}.weight`)?.data()
        return data && Array.from(data)
      },
    },
    [],
  )
  const read = parseConfig(raw).config
  for (const key of Object.keys(config) as (keyof ModelConfig)[])
    if (comparable(read[key]) !== comparable(config[key]))
      throw new RequestError(
        `GGUF cannot say that '${key}' is ${JSON.stringify(config[key])} in a ${config.family} model, llama.cpp computes ${JSON.stringify(read[key])}`,
      )
}

/** A setting as text, numbers at the precision of float32, without the scaling that is a tensor. */
function comparable(value: unknown): string {
  return JSON.stringify(value, (key, inner: unknown) => {
    if (key === 'scaling' && ['llama3', 'longrope'].includes((inner as RopeScaling | undefined)?.kind ?? ''))
      return 'tensor'
    return typeof inner === 'number' ? Number(inner.toPrecision(6)) : inner
  })
}
