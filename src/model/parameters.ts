// Between the tensors of a file and the parameters of a model: read, check, reorder, convert; and back.

import type { EncodedParameter } from '../checkpoint/encoded.ts'
import { roundToBf16, widen, widenBf16 } from '../checkpoint/numbers.ts'
import type { TensorFile } from '../checkpoint/tensors.ts'
import type { Weights } from '../tensor/kernels.ts'
import type { ParameterSpec } from './config.ts'
import type { TensorPlace } from './families/family.ts'
import { LayeredParameters } from './layered.ts'
import { sizeOf } from './model.ts'

/** Kinds of parameters that may stay in bf16: the matrices. */
const MATRICES: ReadonlySet<ParameterSpec['kind']> = new Set(['embedding', 'position', 'linear', 'head'])

type Numbers = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>

/** The name under which a file has a tensor: as in the table, or without the prefix (a file of the base model); undefined: neither. */
function nameIn(tensors: TensorFile, file: string, prefix: string): string | undefined {
  if (tensors.has(file)) return file
  const bare = file.startsWith(prefix) ? file.slice(prefix.length) : file
  return tensors.has(bare) ? bare : undefined
}

/** Stored numbers as float32, or as bf16 bits where they are stored so and may stay. */
function readNumbers(tensors: TensorFile, name: string, keepBf16: boolean): Numbers {
  const bytes = tensors.read(name)
  const { dtype, shape } = tensors.info(name)
  return keepBf16 && dtype === 'BF16' ? new Uint16Array(bytes.buffer) : widen(bytes, dtype, shape)
}

/** The rows and columns of a place as its parts need them: transposed back, rows in canonical order. A plain tensor is returned as it is. */
function toCanonical(stored: Numbers, { shape, transposed, rows }: TensorPlace): Numbers {
  if (!transposed && !rows) return stored
  const [outputs, inputs] = transposed ? [shape[1], shape[0]] : [shape[0], shape[1] ?? 1]
  const out = stored instanceof Uint16Array ? new Uint16Array(stored.length) : new Float32Array(stored.length)
  for (let row = 0; row < outputs; row++) {
    const from = rows ? rows[row] : row
    if (transposed) for (let i = 0; i < inputs; i++) out[row * inputs + i] = stored[i * outputs + from]
    else out.set(stored.subarray(from * inputs, (from + 1) * inputs), row * inputs)
  }
  return out
}

/** The reverse of toCanonical: the numbers of a place as its file stores them. */
function toStored(canonical: Numbers, { shape, transposed, rows }: TensorPlace): Numbers {
  if (!transposed && !rows) return canonical
  const [outputs, inputs] = transposed ? [shape[1], shape[0]] : [shape[0], shape[1] ?? 1]
  const out = canonical instanceof Uint16Array ? new Uint16Array(canonical.length) : new Float32Array(canonical.length)
  for (let row = 0; row < outputs; row++) {
    const to = rows ? rows[row] : row
    if (transposed) for (let i = 0; i < inputs; i++) out[i * outputs + to] = canonical[row * inputs + i]
    else out.set(canonical.subarray(row * inputs, (row + 1) * inputs), to * inputs)
  }
  return out
}

const sameShape = (a: readonly number[], b: readonly number[]) => a.length === b.length && a.every((n, i) => n === b[i])

/** How a checkpoint's tensors are read. */
export interface ReadOptions {
  prefix: string
  /** Names of buffers that are no parameters. */
  ignored: readonly RegExp[]
  dtype: 'auto' | 'float32' | 'bf16'
  /** Parameters in Bitlaw's own layout, by canonical name. */
  encoded?: ReadonlyMap<string, EncodedParameter>
}

/** The places of a model in a file: checked before any number is read, which happens a place at a time. */
export interface OpenParameters {
  /** Canonical names, each with the type that it is stored in. */
  dtypes: ReadonlyMap<string, string>
  /** Numbers of all parts of the place that holds a parameter. */
  readPlace(name: string): ReadonlyMap<string, Numbers>
}

/** Finds every place of a model in a file; throws at a missing, misshapen or unexpected tensor. */
export function openParameters(
  tensors: TensorFile,
  places: readonly TensorPlace[],
  { prefix, ignored, dtype, encoded }: ReadOptions,
): OpenParameters {
  const dtypes = new Map<string, string>()
  const readers = new Map<string, () => ReadonlyMap<string, Numbers>>()
  const left = new Set(tensors.names)
  const rounded = (numbers: Numbers, part: ParameterSpec) =>
    dtype === 'bf16' && MATRICES.has(part.kind) && !(numbers instanceof Uint16Array) ? roundToBf16(numbers) : numbers
  for (const place of places) {
    const keepBf16 = MATRICES.has(place.parts[0].kind) && dtype !== 'float32'
    if (place.parts.some(part => encoded?.has(part.name))) {
      for (const part of place.parts) {
        const found = encoded?.get(part.name)
        const plain = plainName(part.name)
        if (!found && !tensors.has(plain)) throw new Error(`the checkpoint has no tensor '${plain}'`)
        for (const name of found?.from ?? [plain]) left.delete(name)
        dtypes.set(part.name, found ? 'F32' : tensors.info(plain).dtype)
        readers.set(part.name, () => {
          const numbers = found ? found.read() : readNumbers(tensors, plain, keepBf16)
          if (numbers.length !== sizeOf(part.shape))
            throw new Error(
              `parameter '${part.name}' has ${numbers.length} numbers, expected [${part.shape.join(', ')}]`,
            )
          return new Map([[part.name, rounded(numbers, part)]])
        })
      }
      continue
    }
    let layout = place
    const names = place.files.map(file => {
      const name = nameIn(tensors, file, prefix)
      if (name === undefined) throw new Error(`the checkpoint has no tensor '${file}'`)
      const { shape, oriented } = tensors.info(name)
      if (oriented && place.transposed) layout = { ...place, transposed: false, shape: [...place.shape].reverse() }
      const expected = [layout.shape[0] / place.files.length, ...layout.shape.slice(1)]
      if (!sameShape(shape, expected) && !(place.flat && sameShape([sizeOf(shape)], expected)))
        throw new Error(`tensor '${name}' has shape [${shape.join(', ')}], expected [${expected.join(', ')}]`)
      left.delete(name)
      return name
    })
    const readWhole = () => {
      const stored = names.map(name => readNumbers(tensors, name, keepBf16 && place.add === 0))
      let numbers = toCanonical(stored.length === 1 ? stored[0] : joinNumbers(stored), layout)
      if (place.add !== 0) numbers = (numbers as Float32Array<ArrayBuffer>).map(x => x + place.add)
      const parts = new Map<string, Numbers>()
      let start = 0
      for (const part of place.parts) {
        const mine = place.parts.length === 1 ? numbers : numbers.subarray(start, start + sizeOf(part.shape))
        parts.set(part.name, rounded(mine as Numbers, part))
        start += sizeOf(part.shape)
      }
      return parts
    }
    for (const part of place.parts) {
      dtypes.set(part.name, tensors.info(names[0]).dtype)
      readers.set(part.name, readWhole)
    }
  }
  for (const name of left)
    if (!ignored.some(pattern => pattern.test(name)))
      throw new Error(`the checkpoint has a tensor '${name}' that its model has not`)
  return { dtypes, readPlace: name => readers.get(name)!() }
}

/** All parameters of a model in memory. */
export function readParameters({ dtypes, readPlace }: OpenParameters): Map<string, Weights> {
  const parameters = new Map<string, Weights>()
  for (const name of dtypes.keys())
    if (!parameters.has(name)) for (const [part, numbers] of readPlace(name)) parameters.set(part, numbers)
  return parameters
}

/** Parameters that are read whenever they are asked for, and not kept but for the last place. */
export function lazyParameters({ dtypes, readPlace }: OpenParameters): LayeredParameters {
  let last: ReadonlyMap<string, Numbers> = new Map()
  return new LayeredParameters({
    keys: () => dtypes.keys(),
    get(name) {
      if (!last.has(name)) {
        const found = readPlace(name)
        // Only parts of a fused matrix are likely to be asked for together.
        last = found.size > 1 ? found : new Map()
        return found.get(name)
      }
      return last.get(name)
    },
  })
}

/** Name of a parameter that is stored on its own, because others of its tensor are encoded. */
export const plainName = (parameter: string) => `bitlaw.${parameter}`

/** The numbers of a place from a model's parameters, in the file's order; float64 becomes float32. */
export function storedNumbers(parameters: ReadonlyMap<string, Weights>, place: TensorPlace): Numbers {
  const parts = place.parts.map(part => {
    const weights = parameters.get(part.name)
    if (!weights) throw new Error(`the model has no parameter '${part.name}'`)
    if (weights.length !== sizeOf(part.shape))
      throw new Error(`parameter '${part.name}' has ${weights.length} numbers, expected [${part.shape.join(', ')}]`)
    return weights instanceof Float64Array ? Float32Array.from(weights) : (weights as Numbers)
  })
  const joined = parts.length === 1 ? parts[0] : joinNumbers(parts)
  const stored = toStored(joined, place)
  return place.add === 0 ? stored : (toFloat32(stored).map(x => x - place.add) as Numbers)
}

/** bf16 bits as float32; floats as they are. */
export function toFloat32(numbers: Numbers): Float32Array<ArrayBuffer> {
  return numbers instanceof Uint16Array ? widenBf16(numbers) : numbers
}

/** Parts of one matrix behind one another, in float32 where any is. */
function joinNumbers(parts: readonly Numbers[]): Numbers {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const same = parts.every(part => part instanceof Uint16Array)
  const out = same ? new Uint16Array(length) : new Float32Array(length)
  let start = 0
  for (const part of parts) {
    out.set(same ? part : toFloat32(part), start)
    start += part.length
  }
  return out
}
