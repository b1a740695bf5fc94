// Figures of what a format costs: data types and block sizes side by side, damage and capacity in training against the
// Gaussian error.
import { describeFormat, gaussianMse } from '../../formats/index.ts'
import { plainQuantized } from '../damage.ts'
import type { Quantized, ReportData } from '../data.ts'
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
  plain,
  whiskers,
} from '../plot.ts'
import { sharePoints } from '../shares.ts'
import { groupBy, line, meanInterval, rSquared } from '../statistics.ts'

/** Mean of damage over models, one value a model; the interval runs over models. */
function meanDamage(group: readonly Quantized[]) {
  const { mean, low, high, count } = meanInterval(group.map(one => one.delta))
  return { mean, low: Math.max(low, LEAST_SHOWN), high, count }
}

/** Mean damage of each data type at each width, on the models and the block that all have. */
export function dataTypes(data: ReportData): Figure {
  const [id, title] = ['data-types', 'Data types at each width']
  const blocks = groupBy(
    plainQuantized(data).filter(one => one.method === 'rtn' && one.block !== null),
    one => one.block,
  )
  const types = (group: readonly Quantized[]) => new Set(group.map(one => one.element)).size
  const [chosen = []] = [...blocks.values()].sort((a, b) => types(b) - types(a) || b.length - a.length)
  const rows = [...groupBy(chosen, one => `${one.element}/${one.k}`).values()]
    .map(group => ({ element: group[0].element, k: group[0].k, ...meanDamage(group) }))
    .filter(row => row.mean > LEAST_SHOWN)
  const names = [...new Set(rows.map(row => row.element))].sort()
  if (names.length < 2) return missing(id, title, 'one data type only')
  // Types at one width stand side by side.
  const shown = rows.map(row => ({ ...row, at: row.k + 0.07 * (names.indexOf(row.element) - (names.length - 1) / 2) }))
  const widths = [...new Set(shown.map(row => row.k))]
  const svg = draw({
    inks: nameInks(names, 'data type'),
    x: { label: 'bits after training', ticks: widths, tickFormat: 'd' },
    y: damageAxis(shown, 'mean damage (nats)'),
    marks: [
      Plot.line(shown, { x: 'at', y: 'mean', stroke: 'element', z: 'element', sort: 'k' }),
      whiskers(shown, 'at', 'low', 'high', { stroke: 'element' }),
      Plot.dot(shown, { x: 'at', y: 'mean', fill: 'element', r: 4 }),
    ],
  })
  return {
    id,
    title,
    caption: `RTN in blocks of ${chosen[0].block} of ${Math.max(...rows.map(row => row.count))} models trained at 16 bits: means, with 95% intervals over models. The models are the same for each type, so the differences are surer than these intervals; the claims judge them in pairs. Means below ${LEAST_SHOWN} nats are not shown.`,
    svg,
  }
}

/** Damage against block size, at the widths that were measured with several. */
export function blockSizes(data: ReportData): Figure {
  const [id, title] = ['block-sizes', 'Block sizes']
  const all = plainQuantized(data).filter(one => one.method === 'rtn' && one.element === 'int' && one.block !== null)
  const rows = [...groupBy(all, one => one.k).values()]
    .filter(group => new Set(group.map(one => one.block)).size > 1)
    .flatMap(group => [...groupBy(group, one => one.block).values()])
    .map(group => ({ block: group[0].block as number, k: group[0].k, ...meanDamage(group) }))
    .filter(row => row.mean > LEAST_SHOWN)
  if (rows.length < 2) return missing(id, title, 'one block size only')
  const svg = draw({
    inks: bitsInks(
      rows.map(row => row.k),
      'bits after training',
    ),
    x: {
      type: 'log',
      base: 2,
      label: 'weights that share a scale',
      ticks: [...new Set(rows.map(row => row.block))],
      tickFormat: String,
    },
    y: damageAxis(rows, 'mean damage (nats)'),
    marks: [
      Plot.line(rows, { x: 'block', y: 'mean', stroke: 'k', z: 'k', sort: 'block' }),
      whiskers(rows, 'block', 'low', 'high', { stroke: 'k' }),
      Plot.dot(rows, { x: 'block', y: 'mean', fill: 'k', r: 4 }),
    ],
  })
  return {
    id,
    title,
    caption: `RTN to integers of ${Math.max(...rows.map(row => row.count))} models trained at 16 bits: means, with 95% intervals over models (the same for each block).`,
    svg,
  }
}

/** Damage against the Gaussian error of the format: does a format's error alone foretell its cost? */
export function gaussianError(data: ReportData): Figure {
  const [id, title] = ['gaussian-error', 'Cost of a format against its Gaussian error']
  const points = [
    ...groupBy(
      plainQuantized(data).filter(one => one.method === 'rtn'),
      one => one.format,
    ),
  ]
    .map(([format, group]) => ({
      format,
      element: group[0].element,
      k: group[0].k,
      mse: gaussianMse(format),
      ...meanDamage(group),
    }))
    .filter(row => row.mean > LEAST_SHOWN && row.mse > 0)
  if (points.length < 3) return missing(id, title, 'fewer than three formats')
  const [x, y] = [points.map(row => Math.log(row.mse)), points.map(row => Math.log(row.mean))]
  const fitted = line(x, y)
  const ends = [Math.min(...x), Math.max(...x)].map(at => ({
    mse: Math.exp(at),
    mean: fitted ? Math.exp(fitted.a + fitted.b * at) : Number.NaN,
  }))
  const svg = draw({
    inks: nameInks(points.map(row => row.element).sort(), 'data type'),
    x: logAxis(
      points.map(row => row.mse),
      'mean squared error on N(0, 1)',
      plain,
    ),
    y: damageAxis(points, 'mean damage (nats)'),
    marks: [
      ...(fitted ? [Plot.line(ends, { x: 'mse', y: 'mean', strokeDasharray: '4 3', strokeOpacity: 0.6 })] : []),
      whiskers(points, 'mse', 'low', 'high', { stroke: 'element', strokeOpacity: 0.5 }),
      Plot.dot(points, { x: 'mse', y: 'mean', r: 8, fill: 'element', title: 'format' }),
      Plot.text(points, { x: 'mse', y: 'mean', text: 'k', fontSize: 10, fill: 'white', fontWeight: 'bold' }),
    ],
  })
  return {
    id,
    title,
    caption: `${points.length} formats by RTN, each the mean over its models with a 95% interval; the number in a disc is the format's bits.${
      fitted
        ? ` A line through the logarithms has slope ${fitted.b.toFixed(2)} ± ${(1.96 * fitted.bError).toFixed(2)} (1: damage in proportion to squared error) and R² ${rSquared(
            y,
            x.map(at => fitted.a + fitted.b * at),
          ).toFixed(2)}.`
        : ''
    }`,
    svg,
  }
}

/** Capacity of training formats foretold from their Gaussian error against measured. */
export function capacity(data: ReportData): Figure {
  const [id, title] = ['capacity', 'Capacity in training: foretold by the Gaussian error, and measured']
  const points = sharePoints(data).filter(point => point.part === 'weights')
  const rows = [...groupBy(points, point => point.formatW ?? `int${point.bits}@channel/exact`)].map(
    ([format, group]) => {
      const found = meanInterval(group.map(point => point.share))
      return {
        bits: group[0].bits,
        predicted: describeFormat(format).capacity,
        measured: found.mean,
        low: Math.max(found.low, 0),
        high: found.high,
        runs: group.length,
      }
    },
  )
  if (rows.length < 2) return missing(id, title, 'fewer than two widths of weights alone beside their 16-bit partners')
  const top = Math.max(1.1, ...rows.map(row => Math.min(1.6, row.measured)))
  const svg = draw({
    inks: bitsInks(
      rows.map(row => row.bits),
      'bits of the weights in training',
    ),
    x: { label: 'N_eff / N foretold', domain: [0, 1.05] },
    y: { label: 'N_eff / N measured', domain: [0, top] },
    marks: [
      Plot.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, strokeDasharray: '3 3' }),
      whiskers(
        rows.filter(row => row.runs > 2),
        'predicted',
        'low',
        'high',
        { stroke: 'bits', clip: true },
      ),
      Plot.dot(rows, { x: 'predicted', y: 'measured', fill: 'bits', r: 5, clip: true }),
    ],
  })
  const above = rows.filter(row => row.measured > top).map(row => `${row.bits} bits (${row.measured.toFixed(1)})`)
  return {
    id,
    title,
    caption: `Means over ${points.length} runs with only their weights quantized, 95% intervals where a width has three runs or more. Foretold is what Panferov et al. (arXiv 2506.01863) fitted to other models: no constant comes from this study.${above.length > 0 ? ` Above the figure: ${above.join(', ')}.` : ''}`,
    svg,
  }
}
