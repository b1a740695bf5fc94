// Rows from bytes: CSV, JSON lines (or one JSON array), Parquet. A row is a plain record of cells; the line that each
// came from is kept, so that a bad row can be named.
import { RequestError } from '../formats/error.ts'
import { parseCsv } from './csv.ts'
import { parseJsonLines } from './json-lines.ts'
import { parseParquet } from './parquet.ts'

/** One value: a number, text, or null where the cell is empty. */
export type Cell = number | string | null

/** One row by column. */
export type Row = Record<string, Cell>

/** A table and where each row stands in its file (lines from 1 for text, rows from 1 for Parquet). */
export interface Table {
  name: string
  columns: readonly string[]
  rows: readonly Row[]
  lines: readonly number[]
  /** What `lines` count: line or row. */
  unit: 'line' | 'row'
}

/** Reads a table; the kind is known by the content (Parquet) and the name's ending (.csv, .tsv, .jsonl, .ndjson, .json, .parquet). */
export async function readRows(name: string, bytes: Uint8Array): Promise<Table> {
  const ending = /\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? ''
  if (isParquet(bytes)) return parseParquet(name, bytes)
  if (ending === 'parquet') throw new RequestError(`${name} is not a Parquet file: it does not begin and end with PAR1`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new RequestError(`${name} is not a table: expected CSV, JSON lines or Parquet`)
  }
  const json =
    ['jsonl', 'ndjson', 'json'].includes(ending) || (ending !== 'csv' && ending !== 'tsv' && /^\s*[[{]/.test(text))
  const table = json ? parseJsonLines(name, text) : parseCsv(name, text)
  if (table.rows.length === 0) throw new RequestError(`${name} has no rows`)
  return table
}

function isParquet(bytes: Uint8Array): boolean {
  const magic = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4)) === 'PAR1'
  return bytes.length >= 12 && magic(0) && magic(bytes.length - 4)
}

/** Adds columns under other names: `{ N: 'params' }` reads N from params; the old columns stay. */
export function mapColumns(table: Table, mapping: Readonly<Record<string, string>>): Table {
  const entries = Object.entries(mapping)
  if (entries.length === 0) return table
  for (const [, from] of entries)
    if (!table.columns.includes(from))
      throw new RequestError(`${table.name} has no column '${from}', it has ${table.columns.join(', ')}`)
  return {
    ...table,
    columns: [...new Set([...table.columns, ...entries.map(([to]) => to)])],
    rows: table.rows.map(row => ({
      ...row,
      ...Object.fromEntries(entries.map(([to, from]) => [to, row[from] ?? null])),
    })),
  }
}

/** The rows that a test keeps, with their lines. */
export function filterRows(table: Table, keep: (row: Row) => boolean): Table {
  const kept = table.rows.map(keep)
  return { ...table, rows: table.rows.filter((_, i) => kept[i]), lines: table.lines.filter((_, i) => kept[i]) }
}

/** A cell from text: a number where it is one wholly, null where it is empty, else the text. */
export function cellOf(text: string): Cell {
  const trimmed = text.trim()
  if (trimmed === '') return null
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed)) return Number(trimmed)
  return trimmed
}
