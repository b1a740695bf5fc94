// PyTorch's pytorch_model.bin, read only: the zip archives of torch 1.6 and later, and the older files of five pickles.
import type { ByteFile } from './bytes.ts'
import { openBytes } from './bytes.ts'
import { DTYPE_BITS } from './numbers.ts'
import { checkedCount, type TensorFile, type TensorInfo } from './tensors.ts'
import { type PickleWorld, unpickle } from './unpickle.ts'
import { zipEntries } from './zip.ts'

/** Storage classes of torch by their numbers' type. */
const STORAGES: Readonly<Record<string, string>> = {
  FloatStorage: 'F32', DoubleStorage: 'F64', HalfStorage: 'F16', BFloat16Storage: 'BF16', LongStorage: 'I64', IntStorage: 'I32',
  ShortStorage: 'I16', CharStorage: 'I8', ByteStorage: 'U8', BoolStorage: 'BOOL',
} // biome-ignore format: a table

/** A run of numbers that tensors are views of. */
interface Storage {
  key: string
  dtype: string
  count: number
}

/** A view of a storage. */
interface View {
  storage: Storage
  offset: number
  shape: number[]
  strides: number[]
}

/** Where the numbers of each storage begin, and how many bytes there are. */
type Places = ReadonlyMap<string, { offset: number; size: number }>

/** The first bytes of the older layout: a pickled magic number. */
const OLD_MAGIC = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]

/** The longest pickle: names and shapes, not numbers. */
const LONGEST_PICKLE = 256 << 20

/** What a state dict may name; anything else is refused. */
function createWorld(storages: Map<string, Storage>, path: string): PickleWorld {
  const isView = (value: unknown): value is View => typeof value === 'object' && value !== null && 'storage' in value
  const rebuild = ([storage, offset, shape, strides]: readonly unknown[]): View => {
    const numbers = (list: unknown) => Array.isArray(list) && list.every(n => Number.isSafeInteger(n) && n >= 0)
    const known = typeof storage === 'object' && storage !== null && 'key' in storage
    if (!known || !Number.isSafeInteger(offset) || (offset as number) < 0 || !numbers(shape) || !numbers(strides))
      throw new Error(`'${path}' has a tensor that is no view of a storage`)
    return {
      storage: storage as Storage,
      offset: offset as number,
      shape: shape as number[],
      strides: strides as number[],
    }
  }
  const calls: Record<string, (args: readonly unknown[]) => unknown> = {
    'collections OrderedDict': () => new Map(),
    'torch Size': ([sizes]) => sizes,
    'torch._utils _rebuild_tensor': rebuild,
    'torch._utils _rebuild_tensor_v2': rebuild,
    'torch._utils _rebuild_parameter': ([tensor]) => {
      if (!isView(tensor)) throw new Error(`'${path}' has a parameter that is no tensor`)
      return tensor
    },
    'torch._tensor _rebuild_from_type_v2': ([call, , args]) => (typeof call === 'function' ? call(args) : undefined),
  }
  return {
    global(module, name) {
      const call = calls[`${module} ${name}`]
      if (Object.hasOwn(calls, `${module} ${name}`)) return call
      if (module === 'torch' && Object.hasOwn(STORAGES, name)) return { storageType: STORAGES[name] }
      throw new Error(`'${path}' asks for '${`${module}.${name}`.slice(0, 100)}', which no state dict needs`)
    },
    persistent(id) {
      const [kind, type, key, , count] = Array.isArray(id) ? id : []
      const dtype = (type as { storageType?: string } | null)?.storageType
      if (
        kind !== 'storage' ||
        dtype === undefined ||
        typeof key !== 'string' ||
        !Number.isSafeInteger(count) ||
        count < 0
      )
        throw new Error(`'${path}' has a storage of an unknown kind`)
      const storage = storages.get(key) ?? { key, dtype, count }
      if (storage.dtype !== dtype || storage.count !== count)
        throw new Error(`'${path}' has the storage '${key.slice(0, 50)}' in two ways`)
      storages.set(key, storage)
      return storage
    },
  }
}

/** Opens a PyTorch checkpoint of named tensors; nothing in it is executed. */
export function openPickle(path: string): TensorFile {
  const file = openBytes(path)
  try {
    const head = file.read(0, Math.min(file.size, OLD_MAGIC.length))
    if (head[0] === 0x50 && head[1] === 0x4b) return readArchive(file)
    if (OLD_MAGIC.every((byte, i) => head[i] === byte)) return readOldFile(file)
    throw new Error(`'${path}' is no PyTorch checkpoint, expected a zip archive or its older layout`)
  } catch (error) {
    file.close()
    throw error
  }
}

/** The zip layout: <folder>/data.pkl and one entry a storage. */
function readArchive(file: ByteFile): TensorFile {
  const entries = zipEntries(file)
  const name = [...entries.keys()].find(key => /(^|\/)data\.pkl$/.test(key))
  if (name === undefined) throw new Error(`'${file.path}' has no data.pkl`)
  const folder = name.slice(0, -'data.pkl'.length)
  const order = entries.get(`${folder}byteorder`)
  if (order && order.size <= 16 && new TextDecoder().decode(file.read(order.offset, order.size)) === 'big')
    throw new Error(`'${file.path}' is big endian`)
  const { offset, size } = entries.get(name) as { offset: number; size: number }
  if (size > LONGEST_PICKLE) throw new Error(`'${file.path}' has a pickle of ${size} bytes`)
  const storages = new Map<string, Storage>()
  const { value } = unpickle(file.read(offset, size), 0, createWorld(storages, file.path), `'${file.path}'`)
  const places = new Map<string, { offset: number; size: number }>()
  for (const key of storages.keys()) {
    const entry = entries.get(`${folder}data/${key}`)
    if (!entry) throw new Error(`'${file.path}' has no storage '${key.slice(0, 50)}'`)
    places.set(key, entry)
  }
  return viewsAsTensors(file, value, storages, places)
}

/** The older layout: magic number, version, machine, state dict, names of storages, then each storage's count and numbers. */
function readOldFile(file: ByteFile): TensorFile {
  const bytes = file.read(0, Math.min(file.size, LONGEST_PICKLE))
  const storages = new Map<string, Storage>()
  const world = createWorld(storages, file.path)
  let at = 0
  const next = () => {
    const { value, end } = unpickle(bytes, at, world, `'${file.path}'`)
    at = end
    return value
  }
  next()
  if (next() !== 1001) throw new Error(`'${file.path}' is of an unknown version`)
  next()
  const value = next()
  const keys = next()
  if (!Array.isArray(keys)) throw new Error(`'${file.path}' has no list of storages`)
  const places = new Map<string, { offset: number; size: number }>()
  let offset = at
  for (const key of keys) {
    const storage = storages.get(String(key))
    if (!storage)
      throw new Error(`'${file.path}' has numbers of the storage '${String(key).slice(0, 50)}', which it does not name`)
    const count = Number(new DataView(file.read(offset, 8).buffer).getBigInt64(0, true))
    if (count !== storage.count)
      throw new Error(`'${file.path}' has a storage of ${count} numbers, expected ${storage.count}`)
    const size = (count * DTYPE_BITS[storage.dtype]) / 8
    if (offset + 8 + size > file.size) throw new Error(`'${file.path}' ends at byte ${file.size}, within a storage`)
    places.set(storage.key, { offset: offset + 8, size })
    offset += 8 + size
  }
  return viewsAsTensors(file, value, storages, places)
}

/** Names and views of a state dict, which may lie one level down. */
function stateDict(value: unknown, path: string): Map<string, View> {
  if (value instanceof Map) {
    const views = [...value].filter(
      ([name, view]) => typeof name === 'string' && typeof view === 'object' && view !== null && 'storage' in view,
    )
    if (views.length > 0) return new Map(views as [string, View][])
    for (const key of ['state_dict', 'model', 'module'])
      if (value.get(key) instanceof Map) return stateDict(value.get(key), path)
  }
  throw new Error(`'${path}' holds no named tensors`)
}

const isContiguous = ({ shape, strides }: View) => {
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return false
    step *= shape[i]
  }
  return true
}

/** Tensors of a state dict, each checked to lie in its storage, and each storage in the file. */
function viewsAsTensors(
  file: ByteFile,
  value: unknown,
  storages: ReadonlyMap<string, Storage>,
  places: Places,
): TensorFile {
  const { path } = file
  for (const { key, dtype, count } of storages.values()) {
    const needed = (count * DTYPE_BITS[dtype]) / 8
    const size = places.get(key)?.size
    if (size !== needed)
      throw new Error(`'${path}' has ${size ?? 'no'} bytes for the storage '${key.slice(0, 50)}', expected ${needed}`)
  }
  const views = stateDict(value, path)
  const infos = new Map<string, TensorInfo>()
  for (const [name, view] of views) {
    const where = `tensor '${name.slice(0, 200)}' of '${path}'`
    const { storage, offset, shape, strides } = view
    const count = checkedCount(shape, where, Math.max(storage.count, 1))
    if (strides.length !== shape.length)
      throw new Error(`${where} has ${strides.length} strides for ${shape.length} dimensions`)
    const last = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i], offset)
    if (count > 0 && !(last < storage.count))
      throw new Error(`${where} reaches beyond its storage of ${storage.count} numbers`)
    infos.set(name, { dtype: storage.dtype, shape, bytes: (count * DTYPE_BITS[storage.dtype]) / 8 })
  }
  const find = <T>(table: ReadonlyMap<string, T>, name: string): T => {
    const found = table.get(name)
    if (found === undefined) throw new Error(`no tensor '${name}' in '${path}'`)
    return found
  }
  return {
    names: [...views.keys()],
    metadata: {},
    has: name => views.has(name),
    info: name => find(infos, name),
    read(name) {
      const view = find(views, name)
      const { offset } = find(places, view.storage.key)
      const width = DTYPE_BITS[view.storage.dtype] / 8
      const { bytes } = find(infos, name)
      if (isContiguous(view)) return file.read(offset + view.offset * width, bytes)
      return gather(file.read(offset, view.storage.count * width), view, width)
    },
    close: file.close,
  }
}

/** The numbers of a view with strides (a transposed matrix), row major. */
function gather(storage: Uint8Array, { offset, shape, strides }: View, width: number): Uint8Array<ArrayBuffer> {
  const count = shape.reduce((a, b) => a * b, 1)
  const out = new Uint8Array(count * width)
  const index = new Array<number>(shape.length).fill(0)
  let from = offset
  for (let i = 0; i < count; i++) {
    for (let byte = 0; byte < width; byte++) out[i * width + byte] = storage[from * width + byte]
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]
      if (++index[axis] < shape[axis]) break
      from -= strides[axis] * shape[axis]
      index[axis] = 0
    }
  }
  return out
}
