// Quantities as people write them: 70b parameters, 15T tokens, 24GiB, 1e21 FLOPs, $2M, 6h.
import { RequestError } from '../formats/error.ts'

/** What a quantity counts; it decides which suffixes are read and how it is printed. */
export type QuantityKind = 'count' | 'bytes' | 'flops' | 'money' | 'seconds'

const COUNT: Record<string, number> = { k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 }
const FLOPS: Record<string, number> = { ...COUNT, p: 1e15, e: 1e18, z: 1e21 }
const BYTES: Record<string, number> = {
  b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, pb: 1e15,
  kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40, pib: 2 ** 50,
} // biome-ignore format: one line a base
const SECONDS: Record<string, number> = { ms: 1e-3, s: 1, m: 60, min: 60, h: 3600, d: 86400, w: 604800, y: 31_557_600 }

const EXAMPLES: Record<QuantityKind, string> = {
  count: '70b, 1.5e9 or 15T',
  bytes: '24GiB or 80GB',
  flops: '1e21 or 5.76e23',
  money: '$2M or 1500000',
  seconds: '90s, 15m or 6h',
}

function scaleOf(kind: QuantityKind, suffix: string): number | undefined {
  if (suffix === '') return 1
  const s = suffix.toLowerCase()
  if (kind === 'bytes') return BYTES[s]
  if (kind === 'seconds') return SECONDS[s]
  // A bare e would swallow the end of a number that was not finished: 5e is no exa-anything, 5EFLOP is.
  if (kind === 'flops') return /^flops?$/.test(s) ? 1 : s === 'e' ? undefined : FLOPS[s.replace(/flops?$/, '')]
  return COUNT[s]
}

/** A number, at least 0, as written: underscores anywhere, commas only between thousands. */
const NUMBER =
  /^\s*(\$)?\s*(\+?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d[\d_]*(?:\.\d*)?|\.\d+))(?:e([+-]?\d+))?\s*([a-z]*)\s*$/i

/** Reads a quantity in base units (parameters or tokens, bytes, FLOPs, dollars, seconds); throws RequestError naming the text and an example. */
export function parseQuantity(text: string | number, kind: QuantityKind = 'count', name = 'quantity'): number {
  const match = NUMBER.exec(String(text))
  const scale = match && (match[1] === undefined || kind === 'money') ? scaleOf(kind, match[4]) : undefined
  const decimals = scale === undefined ? 0 : Math.log10(scale)
  // A decimal suffix moves the point: 1.1k is 1100, not 1.1 * 1000.
  const [power, factor] = Number.isInteger(decimals) ? [decimals, 1] : [0, scale ?? Number.NaN]
  const value = match
    ? Number(`${match[2].replace(/[_,]/g, '')}e${Number(match[3] ?? 0) + power}`) * factor
    : Number.NaN
  if (scale === undefined || !Number.isFinite(value))
    throw new RequestError(`${name} '${text}' is not a quantity, expected something like ${EXAMPLES[kind]}`)
  return value
}

/** Three significant digits with the zeros after the point removed. */
function digits(value: number): string {
  return Number(value.toPrecision(3)).toString()
}

/** Prints a quantity with its unit at three significant digits: `70B`, `24 GiB`, `5.76e+23 FLOP`, `$2M`, `1.5 h`. */
export function printQuantity(value: number, kind: QuantityKind = 'count'): string {
  if (!Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  if (kind === 'flops') return `${value.toExponential(2)} FLOP`
  if (kind === 'bytes') {
    const units: [number, string][] = [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']] // biome-ignore format: a table
    for (const [base, unit] of units) if (size >= base) return `${digits(value / base)} ${unit}`
    return `${digits(value)} B`
  }
  if (kind === 'seconds') {
    if (value === 0) return '0 s'
    const units: [number, string][] = [[86400 * 2, 'd'], [3600, 'h'], [60, 'min'], [1, 's']] // biome-ignore format: a table
    for (const [base, unit] of units)
      if (size >= base) return `${digits(value / (unit === 'd' ? 86400 : base))} ${unit}`
    return `${digits(value * 1e3)} ms`
  }
  const money = kind === 'money'
  const sign = money ? (value < 0 ? '-$' : '$') : value < 0 ? '-' : ''
  const units: [number, string][] = [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']] // biome-ignore format: a table
  for (const [base, unit] of units) if (size >= base * 0.9995) return `${sign}${digits(size / base)}${unit}`
  return `${sign}${digits(size)}`
}
