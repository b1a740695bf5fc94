// A quantized model on disk: a packed folder, a folder of bf16 numbers, or a GGUF file; whole or not at all.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { roundToBf16, widenBf16 } from '../checkpoint/numbers.ts'
import type { TensorToWrite } from '../checkpoint/safetensors.ts'
import { fromFloat16, parseFormat, printFormat, RequestError, toFloat16 } from '../formats/index.ts'
import { type ParameterSpec, parameterSpecs } from '../model/config.ts'
import { type TensorPlace, tensorPlaces } from '../model/families/family.ts'
import { findFamily } from '../model/families/index.ts'
import { LayeredParameters } from '../model/layered.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Model } from '../model/model.ts'
import { type PlainType, saveModel } from '../model/save.ts'
import { checkGguf, saveGguf } from '../model/save-gguf.ts'
import { type Finished, inMemory } from './finished.ts'
import type { QuantizedMatrix } from './layer.ts'
import { compressedTensors, gptqTensors, type Layout, layoutFor, packedConfig } from './packed.ts'
import type { Chosen } from './select.ts'

/** How a quantized model is written. */
export interface OutputOptions {
  /** auto: the first of compressed-tensors, GPTQ's and Bitlaw's own that says the formats exactly. */
  layout?: 'auto' | Layout
  /** Plain numbers in bf16. */
  dequantize?: boolean
  /** Beside the precision that the model was trained at: how it was quantized. */
  quantized?: Record<string, unknown>
}

/** Names of a checkpoint's own tensors for a parameter: globs may be written in them. */
export function fileNames(model: Model): (name: string) => readonly string[] {
  const names = new Map<string, string[]>()
  for (const place of placesOf(model) ?? [])
    for (const part of place.parts) names.set(part.name, [...(names.get(part.name) ?? []), place.file])
  return name => names.get(name) ?? []
}

function placesOf(model: Model): TensorPlace[] | null {
  const family = findFamily(model.config.family)
  return family ? tensorPlaces(model.config, family.tensors(model.config)) : null
}

/** The layout that all matrices can have, given what was asked for; throws RequestError where that cannot be. */
function chooseLayout(
  model: Model,
  matrices: ReadonlyMap<string, { format: string; shape: readonly number[] }>,
  asked: 'auto' | Layout,
): Layout {
  if (asked === 'bitlaw') return asked
  const places = placesOf(model)
  const plain = new Set(
    places
      ?.filter(place => place.parts.length === 1 && !place.transposed && !place.rows && place.files.length === 1)
      .map(place => place.parts[0].name),
  )
  const kinds = new Map(parameterSpecs(model.config).map(spec => [spec.name, spec.kind]))
  const formats = new Set([...matrices.values()].map(({ format }) => format))
  let found: Layout | undefined
  for (const [name, { format, shape }] of matrices) {
    const layout =
      formats.size === 1 && plain.has(name) && kinds.get(name) === 'linear'
        ? layoutFor(parseFormat(format), shape)
        : 'bitlaw'
    if (found !== undefined && layout !== found) found = 'bitlaw'
    else found = layout
  }
  if (asked !== 'auto' && asked !== found)
    throw new RequestError(
      `layout ${asked} cannot hold ${[...formats].join(', ')} of this model exactly, expected --layout ${found ?? 'bitlaw'} or auto`,
    )
  return found ?? 'bitlaw'
}

/**
 * Type in which a parameter that is not quantized is written: the one that it has on disk, F32 where that is neither F16
 * nor BF16, or where it was changed (by AWQ) to numbers that the type does not have.
 */
export function plainType(source: LoadedModel, model: Model, name: string): PlainType {
  const dtype = source.dtypes.get(name)
  if (dtype !== 'F16' && dtype !== 'BF16') return 'F32'
  const { parameters } = model
  const isOwn =
    parameters instanceof LayeredParameters
      ? parameters.owns(name)
      : parameters !== source.parameters && parameters.get(name) !== source.parameters.get(name)
  const weights = isOwn ? parameters.get(name) : undefined
  if (weights === undefined || weights instanceof Uint16Array) return dtype
  return (weights as Float32Array).every(x => Object.is(roundTo(dtype, x), x)) ? dtype : 'F32'
}

/** A number as F16 or BF16 has it. */
function roundTo(dtype: 'F16' | 'BF16', x: number): number {
  return dtype === 'F16' ? fromFloat16(toFloat16(x)) : widenBf16(roundToBf16([x]))[0]
}

/** Bits of a number of a parameter that is not quantized, as the output at `out` will hold it. */
export function plainBits(source: LoadedModel, out?: string): (spec: ParameterSpec, model: Model) => number {
  const gguf = out?.endsWith('.gguf') === true
  return ({ name, shape }, model) =>
    (gguf && shape.length === 1) || plainType(source, model, name) === 'F32' ? 32 : 16
}

/** Bytes of a file, or of all files of a folder. */
export function bytesAt(path: string): number {
  const info = statSync(path)
  if (!info.isDirectory()) return info.size
  return readdirSync(path, { recursive: true }).reduce((sum, name) => {
    const file = statSync(join(path, String(name)))
    return sum + (file.isFile() ? file.size : 0)
  }, 0)
}

/** The type of a tensor in a GGUF file; throws RequestError where its format is none. */
function ggmlType(name: string, spelling: string): string {
  const format = parseFormat(spelling)
  if (format.kind === 'preset') return format.name
  throw new RequestError(`'${spelling}' of '${name}' is no ggml type, expected one like q4_0 or q4_k for a .gguf file`)
}

/** Throws RequestError, before the work, where the output at `out` could not hold tensors in these formats. */
export function checkHolds(
  out: string,
  model: Model,
  chosen: readonly Chosen[],
  { layout = 'auto', dequantize = false }: OutputOptions = {},
): void {
  const formats = new Map(
    chosen.map(({ spec, format }) => [spec.name, { format: printFormat(format), shape: spec.shape }]),
  )
  if (out.endsWith('.gguf'))
    checkGguf(model.config, ({ name }) => {
      const format = formats.get(name)?.format
      return format === undefined ? null : ggmlType(name, format)
    })
  else if (!dequantize) chooseLayout(model, formats, layout)
}

/** Writes a quantized model (its parameters, where they are not among `matrices`, are the values that were evaluated); gives the layout. */
export async function writeQuantized(
  out: string,
  source: LoadedModel,
  model: Model,
  matrices: ReadonlyMap<string, QuantizedMatrix> | Finished,
  { layout: asked = 'auto', dequantize = false, quantized }: OutputOptions = {},
): Promise<Layout | 'gguf' | 'plain'> {
  const finished = 'store' in matrices ? matrices : inMemory(matrices)
  const tokenizer = source.tokenizer
  const parameters = new LayeredParameters({
    keys: () => model.parameters.keys(),
    get: name => (finished.head(name) ? finished.get(name).values : model.parameters.get(name)),
  })
  const whole = { config: model.config, parameters, rawConfig: source.rawConfig }
  const bitlaw = { ...source.bitlaw, ...(quantized && { quantized }) }
  const dtype = (name: string) => plainType(source, model, name)
  if (out.endsWith('.gguf')) {
    await saveGguf(out, whole, {
      tokenizer,
      name: source.name,
      dtype,
      encodeTensor: spec => {
        const head = finished.head(spec.name)
        if (!head) return null
        return { dtype: ggmlType(spec.name, head.format), bytes: () => finished.get(spec.name).encoded.bytes! }
      },
    })
    return 'gguf'
  }
  if (dequantize) {
    await saveModel(out, whole, { tokenizer, bitlaw, dtype: 'bf16' })
    return 'plain'
  }
  const heads = new Map(finished.names().map(name => [name, finished.head(name)!]))
  const layout = chooseLayout(model, heads, asked)
  if (layout === 'bitlaw') {
    await saveModel(out, whole, {
      tokenizer,
      bitlaw,
      dtype,
      encoded: { has: name => heads.has(name), store: finished.store },
    })
    return layout
  }
  const packed = new Map<string, readonly TensorToWrite[]>()
  const ignore: string[] = []
  for (const place of placesOf(model) ?? []) {
    const [part] = place.parts
    const head = heads.get(part.name)
    const layer = place.file.replace(/\.weight$/, '')
    const pack = layout === 'gptq' ? gptqTensors : compressedTensors
    if (head)
      packed.set(
        part.name,
        pack(layer, head, () => finished.get(part.name)),
      )
    else if (place.parts.some(each => each.kind === 'linear' || each.name === 'head.weight')) ignore.push(layer)
  }
  if (model.config.tied) ignore.push('lm_head')
  const [first] = heads.values()
  const ordered = [...heads.values()].some(head => head.ordered)
  const quantizationConfig = packedConfig(layout, first.format, [...new Set(ignore)], ordered)
  await saveModel(out, whole, { tokenizer, bitlaw, dtype, packed, quantizationConfig })
  return layout
}
