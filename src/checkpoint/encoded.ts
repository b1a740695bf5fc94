// Bitlaw's own packed layout: each quantized parameter, by its canonical name, as what formats/ encodes it to: codes in
// bits, scales, zero points … Every format that can be spelled is stored at its own size, and read back bit for bit.
import {
  codeBits,
  decode,
  type Encoded,
  type Format,
  isStepped,
  layoutOf,
  parseFormat,
  RequestError,
  toFloat16,
  totalBits,
} from '../formats/index.ts'
import { microscaling } from '../formats/preset.ts'
import { restoreScales } from '../formats/scale.ts'
import { packBits, packTrits, unpackBits, unpackTrits } from './bits.ts'
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
  /** Its class in memory; `number`: a single float32. */
  array:
    | 'Uint8Array'
    | 'Int8Array'
    | 'Uint16Array'
    | 'Int16Array'
    | 'Int32Array'
    | 'Float32Array'
    | 'Float64Array'
    | 'number'
  length: number
  /** Integers: bits of each, after `least` was subtracted. */
  bits?: number
  least?: number
  /** Integers from `least` to `least` + 2: five in a byte. */
  radix?: 3
}

/** What quantization_config says of one parameter. */
export interface StoredTensor {
  format: string
  shape: readonly number[]
  arrays: Record<string, StoredArray>
  /** Fields that are single whole numbers. */
  numbers: Record<string, number>
}

const CLASSES = { Uint8Array, Int8Array, Uint16Array, Int16Array, Int32Array, Float32Array, Float64Array } as const

/** Name of the tensor that holds one array of a parameter. */
const arrayName = (parameter: string, field: string) => `bitlaw.${parameter}.${field}`

/** One field of an encoded tensor: how it is stored, and in which type of the file. */
type Field = StoredArray & { dtype: 'U8' | 'I32' | 'F16' | 'BF16' | 'F32' }

/** What a format stores for a tensor of that shape, `kept` of its columns in 16 bits: known before any number is. */
function fieldsOf(format: Format, shape: readonly number[], kept: number, ordered: boolean): Record<string, Field> {
  const size = shape.reduce((a, b) => a * b, 1)
  const bytes = (length: number): Field => ({ array: 'Uint8Array', length, bits: 8, dtype: 'U8' })
  const single: Field = { array: 'number', length: 1, dtype: 'F32' }
  const order = ordered && {
    order: { array: 'Int32Array', length: shape[shape.length - 1], dtype: 'I32' } as const,
  }
  if (format.kind === 'plain')
    return format.name === 'fp32'
      ? { codes: { array: 'Float32Array', length: size, dtype: 'F32' }, ...order }
      : { codes: { array: 'Uint16Array', length: size, bits: 16, dtype: 'U8' }, ...order }
  if (format.kind === 'preset') {
    const mx = microscaling(format.name)
    if (!mx) return { bytes: bytes(totalBits(format, shape) / 8), ...order }
    const bits = mx.element?.bits ?? 8
    return {
      codes: mx.element
        ? { array: 'Uint8Array', length: size, bits, dtype: 'U8' }
        : { array: 'Int8Array', length: size, bits, least: -128, dtype: 'U8' },
      scales: bytes(layoutOf(shape, mx.block).count),
      ...(format.name === 'nvfp4' && { tensorScale: single }),
      ...order,
    }
  }
  const { element, scale, shares, centered, hadamard } = format
  const { count, rows } = layoutOf(shape, shares)
  const floats = (length: number): Field => ({
    array: 'Float32Array',
    length,
    dtype: scale === 'bf16' ? 'BF16' : scale === 'fp32' || scale === 'exact' ? 'F32' : 'F16',
  })
  const stepped = isStepped(format)
  const bits = codeBits(format)
  const array = `${stepped ? 'Int' : 'Uint'}${bits > 8 ? 16 : 8}Array` as const
  // Kept dimensions have no codes, unless a rotation has mixed all of them.
  const codes = hadamard ? size : size - kept * rows
  const oneByte = scale === 'e8m0' || scale === 'e4m3' || scale === 'dyn8x256'
  return {
    codes:
      element.kind === 'ternary'
        ? { array, length: codes, radix: 3, least: stepped ? -1 : 0, dtype: 'U8' }
        : { array, length: codes, bits, least: stepped ? -(2 ** (bits - 1)) : 0, dtype: 'U8' },
    ...(oneByte ? { scaleCodes: bytes(count) } : { scales: floats(count) }),
    ...(scale === 'e4m3' && { tensorScale: single }),
    ...(scale === 'dyn8x256' && {
      scaleScales: { array: 'Float32Array', length: Math.ceil(count / 256), dtype: 'F32' } as const,
      scaleOffset: single,
    }),
    ...(element.kind === 'uint' && { zeros: { array: 'Uint8Array', length: count, bits, dtype: 'U8' } as const }),
    ...(centered && { means: floats(count) }),
    ...(element.kind === 'quantile' &&
      element.book.endsWith('_sample') && {
        levels: { array: 'Float64Array', length: 2 ** bits, dtype: 'F32' } as const,
      }),
    ...(kept > 0 && {
      keep: { array: 'Int32Array', length: kept, dtype: 'I32' } as const,
      kept: { array: 'Uint16Array', length: kept * rows, bits: 16, dtype: 'U8' } as const,
    }),
    ...order,
  }
}

/** Numbers as the file holds them. */
function storeArray(values: ArrayLike<number>, { dtype, bits, least = 0, radix }: Field) {
  if (radix) return packTrits(values, least)
  if (dtype === 'I32') return Int32Array.from(values)
  if (dtype === 'U8') return packBits(values, bits!, least)
  const floats = values instanceof Float32Array ? values : Float32Array.from(values)
  return dtype === 'F32' ? floats : dtype === 'BF16' ? roundToBf16(floats) : Uint16Array.from(floats, toFloat16)
}

/** Bytes of a stored array. */
function storedBytes({ dtype, length, bits, radix }: Field): number {
  if (radix) return Math.ceil(length / 5)
  if (dtype === 'U8') return Math.ceil((length * bits!) / 8)
  return length * (dtype === 'F32' || dtype === 'I32' ? 4 : 2)
}

/** Elements of a stored array, of the file's type. */
const elementsOf = (field: Field) => (field.dtype === 'U8' ? storedBytes(field) : field.length)

/** Columns of codes (rows, columns) that are not in `keep`, or all of them again with 0 in the kept ones. */
function withoutKept<T extends NonNullable<Encoded['codes']>>(codes: T, columns: number, keep: Int32Array): T {
  const isKept = new Uint8Array(columns)
  for (const column of keep) isKept[column] = 1
  const out = codes.slice(0, (codes.length / columns) * (columns - keep.length)) as T
  for (let i = 0, to = 0; i < codes.length; i++) if (!isKept[i % columns]) out[to++] = codes[i]
  return out
}

function withKept<T extends NonNullable<Encoded['codes']>>(codes: T, columns: number, keep: Int32Array): T {
  const isKept = new Uint8Array(columns)
  for (const column of keep) isKept[column] = 1
  const out = new (codes.constructor as new (length: number) => T)((codes.length / (columns - keep.length)) * columns)
  for (let i = 0, from = 0; i < out.length; i++) if (!isKept[i % columns]) out[i] = codes[from++]
  return out
}

/** The tensors and the entry of quantization_config.tensors of a parameter; `read` gives its numbers when their turn comes. */
function describeEncoded(
  parameter: string,
  spelling: string,
  shape: readonly number[],
  { kept = 0, seed, ordered = false }: { kept?: number; seed?: number; ordered?: boolean },
  read: () => StoredMatrix,
): { stored: StoredTensor; tensors: TensorToWrite[] } {
  const format = parseFormat(spelling)
  const fields = fieldsOf(format, shape, kept, ordered)
  const stored: StoredTensor = { format: spelling, shape, arrays: {}, numbers: seed === undefined ? {} : { seed } }
  const tensors: TensorToWrite[] = []
  for (const [name, field] of Object.entries(fields)) {
    const { dtype, ...array } = field
    stored.arrays[name] = array
    tensors.push({
      name: arrayName(parameter, name),
      dtype,
      shape: [elementsOf(field)],
      data: () => {
        const { encoded, order } = read()
        const value = name === 'order' ? order : encoded[name as keyof Encoded]
        let values = (field.array === 'number' ? Float32Array.of(value as number) : value) as Float32Array
        if (name === 'codes' && encoded.keep && values.length !== field.length)
          values = withoutKept(values, shape[shape.length - 1], encoded.keep)
        // A tensor of few different numbers has fewer levels than codes: the last one fills the rest.
        if (name === 'levels' && values.length > 0 && values.length < field.length)
          values = Float32Array.from({ length: field.length }, (_, i) => values[Math.min(i, values.length - 1)])
        if (values?.length !== field.length)
          throw new Error(
            `parameter '${parameter}' has ${values?.length ?? 'no'} ${name}, expected ${field.length} for ${spelling}`,
          )
        return storeArray(values, field)
      },
    })
  }
  return { stored, tensors }
}

/** An encoded parameter as tensors of a file and an entry of quantization_config.tensors. */
export function storeEncoded(
  parameter: string,
  { encoded, order }: StoredMatrix,
): { stored: StoredTensor; tensors: TensorToWrite[] } {
  const { keep, seed } = encoded
  const about = { kept: keep?.length ?? 0, seed, ordered: order != null }
  return describeEncoded(parameter, encoded.format, encoded.shape, about, () => ({ encoded, order }))
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
function readArray(tensors: TensorFile, name: string, { array, length, bits, least = 0, radix }: StoredArray) {
  const { dtype, bytes } = tensors.info(name)
  const kind = array === 'number' ? Float32Array : CLASSES[array]
  const isCount = Number.isSafeInteger(length) && length >= 0
  const packed = radix === 3 ? Math.ceil(length / 5) : bits === undefined ? bytes : Math.ceil((length * bits) / 8)
  if (!kind || !isCount || (bits !== undefined && !(bits >= 1 && bits <= 16)) || bytes !== packed)
    throw new Error(`tensor '${name}' has ${bytes} bytes, which are not ${length} numbers of ${bits ?? 'its'} bits`)
  const data = tensors.read(name)
  let values: InstanceType<(typeof CLASSES)[keyof typeof CLASSES]>
  if (radix === 3 || bits !== undefined) {
    const codes = radix === 3 ? unpackTrits(data, length) : unpackBits(data, bits!, length)
    values = new kind(length)
    for (let i = 0; i < length; i++) values[i] = codes[i] + least
  } else if (dtype === 'U8' || dtype === 'I32') values = new kind(data.buffer)
  else if (dtype === 'F64') values = new Float64Array(data.buffer)
  else values = kind.from(widen(data, dtype, [length]))
  if (values.length !== length) throw new Error(`tensor '${name}' has ${values.length} numbers, expected ${length}`)
  return array === 'number' ? values[0] : values
}

/** Throws where the arrays of a parameter are not those of its format and shape. */
function checkArrays(parameter: string, { format, shape, arrays }: StoredTensor): void {
  const expected = fieldsOf(parseFormat(format), shape, arrays['keep']?.length ?? 0, arrays['order'] !== undefined)
  for (const name of new Set([...Object.keys(expected), ...Object.keys(arrays)])) {
    const [is, should] = [arrays[name], expected[name]]
    if (is?.length !== should?.length || is?.array !== should?.array)
      throw new Error(
        `parameter '${parameter}' has ${is?.length ?? 'no'} ${name}, expected ${should?.length ?? 'none'} for ${format} of [${shape.join(', ')}]`,
      )
  }
}

/** Throws unless these are columns, each at most once. */
function checkColumns(parameter: string, what: string, list: Int32Array, columns: number): void {
  if (new Set(list).size !== list.length || list.some(column => column < 0 || column >= columns))
    throw new Error(`parameter '${parameter}' has ${what} that are not columns of ${columns}, each once`)
}

/** One parameter as it was encoded; what is not stored because it follows from the rest is made again. */
export function readEncoded(tensors: TensorFile, parameter: string, stored: StoredTensor): StoredMatrix {
  checkArrays(parameter, stored)
  const fields: Record<string, unknown> = { ...stored.numbers, format: stored.format, shape: stored.shape }
  for (const [field, array] of Object.entries(stored.arrays))
    fields[field] = readArray(tensors, arrayName(parameter, field), array)
  const { order, ...rest } = fields
  const encoded = rest as unknown as { -readonly [key in keyof Encoded]: Encoded[key] }
  const format = parseFormat(stored.format)
  const columns = stored.shape[stored.shape.length - 1]
  const size = stored.shape.reduce((a, b) => a * b, 1)
  if (format.kind === 'scaled') {
    if (encoded.keep) checkColumns(parameter, 'kept dimensions', encoded.keep, columns)
    if (encoded.keep && encoded.codes && encoded.codes.length !== size)
      encoded.codes = withKept(encoded.codes, columns, encoded.keep)
    if (!encoded.scales) encoded.scales = restoreScales(encoded, format.scale)
    if (format.element.kind === 'full' && !encoded.zeros)
      encoded.zeros = new Uint8Array(encoded.scales.length).fill(2 ** (format.element.bits - 1))
  }
  if (!(order instanceof Int32Array)) return { encoded, order: null }
  checkColumns(parameter, 'places in its order', order, columns)
  return { encoded, order }
}

/** The values of one parameter. */
function readValues(tensors: TensorFile, parameter: string, stored: StoredTensor): Float32Array<ArrayBuffer> {
  const { encoded, order } = readEncoded(tensors, parameter, stored)
  const values = decode(encoded) as Float32Array<ArrayBuffer>
  if (!order) return values
  const columns = order.length
  const out = new Float32Array(values.length)
  for (let at = 0; at < values.length; at += columns)
    for (let place = 0; place < columns; place++) out[at + order[place]] = values[at + place]
  return out
}
