// The figure of a fit as an SVG string: measured against predicted, and residuals by precision. No library, so that it
// can be drawn anywhere a fit can be made.

import { predictions } from './core.ts'
import type { Solved } from './fit.ts'
import { bitsOf, type Configuration, numberOf, textOf } from './law.ts'
import { largestOf, smallestOf } from './linear.ts'
import { formatName, given } from './pieces.ts'

const COLOURS = [
  '#4269d0',
  '#efb118',
  '#ff725c',
  '#6cc5b0',
  '#3ca951',
  '#ff8ab7',
  '#a463f2',
  '#97bbf5',
  '#9c6b4e',
  '#9498a0',
]
const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [460, 380, 62, 34, 16, 48]

const escapeText = (text: string) =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
const number = (v: number) => Number(v.toPrecision(6)).toString()

/** Round steps that cover a range. */
function ticksOf(low: number, high: number, count = 6): number[] {
  const raw = (high - low) / count || 1
  const base = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map(m => m * base).find(s => s >= raw) ?? raw
  const ticks: number[] = []
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step)
  return ticks
}

/** One line that names a row's precision: `4/16/16`, `int4/BF16`, `4 PTQ`. */
function precisionLabel(row: Configuration): string {
  if (textOf(row, 'forward') !== undefined) return `${textOf(row, 'forward')} / ${textOf(row, 'backward') ?? 'BF16'}`
  const named = textOf(row, 'format_w') !== undefined || textOf(row, 'format_a') !== undefined
  const training = named
    ? `${formatName(row, 'w')}/${formatName(row, 'a')}`
    : ['P_w', 'P_a', 'P_kv'].some(c => given(row[c]))
      ? `${bitsOf(row, 'P_w')}/${bitsOf(row, 'P_a')}/${bitsOf(row, 'P_kv')}`
      : '16 bit'
  return given(row['P_post']) ? `${training}, PTQ ${numberOf(row, 'P_post')}` : training
}

interface Scale {
  at(value: number): number
  ticks: number[]
}

function scale(values: readonly number[], from: number, to: number): Scale {
  let low = smallestOf(values)
  let high = largestOf(values)
  const room = (high - low || Math.abs(high) || 1) * 0.05
  low -= room
  high += room
  return { at: v => from + ((v - low) / (high - low)) * (to - from), ticks: ticksOf(low, high) }
}

function frame(x: Scale | null, y: Scale, title: string, xLabel: string, yLabel: string): string {
  const bottom = HEIGHT - BOTTOM
  const parts = [
    `<text x="${LEFT}" y="18" font-weight="600">${escapeText(title)}</text>`,
    ...y.ticks.map(
      t =>
        `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${number(y.at(t))}" y2="${number(y.at(t))}" stroke="#ddd"/><text x="${LEFT - 6}" y="${number(y.at(t) + 3.5)}" text-anchor="end">${number(t)}</text>`,
    ),
    ...(x?.ticks ?? []).map(
      t =>
        `<line x1="${number(x?.at(t) ?? 0)}" x2="${number(x?.at(t) ?? 0)}" y1="${TOP}" y2="${bottom}" stroke="#eee"/><text x="${number(x?.at(t) ?? 0)}" y="${bottom + 15}" text-anchor="middle">${number(t)}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escapeText(xLabel)}</text>`,
    `<text transform="translate(14 ${(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeText(yLabel)}</text>`,
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${bottom}" y2="${bottom}" stroke="#333"/>`,
  ]
  return parts.join('\n')
}

/** Draws a solved fit; titles name the law and the number of rows. */
export function fitFigure({ law, prepared, problem, theta }: Solved): string {
  const predicted = predictions(problem.bound, theta)
  const measured = [...prepared.target]
  const logarithmic = law.response === 'delta' && largestOf(measured) > 30 * smallestOf(measured)
  const shown = (v: number) => (logarithmic ? Math.log10(v) : v)
  const labels = prepared.rows.map(precisionLabel)
  const names = [...new Set(labels)].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const colour = (label: string) => COLOURS[names.indexOf(label) % COLOURS.length]
  const all = [...measured, ...predicted].map(shown)
  const x = scale(all, LEFT, WIDTH - RIGHT)
  const y = scale(all, HEIGHT - BOTTOM, TOP)
  const what = `${logarithmic ? 'log10 of ' : ''}${law.response === 'delta' ? 'loss after minus before PTQ' : 'loss'} (nats a token)`
  const hint = (i: number) =>
    `<title>${escapeText(`${labels[i]}: measured ${number(measured[i])}, predicted ${number(predicted[i])}, at ${prepared.lines[i]}`)}</title>`
  const dots = measured.map(
    (v, i) =>
      `<circle cx="${number(x.at(shown(predicted[i])))}" cy="${number(y.at(shown(v)))}" r="3" fill="${colour(labels[i])}" fill-opacity="0.75">${hint(i)}</circle>`,
  )
  const [low, high] = [smallestOf(all), largestOf(all)]
  const diagonal = `<line x1="${number(x.at(low))}" y1="${number(y.at(low))}" x2="${number(x.at(high))}" y2="${number(y.at(high))}" stroke="#333" stroke-dasharray="4 3"/>`

  const residuals = measured.map((v, i) => 100 * Math.log(v / predicted[i]))
  const r = scale([...residuals, 0], HEIGHT - BOTTOM, TOP)
  const column = (label: string) => LEFT + ((names.indexOf(label) + 0.5) / names.length) * (WIDTH - RIGHT - LEFT)
  const spread = Math.min(12, (WIDTH - RIGHT - LEFT) / names.length / 3)
  const points = residuals.map(
    (v, i) =>
      `<circle cx="${number(column(labels[i]) + spread * (((i * 0.618034) % 1) * 2 - 1))}" cy="${number(r.at(v))}" r="2.5" fill="${colour(labels[i])}" fill-opacity="0.7">${hint(i)}</circle>`,
  )
  const legendRows = Math.ceil(names.length / 3)
  const legend = names.map((name, i) => {
    const [left, top] = [LEFT + (i % 3) * 290, HEIGHT + 14 + 16 * Math.floor(i / 3)]
    return `<circle cx="${left}" cy="${top - 4}" r="4" fill="${colour(name)}"/><text x="${left + 9}" y="${top}">${escapeText(name)}</text>`
  })
  const total = HEIGHT + 20 + 16 * legendRows
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * WIDTH} ${total}" width="${2 * WIDTH}" height="${total}" font-family="system-ui, sans-serif" font-size="11" fill="#222">
<rect width="100%" height="100%" fill="white"/>
<g>
${frame(x, y, `${law.title}: measured against predicted, ${measured.length} rows`, `predicted ${what}`, `measured ${what}`)}
${diagonal}
${dots.join('\n')}
</g>
<g transform="translate(${WIDTH} 0)">
${frame(null, r, 'Residuals by precision', 'precision', 'ln measured − ln predicted, %')}
<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${number(r.at(0))}" y2="${number(r.at(0))}" stroke="#333" stroke-dasharray="4 3"/>
${points.join('\n')}
</g>
${legend.join('\n')}
</svg>
`
}
