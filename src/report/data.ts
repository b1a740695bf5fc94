// A study's ledger as the report reads it: finished trainings, and what quantizing each of them cost.
import { type Format, parseFormat } from '../formats/index.ts'
import type { MeasurementRow, RunRow } from '../study/ledger/schema.ts'
import type { StudyData } from '../study/read.ts'

/** One finished model: its configuration, and its loss on the held-out text. */
export interface Training {
  key: string
  /** Runs that share noise. */
  cluster: string
  /** Short words for tables and legends: "N 107K, W4 A8". */
  label: string
  n: number
  nTotal: number
  d: number
  pw: number
  pa: number
  pkv: number
  formatW: string | null
  schedule: string
  lrFraction: number | null
  corpus: string
  family: string
  seed: number
  /** Nats a token. */
  loss: number
  standardError: number
  flops: number
  trained: boolean
  tasks: Readonly<Record<string, TaskFigures>>
}

/** Accuracy of one task. */
export interface TaskFigures {
  acc: number
  accStandardError: number
}

/** One quantization of a finished model. */
export interface Quantized {
  training: Training
  method: string
  format: string
  /** Bits of the codes. */
  k: number
  /** int, fp, dyn, quantile, nf … */
  element: string
  /** Values that share a scale, null: a row or tensor. */
  block: number | null
  bitsPerParameter: number
  /** Of the model: its non-embedding parameters as quantized, the rest (embedding, position, head) at 16 bits. */
  totalBits: number
  loss: number
  /** Nats above the same model before. */
  delta: number
  /** 95%, paired by token. */
  interval: [number, number]
  kl: number | null
  tasks: Readonly<Record<string, TaskFigures>>
}

/** What the report is drawn from. */
export interface ReportData {
  study: StudyData
  trainings: Training[]
  quantized: Quantized[]
  failed: { key: string; label: string; reason: string }[]
  waiting: number
}

const isNumber = (value: number | null): value is number => value !== null && Number.isFinite(value)

/** Three significant digits with K, M, B. */
export function short(value: number): string {
  const units: [number, string][] = [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'K']] // biome-ignore format: a table
  for (const [base, unit] of units) if (value >= base * 0.9995) return `${Number((value / base).toPrecision(3))}${unit}`
  return String(Number(value.toPrecision(3)))
}

/** Bits in words: "W4 A8 KV16", or "16 bits" where nothing is quantized. */
export function precisionWords({ pw, pa, pkv }: Pick<Training, 'pw' | 'pa' | 'pkv'>): string {
  const parts = [pw < 16 ? `W${short(pw)}` : '', pa < 16 ? `A${short(pa)}` : '', pkv < 16 ? `KV${short(pkv)}` : '']
  return parts.filter(Boolean).join(' ') || '16 bits'
}

function tasksOf(row: MeasurementRow | undefined): Record<string, TaskFigures> {
  return (row?.tasks as Record<string, TaskFigures> | null) ?? {}
}

function trainingOf(row: RunRow, baseline: MeasurementRow | undefined): Training | undefined {
  const loss = baseline?.loss ?? row.loss
  if (!isNumber(row.n) || !isNumber(row.d) || !isNumber(loss)) return undefined
  const bits = { pw: row.pW ?? 16, pa: row.pA ?? 16, pkv: row.pKv ?? 16 }
  return {
    key: row.key,
    cluster: row.cluster,
    label: `N ${short(row.n)}, D ${short(row.d)}, ${precisionWords(bits)}`,
    n: row.n,
    nTotal: row.nTotal ?? row.n,
    d: row.d,
    ...bits,
    formatW: row.formatW,
    schedule: row.schedule ?? '',
    lrFraction: row.lrFraction,
    corpus: row.corpus ?? '',
    family: row.family ?? '',
    seed: row.seed ?? 0,
    loss,
    standardError: baseline?.lossStandardError ?? row.lossStandardError ?? Number.NaN,
    flops: row.flops ?? 6 * row.n * row.d,
    trained: row.kind === 'trained' || row.kind === 'external',
    tasks: tasksOf(baseline),
  }
}

function elementOf(format: Format): { element: string; k: number; block: number | null } {
  if (format.kind === 'plain') return { element: format.name, k: format.name === 'fp32' ? 32 : 16, block: null }
  if (format.kind === 'preset')
    return { element: format.name, k: Number(/\d/.exec(format.name.replace(/^(mx|nv)/, ''))?.[0] ?? 8), block: null }
  const k = 'bits' in format.element ? format.element.bits : Math.log2(3)
  return { element: format.element.kind, k, block: typeof format.shares === 'number' ? format.shares : null }
}

function quantizedOf(row: MeasurementRow, training: Training): Quantized | undefined {
  const { format, loss, lossChange, bitsPerParameter } = row
  if (format === null || !isNumber(loss) || !isNumber(lossChange) || !isNumber(bitsPerParameter)) return undefined
  return {
    training,
    method: row.method,
    format,
    ...elementOf(parseFormat(format)),
    bitsPerParameter,
    // Checkpoints of this size are stored in float32; all widths are compared with the rest at 16 bits.
    totalBits: bitsPerParameter * training.n + 16 * (training.nTotal - training.n),
    loss,
    delta: lossChange,
    interval: [row.lossChangeLow ?? Number.NaN, row.lossChangeHigh ?? Number.NaN],
    kl: row.klMean,
    tasks: tasksOf(row),
  }
}

/** Reads the ledger's rows; diverged and failed runs are listed apart with their reason. */
export function reportData(study: StudyData): ReportData {
  const baselines = new Map(
    study.measurements.filter(row => row.method === 'none' && row.state === 'done').map(row => [row.run, row]),
  )
  const trainings: Training[] = []
  const failed: ReportData['failed'] = []
  for (const row of study.runs) {
    const training = row.state === 'done' && !row.diverged ? trainingOf(row, baselines.get(row.key)) : undefined
    if (training) trainings.push(training)
    else if (row.state === 'failed' || row.diverged)
      failed.push({
        key: row.key,
        label: `N ${short(row.n ?? 0)}, D ${short(row.d ?? 0)}, ${precisionWords({ pw: row.pW ?? 16, pa: row.pA ?? 16, pkv: row.pKv ?? 16 })}`,
        reason: row.reason ?? (row.diverged ? 'diverged' : 'no reason given'),
      })
  }
  const byKey = new Map(trainings.map(training => [training.key, training]))
  const quantized = study.measurements.flatMap(row => {
    const training = byKey.get(row.run)
    const one = training && row.method !== 'none' && row.state === 'done' ? quantizedOf(row, training) : undefined
    return one ? [one] : []
  })
  return {
    study,
    trainings,
    quantized,
    failed,
    waiting: study.runs.filter(row => row.state === 'waiting' || row.state === 'running').length,
  }
}

/** Nothing was quantized in training. */
export const isPlain = ({ pw, pa, pkv }: Pick<Training, 'pw' | 'pa' | 'pkv'>): boolean =>
  pw >= 16 && pa >= 16 && pkv >= 16

/** What two runs must share to be compared at one amount of data. */
export const conditionsOf = ({ d, schedule, corpus, family }: Training): string =>
  [d, schedule, corpus, family].join('/')

/** Runs that were trained here or by the study's own trainer. */
export const trainedRuns = (data: ReportData): Training[] => data.trainings.filter(training => training.trained)
