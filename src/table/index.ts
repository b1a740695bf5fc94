// Tables of runs: rows from bytes, other names for columns, filters.
export { filterRows, mapColumns, readRows, type Row, type Table } from './table.ts'
export { parseWhere } from './where.ts'
