// What every verb prints: one JSON document, or a table for people; progress goes to standard error.

/** One JSON document on standard output and nothing else there; non-finite numbers become null. */
export function printJson(document: unknown): void {
  process.stdout.write(`${JSON.stringify(document, null, 1)}\n`)
}

/** Text for people, with a line end. */
export function printText(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** A plain table: a header row and rows of cells; numbers are set to the right. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [header, ...rows].map(row => row.map(String))
  const widths = header.map((_, i) => Math.max(...cells.map(row => (row[i] ?? '').length)))
  const numeric = header.map((_, i) =>
    rows.every(row => typeof row[i] === 'number' || /^[-+±<>~$]?\.?\d/.test(String(row[i] ?? ''))),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd()
  return [line(cells[0]), widths.map(width => '-'.repeat(width)).join('  '), ...cells.slice(1).map(line)].join('\n')
}
