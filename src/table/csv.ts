// Comma- (or semicolon-, or tab-) separated text with a header row, as RFC 4180 and spreadsheets write it.
import { RequestError } from '../formats/error.ts'
import { cellOf, type Row, type Table } from './table.ts'

/** Records with the line that each begins on; quotes may hold separators, line ends and doubled quotes. */
function records(name: string, text: string, separator: string): { cells: string[]; line: number }[] {
  const out: { cells: string[]; line: number }[] = []
  let cells: string[] = []
  let line = 1
  let begun = 1
  let at = 0
  while (at < text.length) {
    let cell = ''
    if (text[at] === '"') {
      const opened = line
      for (at++; ; at++) {
        if (at >= text.length) throw new RequestError(`${name} line ${opened}: a quote is not closed`)
        if (text[at] === '\n') line++
        if (text[at] !== '"') cell += text[at]
        else if (text[at + 1] === '"') cell += text[at++]
        else break
      }
      at++
    }
    const from = at
    while (at < text.length && text[at] !== separator && text[at] !== '\n') at++
    cells.push(cell + text.slice(from, at).replace(/\r$/, ''))
    const ended = at >= text.length || text[at] === '\n'
    if (ended) {
      if (cells.length > 1 || cells[0].trim() !== '') out.push({ cells, line: begun })
      cells = []
      line++
      begun = line
    }
    at++
    if (at === text.length && !ended) cells.push('')
  }
  if (cells.length > 0) out.push({ cells, line: begun })
  return out
}

/** Parses text with a header; rows of another length than the header are an error that names the line. */
export function parseCsv(name: string, source: string): Table {
  const text = source.replace(/^\uFEFF/, '')
  const firstLine = text.slice(0, (text.indexOf('\n') + 1 || text.length + 1) - 1)
  const separator = [',', '\t', ';'].reduce((a, b) => (firstLine.split(b).length > firstLine.split(a).length ? b : a))
  const [header, ...body] = records(name, text, separator)
  if (header === undefined) throw new RequestError(`${name} is empty, expected a header row and rows`)
  const columns = header.cells.map(cell => cell.trim())
  const twice = columns.find((column, i) => columns.indexOf(column) !== i)
  if (twice !== undefined) throw new RequestError(`${name} has two columns named '${twice}'`)
  const rows = body.map(({ cells, line }) => {
    if (cells.length !== columns.length)
      throw new RequestError(
        `${name} line ${line} has ${cells.length} cells, expected ${columns.length} as in the header`,
      )
    const row: Row = {}
    for (let i = 0; i < columns.length; i++) row[columns[i]] = cellOf(cells[i])
    return row
  })
  return { name, columns, rows, lines: body.map(({ line }) => line), unit: 'line' }
}
