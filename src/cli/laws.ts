// bitlaw laws [law]: the laws, their parameters, published constants and validated ranges.
import type { Command } from 'commander'
import { findLaw, LAWS, type Law } from '../laws/index.ts'
import { printQuantity } from '../table/quantity.ts'
import { printJson, printText, table } from './output.ts'

const documentOf = ({ name, title, formula, source, response, parameters, columns, fits }: Law) => ({
  name,
  title,
  formula,
  source,
  response,
  parameters: parameters.map(p => ({
    name: p.name,
    meaning: p.meaning,
    unit: p.unit,
    transform: p.transform,
    bounds: p.bounds,
  })),
  columns: columns.map(c => ({ name: c.name, meaning: c.meaning, needed: c.fallback === undefined })),
  fits: fits.map(f => ({
    name: f.name,
    parameters: f.parameters,
    source: f.source,
    setup: f.setup,
    range: f.range,
    notes: f.notes ?? [],
  })),
})

/** `30M..1.7B` or `3..16`. */
function printRange([low, high]: readonly [number, number]): string {
  const print = (v: number) => (v >= 1e4 ? printQuantity(v) : Number(v.toPrecision(3)).toString())
  return `${print(low)}..${print(high)}`
}

function describe(law: Law): string {
  const parameters = table(
    ['parameter', 'meaning', 'unit'],
    law.parameters.map(p => [p.name, p.meaning, p.unit || '-']),
  )
  const fits = law.fits.map(f => {
    const range = Object.entries(f.range).map(([name, r]) => `${name} ${printRange(r)}`)
    const values = Object.entries(f.parameters).map(([name, v]) => `${name} ${Number(v.toPrecision(6))}`)
    return [
      `${f.name} (${f.source})`,
      `  ${values.join(', ')}`,
      `  made on: ${f.setup}`,
      `  range: ${range.join(', ')}`,
      ...(f.notes ?? []).map(n => `  note: ${n}`),
    ].join('\n')
  })
  const columns = law.columns.map(c => `${c.name}${c.fallback === undefined ? '' : ' (optional)'}`).join(', ')
  return [
    `${law.name}: ${law.title}`,
    law.formula,
    `source: ${law.source}`,
    `columns: ${columns}`,
    '',
    parameters,
    '',
    ...(fits.length > 0 ? fits : ['no published constants: fit your own']),
  ].join('\n')
}

/** Adds `bitlaw laws`. */
export function register(command: Command): void {
  command
    .argument('[law]', 'one law in full')
    .option('--json', 'print one JSON document')
    .action((name: string | undefined, { json }: { json?: boolean }) => {
      const chosen = name === undefined ? LAWS : [findLaw(name)]
      if (json) printJson(chosen.map(documentOf))
      else if (name !== undefined) printText(describe(chosen[0]))
      else
        printText(
          table(
            ['law', 'what', 'parameters', 'published', 'source'],
            LAWS.map(law => [
              law.name,
              law.title,
              law.parameters.map(p => p.name).join(' '),
              law.fits.map(f => f.name).join(' ') || '-',
              law.source,
            ]),
          ),
        )
    })
}
