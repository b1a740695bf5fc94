// The report's tables as HTML, and the same rows as CSV to download.
import { findLaw } from '../laws/index.ts'
import { precisionWords, type ReportData } from './data.ts'
import { type FitDocument, PAPER_R2 } from './fits.ts'
import { seedNoise } from './shares.ts'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as HTML. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, char => ENTITIES[char])
}

/** A cell of a table that is downloaded too: text, a number, or nothing. */
export type Cell = string | number | null

/** Text under a mark of the page's style. */
export interface Marked {
  text: string
  mark: string
}

/** A table; `sortable` ones have buttons in the head, `cards` become one card a row on a phone. */
export function htmlTable(
  header: readonly string[],
  rows: readonly (readonly (Cell | Marked)[])[],
  { sortable = false, cards = false, id = '' } = {},
): string {
  const cell = (value: Cell | Marked, i: number) => {
    if (typeof value === 'number')
      return `<td class="n">${Number.isFinite(value) ? Number(value.toPrecision(5)) : '–'}</td>`
    const label = cards ? ` data-label="${escapeHtml(header[i])}"` : ''
    if (value === null || typeof value === 'string') return `<td${label}>${escapeHtml(value ?? '–')}</td>`
    return `<td${label}><b class="${value.mark}">${escapeHtml(value.text)}</b></td>`
  }
  const heads = header.map(
    (name, i) =>
      `<th scope="col">${sortable ? `<button type="button" data-column="${i}">${escapeHtml(name)}</button>` : escapeHtml(name)}</th>`,
  )
  const classes = [sortable ? 'sortable' : '', cards ? 'cards' : ''].filter(Boolean).join(' ')
  return `<div class="scroll"><table${id ? ` id="${id}"` : ''}${classes ? ` class="${classes}"` : ''}><thead><tr>${heads.join('')}</tr></thead><tbody>${rows.map(row => `<tr>${row.map(cell).join('')}</tr>`).join('\n')}</tbody></table></div>`
}

/** CSV (RFC 4180). */
export function csv(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const field = (value: Cell) =>
    value === null
      ? ''
      : typeof value === 'number'
        ? String(value)
        : /[",\n\r]/.test(value)
          ? `"${value.replaceAll('"', '""')}"`
          : value
  return [header, ...rows].map(row => row.map(field).join(',')).join('\n')
}

/** What the columns of `runRows` hold: N in parameters, D in tokens, losses in nats a token. */
export const RUN_COLUMNS = [
  'N',
  'D',
  'precision',
  'family',
  'corpus',
  'schedule',
  'seed',
  'loss',
  'standard error',
] as const

/** One row a training. */
export function runRows(data: ReportData): Cell[][] {
  return data.trainings.map(one => [
    one.n,
    one.d,
    precisionWords(one),
    one.family,
    one.corpus,
    one.schedule,
    one.seed,
    one.loss,
    one.standardError,
  ])
}

/** What the columns of `quantizedRows` hold. */
export const QUANTIZED_COLUMNS = [
  'N',
  'D',
  'trained at',
  'method',
  'format',
  'bits per parameter',
  'loss',
  'change',
  'low',
  'high',
  'KL',
] as const

/** One row a quantization. */
export function quantizedRows(data: ReportData): Cell[][] {
  return data.quantized.map(one => [
    one.training.n,
    one.training.d,
    precisionWords(one.training),
    one.method,
    one.format,
    one.bitsPerParameter,
    one.loss,
    one.delta,
    one.interval[0],
    one.interval[1],
    one.kl,
  ])
}

/** Every fitted law with its intervals, errors and warnings. */
export function lawsSection(data: ReportData): string {
  if (data.study.fits.length === 0) return '<p class="missing">No law was fitted.</p>'
  const noise = seedNoise(data)
  return data.study.fits
    .map(row => {
      const {
        law,
        parameters,
        intervals,
        rmse,
        rSquared,
        rows,
        warnings = [],
        unidentified = [],
        heldOut,
      } = row.document as FitDocument
      const values = Object.entries(parameters).map(([name, value]): Cell[] => {
        const ends = intervals?.[name]
        return [
          name,
          value,
          ends ? `${Number(ends[0].toPrecision(4))} to ${Number(ends[1].toPrecision(4))}` : 'not known',
          unidentified.includes(name) ? 'not identified' : '',
        ]
      })
      const figures = [
        rows === undefined ? '' : `${rows} rows`,
        rSquared === undefined
          ? ''
          : `R² ${rSquared.toFixed(4)}${PAPER_R2[law] ? ` (Kumar et al. print ${PAPER_R2[law]})` : ''}`,
        rmse === undefined ? '' : `RMSE ${rmse.toFixed(4)} nats`,
        heldOut
          ? `fitted without the ${heldOut.rows} rows held out, RMSE ${heldOut.rmse.toFixed(4)} nats on those${noise && findLaw(law).response !== 'delta' ? ` (${(heldOut.rmse / noise.spread).toPrecision(2)} times the spread between seeds)` : ''}`
          : '',
      ]
      return `<section class="law"><h3>${escapeHtml(law)}</h3><p>${escapeHtml(figures.filter(Boolean).join(', '))}</p>${htmlTable(['parameter', 'value', '95% interval', ''], values)}${warnings.length > 0 ? `<ul>${warnings.map(line => `<li>${escapeHtml(line)}</li>`).join('')}</ul>` : ''}</section>`
    })
    .join('\n')
}
