// Matrices that are done, until the output is written: in memory, or each in a small file beside the output, so that no
// more than one need be in memory and that work which was interrupted goes on where it stood.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { readEncoded, type StoredTensor, storeEncoded } from '../checkpoint/encoded.ts'
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors.ts'
import type { Codec, QuantizedMatrix } from './layer.ts'
import { decodeMatrix } from './layer.ts'

/** What is known of a finished matrix without its numbers. */
export interface MatrixHead {
  format: string
  /** (rows, columns) */
  shape: readonly number[]
  /** Its columns stand in another order. */
  ordered: boolean
}

/** Finished matrices by canonical name. */
export interface Finished {
  names(): string[]
  head(name: string): MatrixHead | undefined
  /** A matrix; of one in a file the values are decoded when they are asked for. */
  get(name: string): QuantizedMatrix
  /** A matrix in Bitlaw's own layout. */
  store(name: string): { stored: StoredTensor; tensors: TensorToWrite[] }
}

/** Errors of a matrix: of its weights, and of its output on calibration text. */
export interface Lost {
  squaredError: number
  outputError: number | null
}

/** Finished matrices in files of a folder. */
export interface Spool extends Finished {
  keep(name: string, matrix: QuantizedMatrix, lost: Lost): void
  /** What a matrix has lost. */
  lost(name: string): Lost
  /** Deletes the folder: the output is whole. */
  remove(): void
}

const headOf = ({ encoded, order }: QuantizedMatrix): MatrixHead => ({
  format: encoded.format,
  shape: encoded.shape,
  ordered: order !== null,
})

/** Finished matrices that are in memory. */
export function inMemory(matrices: ReadonlyMap<string, QuantizedMatrix>): Finished {
  return {
    names: () => [...matrices.keys()],
    head: name => (matrices.has(name) ? headOf(matrices.get(name)!) : undefined),
    get: name => matrices.get(name)!,
    store: name => storeEncoded(name, matrices.get(name)!),
  }
}

/** Folder of unfinished work that becomes `out`. */
function unfinishedFolder(out: string, key: string): string {
  const final = resolve(out)
  return join(dirname(final), `.${basename(final)}.unfinished-${key}`)
}

/**
 * Opens the files of finished matrices beside `out`. What an earlier run of the same request (word for word) has left is
 * there again; what other requests or killed writers of the same output left is deleted.
 */
export function openSpool(out: string, request: unknown, codec: Codec): Spool {
  const key = createHash('sha256').update(JSON.stringify(request)).digest('hex').slice(0, 16)
  const folder = unfinishedFolder(out, key)
  removeLeftovers(out, basename(folder))
  const fileOf = (name: string) => join(folder, `${name.replace(/[^\w.-]/g, '_')}.safetensors`)
  const heads = new Map<string, { stored: StoredTensor; head: MatrixHead; lost: Lost }>()
  if (existsSync(folder))
    for (const file of readdirSync(folder)) {
      if (!file.endsWith('.safetensors')) continue
      const tensors = openSafetensors(join(folder, file))
      const about = JSON.parse(String(tensors.metadata['bitlaw'])) as { name: string; stored: StoredTensor; lost: Lost }
      tensors.close()
      heads.set(about.name, { ...about, head: headOfStored(about.stored) })
    }
  // The tensors of one matrix are asked for one after another.
  let last: { name: string; matrix: QuantizedMatrix } | undefined
  const read = (name: string): QuantizedMatrix => {
    if (last?.name === name) return last.matrix
    const tensors = openSafetensors(fileOf(name))
    const { encoded, order = null } = readEncoded(tensors, name, heads.get(name)!.stored)
    tensors.close()
    let values: Float32Array | undefined
    const matrix: QuantizedMatrix = {
      encoded,
      order,
      get values() {
        values ??= decodeMatrix(encoded, order, codec)
        return values
      },
      set values(given) {
        values = given
      },
    }
    last = { name, matrix }
    return matrix
  }
  return {
    names: () => [...heads.keys()],
    head: name => heads.get(name)?.head,
    get: read,
    store(name) {
      const { stored } = heads.get(name)!
      const tensors = openSafetensors(fileOf(name))
      const list = tensors.names.map(tensor => ({
        name: tensor,
        dtype: tensors.info(tensor).dtype,
        shape: tensors.info(tensor).shape,
        data: () => {
          const again = openSafetensors(fileOf(name))
          const bytes = again.read(tensor)
          again.close()
          return bytes
        },
      }))
      tensors.close()
      return { stored, tensors: list }
    },
    lost: name => heads.get(name)!.lost,
    keep(name, matrix, { squaredError, outputError }) {
      if (heads.has(name)) return
      mkdirSync(folder, { recursive: true })
      const lost = { squaredError, outputError }
      const { stored, tensors } = storeEncoded(name, matrix)
      const temporary = `${fileOf(name)}.${process.pid}`
      writeSafetensors(temporary, tensors, { bitlaw: JSON.stringify({ name, stored, lost }) })
      renameSync(temporary, fileOf(name))
      heads.set(name, { stored, head: headOf(matrix), lost })
    },
    remove() {
      last = undefined
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function headOfStored({ format, shape, arrays }: StoredTensor): MatrixHead {
  return { format, shape, ordered: arrays['order'] !== undefined }
}

/** Whether a process of that number runs. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Deletes what killed writers of `out` left beside it, and unfinished work of other requests than `kept`. */
function removeLeftovers(out: string, kept: string): void {
  const final = resolve(out)
  const parent = dirname(final)
  const name = basename(final)
  if (!existsSync(parent)) return
  for (const entry of readdirSync(parent)) {
    const hidden = entry.startsWith(`.${name}.`) ? entry.slice(name.length + 2) : undefined
    const part = entry.startsWith(`${name}.`) ? /^(\d+)\.part$/.exec(entry.slice(name.length + 1)) : null
    const writer = part?.[1] ?? (hidden === undefined ? undefined : /^(\d+)\.[a-z0-9]+(\.old)?$/.exec(hidden)?.[1])
    const other = hidden !== undefined && /^unfinished-[0-9a-f]{16}$/.test(hidden) && entry !== kept
    if (other || (writer !== undefined && !isAlive(Number(writer))))
      rmSync(join(parent, entry), { recursive: true, force: true })
  }
}
