// The answer in words: is this checkpoint over-trained for k bits, and what to store it in.
import { printQuantity } from '../table/quantity.ts'
import type { MeasuredElsewhere } from './elsewhere.ts'
import { describeRecord, type PredictedDamage, type Record, recordApplies } from './predict.ts'

/** Damage measured on this checkpoint. */
export interface MeasuredDamage {
  method: string
  format: string
  /** Bits of the codes. */
  k: number
  bitsPerParameter: number
  /** Nats a token after and before. */
  loss?: number
  lossBefore?: number
  lossChange: number
  /** 95%, paired by token. */
  interval: [number, number]
  kl: number
}

/** What a user can live with: nats a token. */
export const TOLERANCE = 0.02

/** A verdict and a recommended format (null: nothing measured or predicted says enough). */
export interface Verdict {
  verdict: string
  recommended: { format: string; method: string; why: string } | null
}

/** Recommends the fewest bits whose measured damage is, or may be, within tolerance; predictions decide only where nothing was measured. */
export function judge(
  predicted: readonly PredictedDamage[],
  measured: readonly MeasuredDamage[],
  records: readonly Record[],
  model: { n: number; d: number | null; decayed: boolean | null },
  tolerance = TOLERANCE,
): Verdict {
  const sentences: string[] = []
  const fourBits = predicted.filter(one => one.k === 4)
  if (model.d !== null && fourBits.length > 0) {
    const low = Math.min(...fourBits.map(one => one.deltaPtq))
    const high = Math.max(...fourBits.map(one => one.deltaPtq))
    const past = fourBits.filter(one => one.dCrit !== null && model.d! > one.dCrit)
    sentences.push(
      past.length === 0
        ? 'by no law here is it over-trained for 4 bits: more data would still have helped the quantized model'
        : `by ${past.map(one => `${one.law} (${one.fit})`).join(' and ')} it is over-trained for 4 bits, trained past D_crit = ${[...new Set(past.map(one => printQuantity(one.dCrit!)))].join(' and ')} tokens`,
    )
    sentences.push(`laws predict ${low.toFixed(3)} to ${high.toFixed(3)} nats of damage at 4 bits`)
    const outside = fourBits.filter(one => !one.insideRange)
    if (outside.length > 0)
      sentences.push(
        `${outside.length} of ${fourBits.length} predictions lie outside the range that their law was validated on`,
      )
  }
  const off = records.filter(record => record.unreliable && recordApplies(record, model.n))
  for (const record of off) sentences.push(describeRecord(record))
  if (model.d !== null && model.decayed !== false && fourBits.some(one => one.deltaPtq > tolerance))
    sentences.push(
      'these laws read damage as growing with data, but learning-rate decay explains much of it too (arXiv 2510.06213), so a checkpoint from before the decay may quantize better at the same D',
    )
  const within = measured
    .filter(one => one.interval[0] <= tolerance)
    .sort((a, b) => a.bitsPerParameter - b.bitsPerParameter || a.lossChange - b.lossChange)
  if (measured.length > 0) {
    const four = measured.filter(one => one.k === 4)
    if (four.length > 0) {
      const best = four.reduce((a, b) => (a.lossChange <= b.lossChange ? a : b))
      sentences.push(
        `measured, 4 bits cost ${best.lossChange.toFixed(4)} nats [${best.interval.map(end => end.toFixed(4)).join(', ')}] with ${best.method} ${best.format}`,
      )
    }
    if (within.length === 0) {
      sentences.push(`no measured format stays within ${tolerance} nats`)
      return { verdict: sentences.join('; '), recommended: null }
    }
    const [choice] = within
    const tie = choice.interval[1] > tolerance ? ', a tie with the tolerance' : ''
    return {
      verdict: sentences.join('; '),
      recommended: {
        format: choice.format,
        method: choice.method,
        why: `measured ${choice.lossChange.toFixed(4)} nats at ${choice.bitsPerParameter.toFixed(2)} bits per parameter, within ${tolerance}${tie}`,
      },
    }
  }
  if (sentences.length === 0)
    sentences.push('nothing was predicted, because the training tokens D are not known, and nothing was measured')
  return {
    verdict: sentences.join('; '),
    recommended: byLaws(predicted, off, tolerance) ?? byOthers(records, model, tolerance),
  }
}

/** The fewest bits at which every law that can be relied on predicts little enough; null where none can, or none does. */
function byLaws(
  predicted: readonly PredictedDamage[],
  off: readonly Record[],
  tolerance: number,
): Verdict['recommended'] {
  const trusted = predicted.filter(one => !off.some(record => record.law === one.law && record.fit === one.fit))
  const widths = [...new Set(trusted.map(one => one.k))].sort((a, b) => a - b)
  const fine = widths.find(k => trusted.filter(one => one.k === k).every(one => one.deltaPtq <= tolerance))
  if (fine === undefined) return null
  return {
    format: `int${fine}@64`,
    method: fine <= 4 ? 'gptq' : 'rtn',
    why: `every law that can be relied on predicts at most ${tolerance} nats at ${fine} bits, to be measured with --measure TEXT`,
  }
}

/** What did little enough on the model of this size that others measured, the one whose tokens a parameter are nearest. */
function byOthers(
  records: readonly Record[],
  { n, d }: { n: number; d: number | null },
  tolerance: number,
): Verdict['recommended'] {
  const [first] = records
  if (!first || d === null || !recordApplies(first, n)) return null
  const distance = (row: MeasuredElsewhere) => Math.abs(Math.log(row.d / row.n / (d / n)))
  const nearest = first.rows.reduce((a, b) => (distance(b) < distance(a) ? b : a)).model
  const [least] = first.rows
    .filter(row => row.model === nearest && row.deltaPtq <= tolerance)
    .sort((a, b) => (a.bitsPerParameter ?? a.k) - (b.bitsPerParameter ?? b.k))
  if (!least) return null
  return {
    format: least.format,
    method: 'llama.cpp',
    why: `no law here is reliable at this size, but others measured ${least.deltaPtq.toFixed(4)} nats with it on ${nearest}, to be measured here with --measure TEXT`,
  }
}
