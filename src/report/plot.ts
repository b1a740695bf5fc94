// Draws one figure as SVG text with Observable Plot, without a browser, under a legend in HTML. Colours that mean text
// follow the page's; the inks of data are read on white and on dark ground alike (a test holds their contrast).
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { short } from './data.ts'
import { escapeHtml } from './tables.ts'

export { Plot }

/** A figure of the report: drawn, or the reason why this study cannot show it. */
export interface Figure {
  id: string
  title: string
  /** What is shown, from how many runs, in a sentence or two; what the lines and bars are. */
  caption: string
  /** SVG (with a legend where there is one), or null. */
  svg: string | null
  /** Why it is null. */
  missing?: string
}

/** The ink of each number of bits, the same in every figure: few are warm, many are cool, 16 is grey. */
export const BITS_INKS: Readonly<Record<number, string>> = {
  2: '#b0308f', 3: '#d03b3b', 4: '#c26500', 5: '#8a7500', 6: '#3f8f3a', 7: '#12877c', 8: '#2f78c4', 16: '#7c8087',
} // biome-ignore format: a table

/** Inks of things with names. */
export const NAME_INKS = ['#3b74d1', '#c26500', '#8e5bc9', '#2c8c55', '#c8452f', '#0f8a94', '#8a7500'] as const

/** A colour scale with a legend: `domain` in order, `range` their inks, `label` what they are. */
export interface Inks<T> {
  domain: T[]
  range: string[]
  label: string
}

/** Inks of the bits that occur, ascending; widths without an ink of their own take the next narrower one's. */
export function bitsInks(values: Iterable<number>, label: string): Inks<number> {
  const domain = [...new Set(values)].sort((a, b) => a - b)
  const known = Object.keys(BITS_INKS).map(Number)
  const range = domain.map(bits =>
    bits > 8 && bits < 16 ? '#6a67ce' : BITS_INKS[Math.max(2, ...known.filter(one => one <= bits))],
  )
  return { domain, range, label }
}

/** Inks of names, in the order given. */
export function nameInks(values: Iterable<string>, label: string): Inks<string> {
  const domain = [...new Set(values)]
  return { domain, range: domain.map((_, i) => NAME_INKS[i % NAME_INKS.length]), label }
}

function legendHtml({ domain, range, label }: Inks<string | number>): string {
  const entries = domain.map((value, i) => {
    const name = typeof value === 'number' ? String(Number(value.toFixed(2))) : value
    return `<span><i style="background:${range[i]}"></i>${escapeHtml(name)}</span>`
  })
  return `<p class="legend">${escapeHtml(label)}: ${entries.join('')}</p>`
}

/** Draws marks at the report's usual size, under the legend of `inks`. */
export function draw({ inks, ...options }: Plot.PlotOptions & { inks?: Inks<string> | Inks<number> }): string {
  const { document } = parseHTML('<html><body></body></html>')
  const figure = Plot.plot({
    width: 680,
    height: 400,
    marginLeft: 60,
    marginRight: 30,
    marginBottom: 45,
    grid: true,
    style: { background: 'transparent', fontFamily: 'inherit', fontSize: '11.5px', overflow: 'visible' },
    ...(inks ? { color: { type: 'categorical', domain: inks.domain as string[], range: inks.range } } : {}),
    ...options,
    document: document as unknown as Document,
  })
  return `${inks ? legendHtml(inks) : ''}${figure.outerHTML}`
}

/** Least damage that logarithmic axes show, nats: below it lies the noise of any study of this kind. */
export const LEAST_SHOWN = 1e-5

/** A figure that this study cannot show. */
export function missing(id: string, title: string, reason: string): Figure {
  return { id, title, caption: '', svg: null, missing: reason }
}

/** 95% intervals as bars beside points: rows with low and high. */
export const whiskers = (
  rows: readonly object[],
  x: string,
  low: string,
  high: string,
  options: object = {},
): Plot.Markish =>
  Plot.ruleX(
    rows as Plot.Data,
    { x, y1: low, y2: high, strokeWidth: 1.3, strokeOpacity: 0.75, ...options } as Plot.RuleXOptions,
  )

/** Ticks of a logarithmic axis within the ends of the values: powers of ten over four decades, else 1, 3 or 1, 2, 5 times them, all digits where few fit. */
export function logTicks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  if (!(low > 0 && Number.isFinite(high))) return []
  const within = (steps: readonly number[]) => {
    const ticks: number[] = []
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const step of steps) {
        const tick = Number(`${step}e${power}`)
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick)
      }
    return ticks
  }
  const ticks = within(high / low > 1e4 ? [1] : high / low > 200 ? [1, 3] : [1, 2, 5])
  if (ticks.length > 2) return ticks
  const digits = within([1, 2, 3, 4, 5, 6, 7, 8, 9])
  return digits.length > 1 ? digits : [low, high].map(value => Number(value.toPrecision(2)))
}

/** A logarithmic axis over these values, with few ticks; counts are printed short (300K, 1M). */
export function logAxis(values: readonly number[], label: string, tickFormat: (x: number) => string = short) {
  return { type: 'log', label, ticks: logTicks(values), tickFormat } as const
}

/** A logarithmic axis of damage over what is drawn, intervals included. */
export const damageAxis = (rows: readonly { low: number; high: number }[], label: string) =>
  logAxis(
    rows.flatMap(row => [row.low, row.high]),
    label,
    plain,
  )

/** A number as it is, at two digits: ticks below 1. */
export const plain = (x: number): string => String(Number(x.toPrecision(2)))
