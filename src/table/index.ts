// Tables of runs: rows from bytes, other names for columns, filters.
export { filterRows, mapColumns, type Row, readRows, type Table } from './table.ts'
export { parseWhere } from './where.ts'
