// Bitlaw's own packed layout: each quantized parameter, by its canonical name, as what formats/ encodes it to: codes in
// bits, scales, zero points … Every format that can be spelled is stored at its own size, and read back bit for bit.
import { decode, type Encoded, fromFloat16, RequestError, toFloat16 } from '../formats/index.ts'
import { packBits, unpackBits } from './bits.ts'
import { roundToBf16, widen } from './numbers.ts'
import type { TensorToWrite } from './safetensors.ts'
import type { TensorFile } from './tensors.ts'

/** A parameter as it is stored: encoded, its columns perhaps in another order. */
export interface StoredMatrix {
  encoded: Encoded
  /** Stored column at each place; null: as in the model. */
  order?: Int32Array | null
}

/** How one array of an encoded tensor is stored. */
interface StoredArray {
  /** Its class in memory. */
  array: 'Uint8Array' | 'Int8Array' | 'Uint16Array' | 'Int16Array' | 'Int32Array' | 'Float32Array' | 'Float64Array'
  length: number
  /** Integers: bits of each, after `least` was subtracted. */
  bits?: number
  least?: number
}

/** What quantization_config says of one parameter. */
export interface StoredTensor {
  format: string
  shape: readonly number[]
  arrays: Record<string, StoredArray>
  /** Fields that are single numbers. */
  numbers: Record<string, number>
}

const CLASSES = { Uint8Array, Int8Array, Uint16Array, Int16Array, Int32Array, Float32Array, Float64Array } as const

/** Name of the tensor that holds one array of a parameter. */
const arrayName = (parameter: string, field: string) => `bitlaw.${parameter}.${field}`

/** The smallest type that holds floats exactly. */
function storeFloats(values: Float32Array | Float64Array): {
  dtype: string
  data: Uint8Array | Uint16Array | Float32Array
} {
  const floats = values instanceof Float32Array ? values : Float32Array.from(values)
  if (values instanceof Float64Array && !values.every((x, i) => Object.is(x, floats[i])))
    return { dtype: 'F64', data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) }
  const half = roundToBf16(floats)
  const back = widen(new Uint8Array(half.buffer), 'BF16', [half.length])
  if (floats.every((x, i) => Object.is(x, back[i]))) return { dtype: 'BF16', data: half }
  const fp16 = toHalves(floats)
  return fp16 ? { dtype: 'F16', data: fp16 } : { dtype: 'F32', data: floats }
}

/** Bits of IEEE halves where all values are some, else undefined. */
function toHalves(values: Float32Array): Uint16Array | undefined {
  const bits = Uint16Array.from(values, toFloat16)
  return values.every((x, i) => Object.is(x, fromFloat16(bits[i]))) ? bits : undefined
}

/** An encoded parameter as tensors of a file and an entry of quantization_config.tensors. */
export function storeEncoded(
  parameter: string,
  { encoded, order }: StoredMatrix,
): { stored: StoredTensor; tensors: TensorToWrite[] } {
  const stored: StoredTensor = { format: encoded.format, shape: encoded.shape, arrays: {}, numbers: {} }
  const tensors: TensorToWrite[] = []
  for (const [field, value] of Object.entries({ ...encoded, order: order ?? undefined })) {
    if (field === 'format' || field === 'shape' || value === undefined) continue
    if (typeof value === 'number') {
      stored.numbers[field] = value
      continue
    }
    const array = Object.keys(CLASSES).find(name => value.constructor.name === name) as StoredArray['array'] | undefined
    if (!array) throw new Error(`an encoded tensor has '${field}' of an unknown kind`)
    const values = value as Uint8Array | Float32Array
    const name = arrayName(parameter, field)
    if (value instanceof Float32Array || value instanceof Float64Array) {
      const { dtype, data } = storeFloats(value)
      stored.arrays[field] = { array, length: value.length }
      tensors.push({ name, dtype, shape: [value.length], data: () => data })
    } else {
      let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
      for (let i = 0; i < values.length; i++) {
        const x = values[i]
        if (x < least) least = x
        if (x > most) most = x
      }
      const bits = values.length === 0 ? 1 : Math.max(1, Math.ceil(Math.log2(most - least + 1)))
      const packed =
        bits <= 16 ? packBits(values, bits, least) : new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      stored.arrays[field] =
        bits <= 16
          ? { array, length: values.length, bits, least: values.length === 0 ? 0 : least }
          : { array, length: values.length }
      tensors.push({ name, dtype: 'U8', shape: [packed.length], data: () => packed })
    }
  }
  return { stored, tensors }
}

/** Parameters of a checkpoint in Bitlaw's own layout: the tensors they are made of, and their values when asked for. */
export interface EncodedParameter {
  from: readonly string[]
  read(): Float32Array<ArrayBuffer>
}

/** Reads quantization_config.tensors; throws RequestError where an entry is none. */
export function encodedParameters(
  tensors: TensorFile,
  entries: Readonly<Record<string, StoredTensor>>,
): Map<string, EncodedParameter> {
  const parameters = new Map<string, EncodedParameter>()
  for (const [parameter, stored] of Object.entries(entries)) {
    const isEntry =
      typeof stored?.format === 'string' &&
      Array.isArray(stored.shape) &&
      typeof stored.arrays === 'object' &&
      stored.arrays !== null
    if (!isEntry)
      throw new RequestError(
        `quantization_config.tensors has no format, shape and arrays for '${parameter.slice(0, 100)}'`,
      )
    parameters.set(parameter, {
      from: Object.keys(stored.arrays).map(field => arrayName(parameter, field)),
      read: () => readValues(tensors, parameter, stored),
    })
  }
  return parameters
}

/** One array of a parameter, its length checked against the tensor that holds it. */
function readArray(tensors: TensorFile, name: string, { array, length, bits, least = 0 }: StoredArray) {
  const { dtype, bytes } = tensors.info(name)
  const kind = CLASSES[array]
  const isCount = Number.isSafeInteger(length) && length >= 0
  if (
    !kind ||
    !isCount ||
    (bits !== undefined && !(bits >= 1 && bits <= 16 && bytes === Math.ceil((length * bits) / 8)))
  )
    throw new Error(`tensor '${name}' has ${bytes} bytes, which are not ${length} numbers of ${bits ?? 'its'} bits`)
  const data = tensors.read(name)
  const values =
    bits !== undefined
      ? kind.from(Array.from(unpackBits(data, bits, length), code => code + least))
      : dtype === 'U8'
        ? new kind(data.buffer)
        : dtype === 'F64'
          ? new Float64Array(data.buffer)
          : kind.from(widen(data, dtype, [length]))
  if (values.length !== length) throw new Error(`tensor '${name}' has ${values.length} numbers, expected ${length}`)
  return values
}

/** The values of one parameter. */
function readValues(tensors: TensorFile, parameter: string, stored: StoredTensor): Float32Array<ArrayBuffer> {
  const fields: Record<string, unknown> = { ...stored.numbers, format: stored.format, shape: stored.shape }
  for (const [field, array] of Object.entries(stored.arrays))
    fields[field] = readArray(tensors, arrayName(parameter, field), array)
  const { order, ...encoded } = fields
  const values = decode(encoded as unknown as Encoded) as Float32Array<ArrayBuffer>
  if (!(order instanceof Int32Array)) return values
  const columns = order.length
  if (values.length % columns !== 0 || order.some(column => column < 0 || column >= columns))
    throw new Error(`parameter '${parameter}' has an order of ${columns} columns that is none`)
  const out = new Float32Array(values.length)
  for (let at = 0; at < values.length; at += columns)
    for (let place = 0; place < columns; place++) out[at + order[place]] = values[at + place]
  return out
}
