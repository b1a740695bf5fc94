// Draws one figure as SVG text with Observable Plot, without a browser. Colours that mean text follow the page's.
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'

export { Plot }

/** A figure of the report: drawn, or the reason why this study cannot show it. */
export interface Figure {
  id: string
  title: string
  /** What is shown, in a sentence or two; what the lines and bars are. */
  caption: string
  /** SVG (with a legend where there is one), or null. */
  svg: string | null
  /** Why it is null. */
  missing?: string
}

/** Bits as colours, from few (warm) to many (cool); readable on light and dark. */
export const BITS_SCHEME = { type: 'ordinal', scheme: 'spectral', legend: true } as const

/** Draws marks at the report's usual size. */
export function draw(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<html><body></body></html>')
  const figure = Plot.plot({
    width: 680,
    height: 400,
    marginLeft: 60,
    marginBottom: 45,
    grid: true,
    style: { background: 'transparent', fontFamily: 'inherit', overflow: 'visible' },
    ...options,
    document: document as unknown as Document,
  })
  return figure.outerHTML
}

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
    { x, y1: low, y2: high, strokeWidth: 1.2, strokeOpacity: 0.7, ...options } as Plot.RuleXOptions,
  )
