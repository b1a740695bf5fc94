// Figures of quantization after training: damage against data, by schedule, by training precision, and the choice
// between a small model at many bits and a large one at few.

import { damageExponents, type EqualBytes, equalBytes, plainDamage } from '../damage.ts'
import { type Quantized, type ReportData, short } from '../data.ts'
import { configurationOf, fitOf } from '../fits.ts'
import {
  bitsInks,
  damageAxis,
  draw,
  type Figure,
  LEAST_SHOWN,
  logAxis,
  missing,
  nameInks,
  Plot,
  whiskers,
} from '../plot.ts'
import { seedNoise } from '../shares.ts'
import { groupBy, meanInterval, printInterval, signed } from '../statistics.ts'

/** Damage with its interval on a logarithmic axis; what is not above zero cannot be drawn there. */
function onLog(rows: readonly Quantized[]) {
  return rows
    .filter(one => one.delta > LEAST_SHOWN)
    .map(one => ({
      d: one.training.d,
      n: one.training.n,
      ratio: one.training.d / one.training.n,
      delta: one.delta,
      low: Math.max(one.interval[0], LEAST_SHOWN),
      high: one.interval[1],
      k: one.k,
      schedule: one.training.schedule || 'unknown',
      label: `${one.training.label}, ${one.format}`,
      training: one.training,
    }))
}

/** Damage against tokens a parameter, for each k. */
export function damageAgainstData(data: ReportData): Figure {
  const [id, title] = ['delta-data', 'Damage of quantization against training data']
  const all = plainDamage(data)
  const rows = onLog(all)
  if (rows.length < 2) return missing(id, title, 'fewer than two quantized runs')
  const fit = fitOf(data, 'kumar_delta', 'kumar_unified')
  const lines = !fit
    ? rows.map(row => ({ ...row, line: `${row.k}/${row.n}/${row.schedule}/${row.training.seed}` }))
    : [...groupBy(rows, row => `${row.k}/${row.n}`)].flatMap(([name, group]) => {
        const [low, high] = [Math.min(...group.map(row => row.d)), Math.max(...group.map(row => row.d))]
        return Array.from({ length: low === high ? 0 : 12 }, (_, i) => {
          const d = low * (high / low) ** (i / 11)
          const configuration = { ...configurationOf(group[0].training), D: d, P_post: group[0].k }
          const delta = fit.law.predict(fit.document.parameters, configuration).deltaPtq ?? Number.NaN
          return { ratio: d / group[0].n, delta, k: group[0].k, line: name }
        }).filter(point => point.delta > LEAST_SHOWN)
      })
  const exponents = damageExponents(data)
    .filter(one => one.high - one.low < 2)
    .map(one => `D^${one.exponent.toFixed(2)} [${one.low.toFixed(2)}, ${one.high.toFixed(2)}] at ${one.k} bits`)
  const svg = draw({
    height: 440,
    inks: bitsInks(
      rows.map(row => row.k),
      'bits after training',
    ),
    x: logAxis(
      rows.map(row => row.ratio),
      'training tokens a parameter (D / N)',
    ),
    y: damageAxis(rows, 'loss after PTQ minus loss before (nats)'),
    marks: [
      Plot.line(lines, { x: 'ratio', y: 'delta', stroke: 'k', z: 'line', strokeOpacity: 0.45, sort: 'ratio' }),
      whiskers(rows, 'ratio', 'low', 'high', { stroke: 'k' }),
      Plot.dot(rows, { x: 'ratio', y: 'delta', fill: 'k', r: 3.5, title: 'label' }),
    ],
  })
  const hidden = all.length - rows.length
  return {
    id,
    title,
    caption: `${rows.length} quantizations by RTN to integers of ${new Set(rows.map(row => row.training.key)).size} runs trained at 16 bits, with 95% intervals paired by token; ${fit ? `lines are the fit of ${fit.law.name}, one for each size and width` : 'a line joins a size'}.${exponents.length > 0 ? ` Growth with data at equal size: ${exponents.join('; ')} (Kumar et al.: D^0.51).` : ''}${hidden > 0 ? ` ${hidden} damages of less than ${LEAST_SHOWN} nats are not on the logarithmic scale.` : ''}`,
    svg,
  }
}

/** The same damage by learning-rate schedule at sizes that were trained with several: the rival explanation. */
export function damageBySchedule(data: ReportData): Figure {
  const [id, title] = ['delta-schedule', 'Damage by learning-rate schedule']
  const shared = [...groupBy(plainDamage(data), one => `${one.training.n}/${one.training.d}/${one.k}`).values()].filter(
    group => new Set(group.map(one => one.training.schedule)).size > 1,
  )
  const rows = onLog(shared.flat()).map(row => ({ ...row, bits: `${row.k} bits` }))
  if (rows.length < 2)
    return missing(id, title, 'one schedule only, so data and learning-rate decay cannot be told apart')
  const widths = [...new Set(rows.map(row => row.k))].sort((a, b) => a - b)
  const schedules = [...new Set(rows.map(row => row.schedule))].sort()
  // Means over seeds of the logarithm of damage, second schedule minus first, at equal size, data and width.
  const ratios = shared.flatMap(group => {
    const mean = (schedule: string) => {
      const own = group.filter(one => one.training.schedule === schedule && one.delta > LEAST_SHOWN && one.k <= 4)
      return own.reduce((sum, one) => sum + Math.log(one.delta), 0) / own.length
    }
    const difference = mean(schedules[1]) - mean(schedules[0])
    return Number.isFinite(difference) ? [difference] : []
  })
  const found = ratios.length > 2 ? meanInterval(ratios) : null
  const factor = (x: number) => Math.exp(x).toFixed(2)
  const svg = draw({
    height: 80 + 110 * widths.length,
    marginRight: 60,
    inks: nameInks(schedules, 'schedule'),
    x: logAxis(
      rows.map(row => row.d),
      'training tokens',
    ),
    y: { type: 'log', label: 'damage (nats)', ticks: 3, tickFormat: '~g' },
    fy: { label: null, domain: widths.map(k => `${k} bits`) },
    marks: [
      Plot.line(rows, {
        x: 'd',
        y: 'delta',
        fy: 'bits',
        stroke: 'schedule',
        z: (row: (typeof rows)[number]) => `${row.schedule}/${row.n}/${row.k}/${row.training.seed}`,
        sort: 'd',
        strokeOpacity: 0.4,
      }),
      whiskers(rows, 'd', 'low', 'high', { fy: 'bits', stroke: 'schedule' }),
      Plot.dot(rows, { x: 'd', y: 'delta', fy: 'bits', fill: 'schedule', r: 3.5, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `Sizes and data that were trained with ${schedules.join(' and ')} (N ${[...new Set(rows.map(row => row.n))].map(short).join(', ')}).${found ? ` At 3 and 4 bits ${schedules[1]} costs ${factor(found.mean)} times what ${schedules[0]} does [${factor(found.low)}, ${factor(found.high)}], over ${found.count} pairs.` : ''} Catalan-Tatjer et al. (arXiv 2510.06213) read the growth of damage as the work of learning-rate decay, not of data: under that reading points of one schedule would lie on one level.`,
    svg,
  }
}

/** Damage against the precision of training. */
export function damageByTrainingPrecision(data: ReportData): Figure {
  const [id, title] = ['delta-training', 'Does training in low precision make PTQ gentler?']
  const rows = data.quantized
    .filter(
      ({ method, element, training }) =>
        method === 'rtn' && element === 'int' && training.trained && training.pa >= 16 && training.pkv >= 16,
    )
    .map(one => ({
      pw: one.training.pw,
      delta: one.delta,
      low: one.interval[0],
      high: one.interval[1],
      k: one.k,
      label: `${one.training.label}, ${one.format}`,
      line: [one.format, one.training.n, one.training.d, one.training.seed, one.training.schedule].join('/'),
    }))
  if (new Set(rows.map(row => row.pw)).size < 2) return missing(id, title, 'one training precision only')
  // Sizes and data that were trained at one width alone say nothing here.
  const shown = [...groupBy(rows, row => row.line).values()]
    .filter(group => new Set(group.map(row => row.pw)).size > 1)
    .flat()
  if (shown.length === 0) return missing(id, title, 'no size and data trained at several precisions')
  const widths = [...new Set(shown.map(row => row.pw))].sort((a, b) => a - b)
  const svg = draw({
    inks: bitsInks(
      shown.map(row => row.k),
      'bits after training',
    ),
    x: { type: 'point', domain: widths, label: 'bits of the weights in training' },
    y: { type: 'sqrt', label: 'damage (nats, square-root scale)' },
    marks: [
      Plot.ruleY([0]),
      Plot.line(shown, { x: 'pw', y: 'delta', stroke: 'k', z: 'line', strokeOpacity: 0.35, sort: 'pw' }),
      whiskers(shown, 'pw', 'low', 'high', { stroke: 'k' }),
      Plot.dot(shown, { x: 'pw', y: 'delta', fill: 'k', r: 3, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${shown.length} quantizations by RTN to integers of models trained with weights of so many bits (their 32-bit masters are quantized), with 95% intervals; lines join runs of one size, data and format.`,
    svg,
  }
}

/** Where the sign of a pair's difference changes between two amounts of data: tokens, straight in the logarithm; null where it does not. */
function crossing(pairs: readonly EqualBytes[]): number | null {
  const sorted = [...pairs].sort((a, b) => a.d - b.d)
  for (let i = 1; i < sorted.length; i++) {
    const [a, b] = [sorted[i - 1], sorted[i]]
    if (a.d === b.d || a.difference < 0 === b.difference < 0) continue
    const share = a.difference / (a.difference - b.difference)
    return Math.exp(Math.log(a.d) + share * (Math.log(b.d) - Math.log(a.d)))
  }
  return null
}

/** Equal bytes: a smaller model at more bits, or a bigger one at fewer, and the D where they cross. */
export function equalBytesFigure(data: ReportData): Figure {
  const [id, title] = ['equal-bytes', 'Equal bytes: a larger model at fewer bits, or a smaller one at more?']
  const pairs = equalBytes(data)
  if (pairs.length === 0) return missing(id, title, 'no two sizes of which one quantized takes the bytes of the other')
  // Two trainings differ by the noise of both; the larger's damage carries the interval that is paired by token.
  const seeds = seedNoise(data)
  const noise = 1.96 * Math.SQRT2 * (seeds?.spread ?? 0)
  const name = ({ large, smallN, smallBits }: EqualBytes) =>
    `N ${short(large.training.n)} at ${large.k} bits against N ${short(smallN)} at ${smallBits.toFixed(1)}`
  const rows = pairs.map(pair => ({
    d: pair.d,
    difference: pair.difference,
    low: pair.difference - Math.hypot(pair.large.delta - pair.large.interval[0], noise),
    high: pair.difference + Math.hypot(pair.large.interval[1] - pair.large.delta, noise),
    k: pair.large.k,
    name: name(pair),
    line: `${name(pair)}/${pair.large.training.schedule}/${pair.large.training.seed}/${pair.large.training.family}`,
  }))
  const svg = draw({
    inks: bitsInks(
      rows.map(row => row.k),
      'bits of the larger',
    ),
    x: logAxis(
      rows.map(row => row.d),
      'training tokens',
    ),
    y: { label: 'loss of the larger minus loss of the smaller (nats)' },
    marks: [
      Plot.ruleY([0], { strokeDasharray: '3 3' }),
      Plot.line(rows, { x: 'd', y: 'difference', stroke: 'k', z: 'line', strokeOpacity: 0.5, sort: 'd' }),
      whiskers(rows, 'd', 'low', 'high', { stroke: 'k' }),
      Plot.dot(rows, { x: 'd', y: 'difference', fill: 'k', r: 4, title: 'name' }),
    ],
  })
  const crossings = [...groupBy(pairs, pair => `${name(pair)}/${pair.large.training.schedule}`).values()].flatMap(
    group => {
      const at = crossing(group)
      return at === null ? [] : [`${name(group[0])} near ${short(at)} tokens`]
    },
  )
  const most = Math.max(...pairs.map(pair => pair.d))
  const last = pairs.filter(pair => pair.d === most)
  const larger = last.filter(pair => pair.difference < 0).length
  return {
    id,
    title,
    caption: `${pairs.length} pairs, the smaller model's loss interpolated between its widths to the same stored bytes; bars are 95% of the larger's damage${seeds ? ' and of the spread between seeds' : ' alone, as no seed was repeated'}. Below zero the larger model at fewer bits wins: after ${short(most)} tokens in ${larger} of ${last.length} pairs${last.length > 2 ? ` (${printInterval(meanInterval(last.map(pair => pair.difference)))})` : ` (${last.map(pair => signed(pair.difference)).join(', ')} nats)`}. ${crossings.length > 0 ? `They cross: ${crossings.slice(0, 4).join('; ')}.` : 'No pair crosses in the range of data here.'}`,
    svg,
  }
}
