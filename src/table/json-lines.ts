// JSON lines (one object a line) or one JSON array of objects. Nested objects become columns with dotted names.
import { RequestError } from '../formats/error.ts'
import type { Cell, Row, Table } from './table.ts'

function flatten(value: Record<string, unknown>, prefix: string, out: Row): Row {
  for (const [key, cell] of Object.entries(value)) {
    if (cell !== null && typeof cell === 'object' && !Array.isArray(cell))
      flatten(cell as Record<string, unknown>, `${prefix}${key}.`, out)
    else out[`${prefix}${key}`] = toCell(cell)
  }
  return out
}

/** A cell from a JSON or Parquet value: null where it is empty, 0 or 1 for a truth value. */
export function toCell(value: unknown): Cell {
  if (value === null || value === undefined || value === '') return null
  if (typeof value === 'number') return Number.isNaN(value) ? 'NaN' : value
  if (typeof value === 'bigint') return Number(value)
  if (typeof value === 'boolean') return value ? 1 : 0
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function parse(name: string, text: string, line: number): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new RequestError(
      `${name} line ${line} is not JSON: ${error instanceof Error ? error.message.toLowerCase() : error}`,
    )
  }
}

/** Parses JSON lines or an array of objects. */
export function parseJsonLines(name: string, text: string): Table {
  const rows: Row[] = []
  const lines: number[] = []
  const add = (value: unknown, line: number, unit: string) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value))
      throw new RequestError(`${name} ${unit} ${line} is not an object, expected { "N": …, "D": …, "loss": … }`)
    rows.push(flatten(value as Record<string, unknown>, '', {}))
    lines.push(line)
  }
  const array = text.trimStart().startsWith('[')
  if (array) {
    const values = parse(name, text, 1)
    for (const [i, value] of (values as unknown[]).entries()) add(value, i + 1, 'row')
  } else
    for (const [i, line] of text.split(/\r?\n/).entries())
      if (line.trim() !== '') add(parse(name, line, i + 1), i + 1, 'line')
  return { name, columns: columnsOf(rows), rows, lines, unit: array ? 'row' : 'line' }
}

/** Names of all columns in the order in which they first appear; rows get null for those they lack. */
export function columnsOf(rows: readonly Row[]): string[] {
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))]
  for (const row of rows) for (const column of columns) row[column] ??= null
  return columns
}
