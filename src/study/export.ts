// Writes a study's runs and measurements as tables, with the dictionary of their columns beside them.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { type ExportColumn, MEASUREMENT_DICTIONARY, RUN_DICTIONARY } from './dictionary.ts'
import { machineError, makeFolder } from './files.ts'
import type { StudyData } from './read.ts'
import { ROW_COLUMNS, type TableRow, tableRows } from './rows.ts'

/** Formats of exports. */
export const EXPORT_FORMATS = ['csv', 'parquet', 'jsonl'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

type Cell = string | number | boolean | null

/** A table of cells, ready to be written. */
interface CellTable {
  columns: readonly { name: string; type: ExportColumn['type'] }[]
  rows: readonly Cell[][]
}

function cellsOf(records: readonly object[], dictionary: readonly ExportColumn[]): CellTable {
  const rows = records.map(record =>
    dictionary.map(({ field, type }): Cell => {
      const value = (record as Record<string, unknown>)[field]
      if (value === null || value === undefined) return null
      return type === 'json' ? JSON.stringify(value) : (value as Cell)
    }),
  )
  return { columns: dictionary, rows }
}

function csv({ columns, rows }: CellTable): string {
  const quote = (cell: Cell) => {
    const text = cell === null ? '' : String(cell)
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return [columns.map(({ name }) => name), ...rows].map(row => `${row.map(quote).join(',')}\n`).join('')
}

function jsonLines({ columns, rows }: CellTable): string {
  const value = (cell: Cell, type: ExportColumn['type']) =>
    type === 'json' && typeof cell === 'string' ? (JSON.parse(cell) as unknown) : cell
  return rows
    .map(
      row => `${JSON.stringify(Object.fromEntries(columns.map(({ name, type }, i) => [name, value(row[i], type)])))}\n`,
    )
    .join('')
}

function parquet({ columns, rows }: CellTable): Uint8Array {
  const types = { number: 'DOUBLE', text: 'STRING', json: 'STRING', flag: 'BOOLEAN' } as const
  const columnData = columns.map(({ name, type }, i) => ({
    name,
    type: types[type],
    nullable: true,
    data: rows.map(row => row[i]),
  }))
  return new Uint8Array(parquetWriteBuffer({ columnData }))
}

function write(folder: string, name: string, table: CellTable, format: ExportFormat): string {
  const path = join(folder, `${name}.${format}`)
  writeFileSync(path, format === 'csv' ? csv(table) : format === 'jsonl' ? jsonLines(table) : parquet(table))
  return path
}

/** Columns of the table of rows that hold text. */
const TEXT = new Set([
  'run',
  'format_w',
  'format_a',
  'format_kv',
  'format_post',
  'method',
  'schedule',
  'corpus',
  'family',
])

function rowCells(rows: readonly TableRow[]): CellTable {
  const columns = ROW_COLUMNS.map(name => ({ name, type: TEXT.has(name) ? ('text' as const) : ('number' as const) }))
  return { columns, rows: rows.map(row => ROW_COLUMNS.map(name => row[name])) }
}

/** Writes rows (the table that laws read), runs, measurements and dictionary into a folder; returns the files' paths. */
export function exportStudy(study: StudyData, folder: string, format: ExportFormat): string[] {
  try {
    makeFolder(folder)
    const dictionary = join(folder, 'dictionary.csv')
    const described = [
      ...RUN_DICTIONARY.map(entry => ['runs', entry.name, entry.type, entry.unit, entry.meaning]),
      ...MEASUREMENT_DICTIONARY.map(entry => ['measurements', entry.name, entry.type, entry.unit, entry.meaning]),
    ]
    const text = (name: string) => ({ name, type: 'text' as const })
    writeFileSync(
      dictionary,
      csv({ columns: ['table', 'column', 'type', 'unit', 'meaning'].map(text), rows: described }),
    )
    return [
      write(folder, 'rows', rowCells(tableRows(study.runs, study.measurements)), format),
      write(folder, 'runs', cellsOf(study.runs, RUN_DICTIONARY), format),
      write(folder, 'measurements', cellsOf(study.measurements, MEASUREMENT_DICTIONARY), format),
      dictionary,
    ]
  } catch (error) {
    throw machineError(`cannot write the export into '${folder}'`, error)
  }
}
