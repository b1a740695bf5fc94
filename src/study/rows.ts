// The table of runs: one row a run and one a quantization of it, in the columns that laws and other tools read.
import type { Law } from '../laws/index.ts'
import type { MeasurementRow, RunRow } from './ledger/schema.ts'

/** One row; absent values are null. */
export type TableRow = Record<string, number | string | null>

/** The columns in their order. */
export const ROW_COLUMNS = [
  'run', 'N', 'N_total', 'D', 'loss', 'loss_standard_error', 'loss_before_ptq', 'P_w', 'P_a', 'P_kv', 'P_post', 'format_w', 'format_a',
  'format_kv', 'format_post', 'method', 'bits_per_parameter', 'total_bits', 'kl', 'schedule', 'lr_fraction', 'corpus', 'family', 'seed', 'flops',
] as const // biome-ignore format: a table

function trainingColumns(run: RunRow): TableRow {
  return {
    run: run.cluster.slice(0, 16),
    N: run.n,
    N_total: run.nTotal,
    D: run.d,
    P_w: run.pW ?? 16,
    P_a: run.pA ?? 16,
    P_kv: run.pKv ?? 16,
    format_w: run.formatW,
    format_a: run.formatA,
    format_kv: run.formatKv,
    schedule: run.schedule,
    lr_fraction: run.lrFraction,
    corpus: run.corpus,
    family: run.family,
    seed: run.seed,
    flops: run.flops,
  }
}

const byMethod = (a: MeasurementRow, b: MeasurementRow) =>
  (a.method < b.method ? -1 : a.method > b.method ? 1 : 0) ||
  (a.pPost ?? 0) - (b.pPost ?? 0) ||
  (a.key < b.key ? -1 : 1)

/**
 * Rows of all runs that are done and did not diverge. A run's loss is that of its checkpoint on the study's own text,
 * as for its quantizations, so that both are one scale; where that was not scored, the trainer's validation loss.
 */
export function tableRows(runs: readonly RunRow[], measurements: readonly MeasurementRow[]): TableRow[] {
  const byRun = new Map<string, MeasurementRow[]>()
  for (const row of measurements) if (row.state === 'done') byRun.set(row.run, [...(byRun.get(row.run) ?? []), row])
  const order = (a: RunRow, b: RunRow) => (a.n ?? 0) - (b.n ?? 0) || (a.d ?? 0) - (b.d ?? 0) || (a.key < b.key ? -1 : 1)
  const rows: TableRow[] = []
  for (const run of [...runs].filter(({ state, diverged }) => state === 'done' && !diverged).sort(order)) {
    const base = trainingColumns(run)
    const scored = byRun.get(run.key) ?? []
    const own = scored.find(row => row.method === 'none')
    const loss = own?.loss ?? run.loss
    const imported = run.kind === 'imported' ? (run.config as TableRow) : {}
    if (loss !== null)
      rows.push(blank({
        ...base,
        loss,
        loss_standard_error: own?.lossStandardError ?? run.lossStandardError,
        loss_before_ptq: imported['loss_before_ptq'] ?? null,
        P_post: imported['P_post'] ?? null,
        format_post: imported['format_post'] ?? null,
        method: imported['method'] ?? null,
      })) // biome-ignore format: columns
    for (const row of scored.filter(({ method }) => method !== 'none').sort(byMethod))
      rows.push(
        blank({
          ...base,
          loss: row.loss,
          loss_standard_error: row.lossStandardError,
          loss_before_ptq: row.lossBeforePtq,
          P_post: row.pPost,
          format_post: row.format,
          method: row.method,
          bits_per_parameter: row.bitsPerParameter,
          total_bits: row.totalBits,
          kl: row.klMean,
        }),
      )
  }
  return rows
}

function blank(row: TableRow): TableRow {
  return Object.fromEntries(ROW_COLUMNS.map(name => [name, row[name] ?? null]))
}

/** What sets one quantizer apart from another at the same width: method, element and what shares a scale. */
function quantizerOf(row: TableRow): string {
  const format = String(row['format_post'] ?? '')
  return `${row['method'] ?? ''} ${format.replace(/^(\D+).*?(@|\/|$)/, '$1$2')}`
}

/** Rows after PTQ by one quantizer, the one with most rows: a law that reads P_post alone has one set of constants a quantizer. */
function oneQuantizer(rows: readonly TableRow[]): TableRow[] {
  const counts = new Map<string, number>()
  for (const row of rows)
    if (row['P_post'] !== null) counts.set(quantizerOf(row), (counts.get(quantizerOf(row)) ?? 0) + 1)
  const [most] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
  return rows.filter(row => row['P_post'] === null || quantizerOf(row) === most[0])
}

/**
 * The rows that a law speaks of: without PTQ where it knows none, at 16 bits in the parts that it does not read. Laws of PTQ
 * that read its bits alone get the rows of one quantizer, and those with training bits too the rows whose bits after
 * training are fewer than in training, because they are defined there only (Kumar et al., Eq. 9).
 */
export function rowsForLaw(law: Law, rows: readonly TableRow[]): TableRow[] {
  const reads = new Set(law.columns.map(column => column.name))
  const parts = (['w', 'a', 'kv'] as const).filter(part => !reads.has(`P_${part}`) && !reads.has(`format_${part}`))
  const spoken = rows.filter(row => {
    if (law.response === 'delta' ? row['P_post'] === null : row['P_post'] !== null && !reads.has('P_post')) return false
    if (!parts.every(part => row[`P_${part}`] === 16)) return false
    if (row['P_post'] === null || !reads.has('P_w')) return true
    return [row['P_w'], row['P_a'], row['P_kv']].every(bits => Number(row['P_post']) < Number(bits))
  })
  return reads.has('P_post') && !reads.has('format_post') ? oneQuantizer(spoken) : spoken
}
