// Parquet by hyparquet: all row groups and columns, as rows.
import { parquetReadObjects } from 'hyparquet'
import { RequestError } from '../formats/error.ts'
import { columnsOf, toCell } from './json-lines.ts'
import type { Row, Table } from './table.ts'

/** Reads a whole Parquet file; 64-bit integers become numbers. */
export async function parseParquet(name: string, bytes: Uint8Array): Promise<Table> {
  const file = new Uint8Array(bytes).buffer
  let objects: Record<string, unknown>[]
  try {
    objects = await parquetReadObjects({ file })
  } catch (error) {
    throw new RequestError(`${name} cannot be read as Parquet: ${error instanceof Error ? error.message : error}`)
  }
  if (objects.length === 0) throw new RequestError(`${name} has no rows`)
  const rows = objects.map(object => {
    const row: Row = {}
    for (const [key, value] of Object.entries(object)) row[key] = toCell(value)
    return row
  })
  return { name, columns: columnsOf(rows), rows, lines: rows.map((_, i) => i + 1), unit: 'row' }
}
