// Work that was interrupted goes on: each finished tensor is kept in a folder beside the output until that is whole.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { type Format, printFormat } from '../formats/index.ts'
import { decodeMatrix, type QuantizedMatrix } from './layer.ts'

/** Finished tensors of one piece of work. */
export interface Resume {
  finished(name: string, format: Format): QuantizedMatrix | undefined
  keep(name: string, matrix: QuantizedMatrix): void
  /** The output is whole. */
  remove(): void
}

/** Opens what an earlier run of the same work (the same request, word for word) has left. */
export function openResume(out: string, request: unknown): Resume {
  const key = createHash('sha256').update(JSON.stringify(request)).digest('hex').slice(0, 16)
  const final = resolve(out)
  const folder = join(dirname(final), `.${basename(final)}.unfinished-${key}`)
  const file = (name: string) => join(folder, `${name.replace(/[^\w.-]/g, '_')}.bin`)
  return {
    finished(name, format) {
      if (!existsSync(file(name))) return undefined
      const { encoded, order } = deserialize(readFileSync(file(name))) as QuantizedMatrix
      return encoded.format === printFormat(format)
        ? { encoded, order, values: decodeMatrix(encoded, order) }
        : undefined
    },
    keep(name, matrix) {
      if (existsSync(file(name))) return
      mkdirSync(folder, { recursive: true })
      const temporary = `${file(name)}.${process.pid}`
      writeFileSync(temporary, serialize({ encoded: matrix.encoded, order: matrix.order }))
      renameSync(temporary, file(name))
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
