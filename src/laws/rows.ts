// From a table to what a law is fitted to: are the columns there, are the numbers numbers, what is the target, which
// rows share a run. Whatever is wrong is named by line, with the reason.
import { RequestError } from '../formats/error.ts'
import { printQuantity } from '../table/quantity.ts'
import { bitsOf, type Configuration, type Law, numberOf, type Range, textOf } from './law.ts'
import { given, hasPost } from './pieces.ts'

/** Rows that a law can be fitted to. */
export interface Prepared {
  rows: readonly Configuration[]
  /** What is predicted: loss, or loss − loss_before_ptq. */
  target: Float64Array
  /** Where each row stands in its file. */
  lines: readonly number[]
  /** Number of the cluster of each row (rows of one run share its noise). */
  clusters: Int32Array
  clusterCount: number
  /** Column that clusters come from; null: every row for itself. */
  clusterColumn: string | null
  warnings: string[]
}

/** How rows are read. */
export interface PrepareOptions {
  lines?: readonly number[]
  /** line (text files) or row (Parquet). */
  unit?: string
  /** Column of clusters; null: none; absent: `run` where rows carry it. */
  cluster?: string | null
  /** Leave bad rows out, with a warning, instead of failing. */
  skipBad?: boolean
}

/** Names of columns in rows. */
export function columnsOf(rows: readonly Configuration[]): string[] {
  return [...new Set(rows.flatMap(row => Object.keys(row)))]
}

function reasonOf(cell: unknown, name: string): string | null {
  if (!given(cell as string)) return `${name} is missing`
  if (typeof cell !== 'number') return `${name} is '${cell}', not a number`
  if (!Number.isFinite(cell)) return `${name} is ${cell}`
  return cell <= 0 ? `${name} is ${cell}, not above 0` : null
}

/** What is wrong with a row for a law, or null. */
function badness(law: Law, row: Configuration): string | null {
  for (const { name, kind, fallback } of law.columns) {
    if (kind !== 'number' || (fallback !== undefined && !given(row[name]))) continue
    if (/^(log_quarter|mantissa|lr_|D_served)/.test(name) && typeof row[name] === 'number' && row[name] >= 0) continue
    const reason = reasonOf(row[name], name)
    if (reason) return reason
  }
  const loss = reasonOf(row['loss'], 'loss')
  if (loss) return loss
  if (law.response === 'loss') return null
  const before = reasonOf(row['loss_before_ptq'], 'loss_before_ptq')
  if (before) return before
  const delta = numberOf(row, 'loss') - numberOf(row, 'loss_before_ptq')
  return delta > 0 ? null : `loss - loss_before_ptq is ${Number(delta.toPrecision(3))}, not above 0`
}

function needColumns(law: Law, rows: readonly Configuration[]): void {
  const columns = columnsOf(rows)
  const needed = law.columns.filter(c => c.fallback === undefined).map(c => c.name)
  needed.push('loss', ...(law.response === 'delta' ? ['loss_before_ptq'] : []))
  for (const name of needed)
    if (!columns.includes(name))
      throw new RequestError(
        `law ${law.name} needs a column '${name}', the rows have ${columns.join(', ')} (map one with --columns ${name}=<column>)`,
      )
}

/** Precision in the rows that a law does not look at, in words. */
function unread(law: Law, rows: readonly Configuration[]): string[] {
  const reads = (name: string) => law.columns.some(c => c.name === name)
  const count = (test: (row: Configuration) => boolean) => rows.filter(test).length
  const out: string[] = []
  const post = reads('P_post') ? 0 : count(hasPost)
  if (post > 0)
    out.push(
      `${post} rows were quantized after training, which ${law.name} does not know of (--where "P_post is empty" leaves them out)`,
    )
  if (reads('P_w') && !reads('P_a')) {
    const differ = count(row => given(row['P_a']) && numberOf(row, 'P_a') !== bitsOf(row, 'P_w'))
    if (differ > 0)
      out.push(`${differ} rows have other bits of activations than of weights; ${law.name} reads only P_w`)
  }
  if (!reads('P_w') && !reads('forward')) {
    const trained = count(row => bitsOf(row, 'P_w') < 16 || bitsOf(row, 'P_a') < 16 || bitsOf(row, 'P_kv') < 16)
    if (trained > 0) out.push(`${trained} rows were trained at fewer than 16 bits, which ${law.name} does not know of`)
  }
  return out
}

/** Checks and prepares rows; a law of PTQ damage leaves out rows without P_post. */
export function prepareRows(rows: readonly Configuration[], law: Law, options: PrepareOptions = {}): Prepared {
  const { unit = 'line', skipBad = false } = options
  if (rows.length === 0) throw new RequestError(`law ${law.name} cannot be fitted: no rows are left`)
  needColumns(law, rows)
  const warnings: string[] = []
  const lines = options.lines ?? rows.map((_, i) => i + 1)
  const bad: string[] = []
  const kept: number[] = []
  let training = 0
  rows.forEach((row, i) => {
    if (law.response === 'delta' && !hasPost(row)) {
      training++
      return
    }
    const reason = badness(law, row)
    if (reason) bad.push(`${unit} ${lines[i]}: ${reason}`)
    else kept.push(i)
  })
  if (bad.length > 0 && !skipBad)
    throw new RequestError(
      `${bad.length} of ${rows.length} rows cannot be used: ${bad.slice(0, 10).join('; ')}${bad.length > 10 ? '; …' : ''} (leave them out with --skip-bad-rows)`,
    )
  if (bad.length > 0)
    warnings.push(`${bad.length} rows left out: ${bad.slice(0, 10).join('; ')}${bad.length > 10 ? '; …' : ''}`)
  if (training > 0) warnings.push(`${training} rows without P_post left out`)
  const used = kept.map(i => rows[i])
  warnings.push(...unread(law, used))
  const target = Float64Array.from(used, row =>
    law.response === 'delta' ? numberOf(row, 'loss') - numberOf(row, 'loss_before_ptq') : numberOf(row, 'loss'),
  )
  const wanted = options.cluster === undefined ? 'run' : options.cluster
  const has = wanted !== null && used.some(row => given(row[wanted]))
  if (options.cluster && !has)
    throw new RequestError(`no column '${options.cluster}' to cluster by, the rows have ${columnsOf(rows).join(', ')}`)
  const ids = new Map<string, number>()
  const clusters = Int32Array.from(used, (row, i) => {
    const key = has && wanted !== null ? (textOf(row, wanted) ?? `row ${i}`) : `row ${i}`
    if (!ids.has(key)) ids.set(key, ids.size)
    return ids.get(key) as number
  })
  return {
    rows: used,
    target,
    lines: kept.map(i => lines[i]),
    clusters,
    clusterCount: ids.size,
    clusterColumn: has ? wanted : null,
    warnings,
  }
}

/** Smallest and largest of N, D, D/N, and of every other number that the law reads. */
export function rangeOf(law: Law, rows: readonly Configuration[]): Range {
  const out: Record<string, [number, number]> = {}
  const widen = (name: string, value: number) => {
    if (!Number.isFinite(value)) return
    const range = out[name]
    if (!range) out[name] = [value, value]
    else out[name] = [Math.min(range[0], value), Math.max(range[1], value)]
  }
  for (const row of rows) {
    for (const { name, kind, fallback } of law.columns)
      if (kind === 'number') widen(name, numberOf(row, name, typeof fallback === 'number' ? fallback : Number.NaN))
    widen('D/N', numberOf(row, 'D') / numberOf(row, 'N'))
  }
  return out
}

/** What of a configuration lies outside a range, in words. */
export function outside(range: Range, configuration: Configuration): string[] {
  const notes: string[] = []
  const print = (v: number) => (v >= 1e4 ? printQuantity(v) : Number(v.toPrecision(3)).toString())
  for (const [name, [low, high]] of Object.entries(range)) {
    const value =
      name === 'D/N'
        ? numberOf(configuration, 'D') / numberOf(configuration, 'N')
        : numberOf(configuration, name, /^P_(w|a|kv)$/.test(name) ? 16 : Number.NaN)
    if (!Number.isFinite(value)) continue
    if (value < low * (1 - 1e-9) || value > high * (1 + 1e-9))
      notes.push(`${name} ${print(value)} is outside ${print(low)}..${print(high)}, the range of the fit`)
  }
  return notes
}
