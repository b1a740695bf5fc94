// Figures of quantization after training: damage against data, by schedule, by training precision, and the choice
// between a small model at many bits and a large one at few.

import { groupBy, type Quantized, type ReportData, short, type Training } from '../data.ts'
import { line } from '../fits.ts'
import { BITS_SCHEME, draw, type Figure, missing, Plot, whiskers } from '../plot.ts'

const isPlain = ({ pw, pa, pkv }: Training) => pw >= 16 && pa >= 16 && pkv >= 16

/** RTN in integers of one block size (the one most used), of runs trained here at 16 bits: what damage is compared on. */
export function plainDamage(data: ReportData): Quantized[] {
  const rows = data.quantized.filter(
    one => one.method === 'rtn' && one.element === 'int' && isPlain(one.training) && one.training.trained,
  )
  const blocks = [...groupBy(rows, one => one.block).entries()].sort((a, b) => b[1].length - a[1].length)
  return blocks[0]?.[1] ?? []
}

/** The exponent of damage against D at each k, sizes pooled with intercepts of their own: slope, its standard error, points. */
export function dataExponents(data: ReportData): { k: number; exponent: number; error: number; points: number }[] {
  return [
    ...groupBy(
      plainDamage(data).filter(one => one.delta > 0),
      one => one.k,
    ),
  ].flatMap(([k, rows]) => {
    // Within a size only D varies; centring each size's logarithms removes its intercept.
    const x: number[] = []
    const y: number[] = []
    let groups = 0
    for (const group of groupBy(
      rows,
      one => `${one.training.n}/${one.training.schedule}/${one.training.corpus}/${one.training.family}`,
    ).values()) {
      if (new Set(group.map(one => one.training.d)).size < 2) continue
      const mx = group.reduce((sum, one) => sum + Math.log(one.training.d), 0) / group.length
      const my = group.reduce((sum, one) => sum + Math.log(one.delta), 0) / group.length
      for (const one of group) {
        x.push(Math.log(one.training.d) - mx)
        y.push(Math.log(one.delta) - my)
      }
      groups++
    }
    const fitted = line(x, y)
    if (!fitted) return []
    // Each size's intercept took a degree of freedom.
    const freedom = Math.max(1, x.length - groups - 1)
    return [{ k, exponent: fitted.b, error: fitted.bError * Math.sqrt((x.length - 2) / freedom), points: x.length }]
  })
}

/** Damage against tokens a parameter, for each k. */
export function damageAgainstData(data: ReportData): Figure {
  const [id, title] = ['delta-data', 'Damage of quantization against training data']
  const rows = plainDamage(data)
    .filter(one => one.delta > 0)
    .map(one => ({
      ratio: one.training.d / one.training.n,
      delta: one.delta,
      low: Math.max(one.interval[0], one.delta / 20),
      high: one.interval[1],
      k: one.k,
      size: short(one.training.n),
      line: `${one.k}/${one.training.n}/${one.training.schedule}/${one.training.seed}`,
      label: `${one.training.label}, ${one.format}`,
    }))
  if (rows.length < 2) return missing(id, title, 'fewer than two quantized runs')
  const exponents = dataExponents(data).map(
    one => `${one.k} bits: D^${one.exponent.toFixed(2)} ± ${(1.96 * one.error).toFixed(2)}`,
  )
  const svg = draw({
    x: { type: 'log', label: 'training tokens a parameter (D / N)' },
    y: { type: 'log', label: 'loss after PTQ minus loss before (nats)', tickFormat: '~g' },
    color: { ...BITS_SCHEME, label: 'bits after training' },
    marks: [
      Plot.line(rows, { x: 'ratio', y: 'delta', stroke: 'k', z: 'line', strokeOpacity: 0.5, sort: 'ratio' }),
      whiskers(rows, 'ratio', 'low', 'high', { stroke: 'k' }),
      Plot.dot(rows, { x: 'ratio', y: 'delta', fill: 'k', r: 3.5, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `RTN to integers of runs trained at 16 bits, with 95% intervals; a line a size.${exponents.length > 0 ? ` Growth with data: ${exponents.join('; ')} (Kumar et al.: D^0.51).` : ''} Damage that is not above zero is left out of the logarithmic scale.`,
    svg,
  }
}

/** The same damage by learning-rate schedule: the rival explanation. */
export function damageBySchedule(data: ReportData): Figure {
  const [id, title] = ['delta-schedule', 'Damage by learning-rate schedule']
  const rows = plainDamage(data).map(one => ({
    d: one.training.d,
    delta: one.delta,
    low: one.interval[0],
    high: one.interval[1],
    schedule: one.training.schedule || 'unknown',
    k: `${one.k} bits`,
    label: `${one.training.label}, ${one.format}`,
  }))
  if (new Set(rows.map(row => row.schedule)).size < 2)
    return missing(id, title, 'one schedule only, so data and learning-rate decay cannot be told apart')
  const svg = draw({
    height: 120 + 110 * new Set(rows.map(row => row.k)).size,
    x: { type: 'log', label: 'training tokens', tickFormat: 's' },
    y: { label: 'damage (nats)' },
    fy: { label: null },
    color: { legend: true },
    marks: [
      whiskers(rows, 'd', 'low', 'high', { fy: 'k', stroke: 'schedule' }),
      Plot.dot(rows, { x: 'd', y: 'delta', fy: 'k', fill: 'schedule', r: 3.5, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption:
      'Catalan-Tatjer et al. (arXiv 2510.06213) read the growth of damage as the work of learning-rate decay, not of data: under that reading points of one schedule would lie on one level.',
    svg,
  }
}

/** Damage against the precision of training. */
export function damageByTrainingPrecision(data: ReportData): Figure {
  const [id, title] = ['delta-training', 'Does training in low precision make PTQ gentler?']
  const rows = data.quantized
    .filter(
      one =>
        one.method === 'rtn' &&
        one.element === 'int' &&
        one.training.trained &&
        one.training.pa >= 16 &&
        one.training.pkv >= 16,
    )
    .map(one => ({
      pw: one.training.pw,
      delta: one.delta,
      low: one.interval[0],
      high: one.interval[1],
      k: one.k,
      label: `${one.training.label}, ${one.format}`,
      line: `${one.k}/${one.training.n}/${one.training.d}`,
    }))
  if (new Set(rows.map(row => row.pw)).size < 2) return missing(id, title, 'one training precision only')
  const svg = draw({
    x: { label: 'bits of the weights in training' },
    y: { label: 'damage (nats)' },
    color: { ...BITS_SCHEME, label: 'bits after training' },
    marks: [
      Plot.ruleY([0]),
      Plot.line(rows, { x: 'pw', y: 'delta', stroke: 'k', z: 'line', strokeOpacity: 0.35, sort: 'pw' }),
      whiskers(rows, 'pw', 'low', 'high', { stroke: 'k' }),
      Plot.dot(rows, { x: 'pw', y: 'delta', fill: 'k', r: 3, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption:
      'RTN of runs that were trained with weights of so many bits (their masters are quantized); lines join runs of one size and data.',
    svg,
  }
}

/** One pair of equal bytes: the larger model at fewer bits against the smaller at more. */
export interface EqualBytes {
  d: number
  large: Quantized
  small: Quantized
  /** Loss of the large minus loss of the small, nats; below 0 the large one wins. */
  difference: number
  error: number
}

/** Pairs whose stored sizes differ by at most 15%, one model at least half as large again, by data. */
export function equalBytes(data: ReportData): EqualBytes[] {
  const rows = data.quantized.filter(
    one => one.method === 'rtn' && isPlain(one.training) && one.training.trained && one.k <= 8,
  )
  const pairs: EqualBytes[] = []
  for (const group of groupBy(
    rows,
    one =>
      `${one.training.d}/${one.training.schedule}/${one.training.corpus}/${one.training.family}/${one.training.seed}/${one.element}/${one.block}`,
  ).values())
    for (const large of group)
      for (const small of group) {
        if (large.training.n < 1.5 * small.training.n || large.k >= small.k) continue
        const ratio = large.totalBits / small.totalBits
        if (ratio < 0.87 || ratio > 1.15) continue
        // Sampling errors of both losses, as if independent: the text is the same, so this is an upper bound.
        const error = Math.hypot(large.training.standardError, small.training.standardError)
        pairs.push({ d: large.training.d, large, small, difference: large.loss - small.loss, error })
      }
  return pairs
}

/** Equal bytes: a smaller model at more bits, or a bigger one at fewer, and the D where they cross. */
export function equalBytesFigure(data: ReportData): Figure {
  const [id, title] = ['equal-bytes', 'Equal bytes: a larger model at fewer bits, or a smaller one at more?']
  const rows = equalBytes(data).map(pair => ({
    d: pair.d,
    difference: pair.difference,
    k: pair.large.k,
    label: `N ${short(pair.large.training.n)} at ${pair.large.k} bits against N ${short(pair.small.training.n)} at ${pair.small.k}`,
  }))
  if (rows.length === 0) return missing(id, title, 'no two quantized models of nearly equal stored size')
  const svg = draw({
    x: { type: 'log', label: 'training tokens', tickFormat: 's' },
    y: { label: 'loss of the larger minus loss of the smaller (nats)' },
    color: { ...BITS_SCHEME, label: 'bits of the larger' },
    marks: [
      Plot.ruleY([0], { strokeDasharray: '3 3' }),
      Plot.dot(rows, { x: 'd', y: 'difference', fill: 'k', r: 4, title: 'label' }),
      Plot.line(rows, { x: 'd', y: 'difference', stroke: 'k', z: 'label', strokeOpacity: 0.5, sort: 'd' }),
    ],
  })
  const crossings = [...groupBy(rows, row => row.label)].flatMap(([label, group]) => {
    const sorted = [...group].sort((a, b) => a.d - b.d)
    for (let i = 1; i < sorted.length; i++) {
      const [a, b] = [sorted[i - 1], sorted[i]]
      if (a.difference < 0 !== b.difference < 0) {
        const share = a.difference / (a.difference - b.difference)
        return [`${label}: near ${short(Math.exp(Math.log(a.d) + share * (Math.log(b.d) - Math.log(a.d))))} tokens`]
      }
    }
    return []
  })
  return {
    id,
    title,
    caption: `Below zero the larger model at fewer bits wins. ${crossings.length > 0 ? `They cross: ${crossings.slice(0, 4).join('; ')}.` : 'No pair crosses in the range of data here.'}`,
    svg,
  }
}
