// Figures of the k-bit programme: loss and accuracy against total bits, data types and block sizes, capacity by
// Gaussian error, and the bits that are best for size and for training compute.
import { describeFormat, gaussianMse } from '../../formats/index.ts'
import { type BestAtWidth, bestAtWidth, plainQuantized } from '../damage.ts'
import { type Quantized, type ReportData, short, trainedRuns } from '../data.ts'
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
import { seedNoise, sharePoints } from '../shares.ts'
import { groupBy, line, meanInterval, meanOf, rSquared } from '../statistics.ts'

/** What no model of fewer bits beats, ascending in bits. */
function frontierOf<T extends { totalBits: number; loss: number }>(rows: readonly T[]): T[] {
  let best = Number.POSITIVE_INFINITY
  return [...rows]
    .sort((a, b) => a.totalBits - b.totalBits)
    .filter(row => {
      const better = row.loss < best
      if (better) best = row.loss
      return better
    })
}

const countBy = <T>(rows: readonly T[], keyOf: (row: T) => number) =>
  [...groupBy(rows, keyOf)]
    .sort(([a], [b]) => a - b)
    .map(([k, group]) => `${k} bits ${group.length}`)
    .join(', ')

/** One amount of data under one set of conditions: the most data that the most sizes share, seeds averaged. */
function oneCondition(rows: readonly BestAtWidth[]): (BestAtWidth & { seeds: number })[] {
  const groups = [...groupBy(rows, row => row.conditions).values()]
  const sizes = (group: readonly BestAtWidth[]) => new Set(group.map(row => row.n)).size
  const [chosen = []] = groups.sort((a, b) => sizes(b) - sizes(a) || b[0].d - a[0].d)
  return [...groupBy(chosen, row => `${row.n}/${row.k}`).values()].map(group => ({
    ...group[0],
    loss: meanOf(group.map(row => row.loss)),
    seeds: group.length,
  }))
}

/** Loss against total bits: which k is best at each size, with the points of the frontier. */
export function lossAgainstBits(data: ReportData): Figure {
  const [id, title] = ['total-bits', 'Loss against total model bits']
  const rows = oneCondition(bestAtWidth(data))
  if (new Set(rows.map(row => row.k)).size < 2) return missing(id, title, 'no quantized models')
  const frontier = frontierOf(rows)
  const noise = seedNoise(data)?.spread
  const svg = draw({
    height: 430,
    inks: bitsInks(
      rows.map(row => row.k),
      'bits of the weights',
    ),
    x: logAxis(
      rows.map(row => row.totalBits),
      'total bits of the model',
    ),
    y: { label: 'loss (nats a token)', nice: true },
    marks: [
      Plot.line(frontier, {
        x: 'totalBits',
        y: 'loss',
        strokeDasharray: '4 3',
        strokeOpacity: 0.6,
        curve: 'step-after',
      }),
      Plot.line(rows, { x: 'totalBits', y: 'loss', stroke: 'k', z: 'k', sort: 'totalBits' }),
      Plot.dot(rows, { x: 'totalBits', y: 'loss', fill: 'k', r: 4, title: 'label' }),
    ],
  })
  // A tie: another width of nearly the same stored size whose loss differs by less than repeating the runs would.
  const tied = frontier.filter(row =>
    rows.some(
      other =>
        other.k !== row.k &&
        Math.abs(Math.log(other.totalBits / row.totalBits)) < 0.1 &&
        Math.abs(other.loss - row.loss) < 1.96 * Math.SQRT2 * (noise ?? 0),
    ),
  )
  const training = data.trainings.filter(one => rows.some(row => row.n === one.n))
  const rest = training.map(one => 1 - one.n / one.nTotal)
  return {
    id,
    title,
    caption: `${new Set(rows.map(row => row.n)).size} sizes trained on ${short(rows[0].d)} tokens, the best type and block at each width; a line a width. The rest of the model (embeddings, ${(100 * Math.min(...rest)).toFixed(0)} to ${(100 * Math.max(...rest)).toFixed(0)}% of the parameters) is counted at 16 bits. The dashed frontier (${countBy(frontier, row => row.k)}) is what no model of fewer bits beats${noise === undefined ? '' : `; ${tied.length} of its ${frontier.length} points tie with another width within 10% of the size, their losses no further apart than the spread between seeds explains`}.`,
    svg,
  }
}

const taskNames = (all: readonly { tasks: Quantized['tasks'] }[]) => [
  ...new Set(all.flatMap(one => Object.keys(one.tasks))),
]

/** Accuracy against total bits, tasks averaged. */
export function accuracyAgainstBits(data: ReportData): Figure {
  const [id, title] = ['accuracy-bits', 'Zero-shot accuracy against total model bits']
  const names = taskNames(data.quantized)
  const mean = (tasks: Quantized['tasks']) => {
    const scored = names.flatMap(name => tasks[name] ?? [])
    if (scored.length < names.length || names.length === 0) return null
    const error = Math.hypot(...scored.map(task => task.accStandardError)) / scored.length
    const acc = meanOf(scored.map(task => task.acc))
    return { acc, low: acc - 1.96 * error, high: acc + 1.96 * error }
  }
  const quantized = plainQuantized(data).map(one => ({ ...one, label: `${one.training.label}, ${one.format}` }))
  const plain = trainedRuns(data)
    .filter(one => one.pw >= 16 && one.pa >= 16 && one.pkv >= 16)
    .map(one => ({ k: 16, totalBits: 16 * one.nTotal, tasks: one.tasks, label: one.label }))
  const rows = [...quantized, ...plain].flatMap(({ k, totalBits, tasks, label }) => {
    const acc = mean(tasks)
    return acc === null ? [] : [{ k, totalBits, label, ...acc }]
  })
  if (rows.length < 2) return missing(id, title, 'no task was scored on quantized models')
  if (rows.every(row => row.acc === rows[0].acc))
    return missing(id, title, `every model scores ${rows[0].acc} in ${names.join(', ')}: too small to tell apart by it`)
  const svg = draw({
    inks: bitsInks(
      rows.map(row => row.k),
      'bits of the weights',
    ),
    x: logAxis(
      rows.map(row => row.totalBits),
      'total bits of the model',
    ),
    y: { label: 'mean accuracy (share of examples)', nice: true },
    marks: [
      whiskers(rows, 'totalBits', 'low', 'high', { stroke: 'k', strokeOpacity: 0.2 }),
      Plot.dot(rows, { x: 'totalBits', y: 'acc', fill: 'k', r: 3, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `Mean over ${names.join(', ')} of ${rows.length} models, bars 95% of the examples' sampling error.${names.includes('last_word') ? ' Models this small are at chance on the usual zero-shot sets; last_word asks for the last word of held-out passages, built as LAMBADA is.' : ''}`,
    svg,
  }
}

/** Loss against accuracy: does the smooth measure speak for the rough one? */
export function lossAgainstAccuracy(data: ReportData): Figure {
  const [id, title] = ['loss-accuracy', 'Loss against zero-shot accuracy']
  const rows = [
    ...data.quantized.map(one => ({ loss: one.loss, tasks: one.tasks, label: `${one.training.label}, ${one.format}` })),
    ...data.trainings,
  ].flatMap(one =>
    Object.entries(one.tasks).map(([task, { acc, accStandardError }]) => ({
      task,
      loss: one.loss,
      acc,
      low: acc - 1.96 * accStandardError,
      high: acc + 1.96 * accStandardError,
      label: one.label,
    })),
  )
  if (rows.length < 3) return missing(id, title, 'no zero-shot task was scored')
  if (rows.every(row => row.acc === rows[0].acc))
    return missing(id, title, `every model scores ${rows[0].acc}: too small to tell apart by tasks`)
  const fits = [...groupBy(rows, row => row.task)].flatMap(([task, group]) => {
    const fitted = line(
      group.map(row => row.loss),
      group.map(row => row.acc),
    )
    if (!fitted) return []
    const r2 = rSquared(
      group.map(row => row.acc),
      group.map(row => fitted.a + fitted.b * row.loss),
    )
    return Number.isFinite(r2) ? [`${task} ${r2.toFixed(2)}`] : []
  })
  const svg = draw({
    inks: nameInks(
      rows.map(row => row.task),
      'task',
    ),
    x: { label: 'loss (nats a token)' },
    y: { label: 'accuracy (share of examples)' },
    marks: [
      whiskers(rows, 'loss', 'low', 'high', { stroke: 'task', strokeOpacity: 0.2 }),
      Plot.dot(rows, { x: 'loss', y: 'acc', stroke: 'task', r: 3, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${rows.length} scored models, bars 95% of the examples' sampling error.${fits.length > 0 ? ` R² of a straight line: ${fits.join(', ')}.` : ''}`,
    svg,
  }
}

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

/** The two objectives side by side: bits for least training compute, and bits for least stored size. */
export function twoObjectives(data: ReportData): Figure {
  const [id, title] = ['objectives', 'Two objectives: training compute and stored size']
  const size = [...groupBy(bestAtWidth(data), one => `${one.conditions}/${one.seed}`).values()].flatMap(frontierOf)
  const trained = trainedRuns(data).filter(one => one.pw === one.pa && one.pa === one.pkv)
  const compute = trained.filter(
    one => !trained.some(other => other.n * other.d * other.pw <= one.n * one.d * one.pw && other.loss < one.loss),
  )
  if (size.length === 0 || !trained.some(one => one.pw < 16))
    return missing(id, title, 'both objectives need quantized models and runs with all parts at one width')
  const share = (objective: string, rows: readonly number[]) =>
    [...groupBy(rows, bits => bits)].map(([bits, group]) => ({ objective, bits, share: group.length / rows.length }))
  const rows = [
    ...share(
      'least stored size',
      size.map(one => one.k),
    ),
    ...share(
      'least training compute',
      compute.map(one => one.pw),
    ),
  ]
  const svg = draw({
    height: 270,
    marginRight: 150,
    inks: bitsInks(
      rows.map(row => row.bits),
      'bits',
    ),
    x: { type: 'band', label: 'bits', domain: [...new Set(rows.map(row => row.bits))].sort((a, b) => a - b) },
    y: { label: 'share of the frontier', tickFormat: '%', ticks: 4 },
    fy: { label: null },
    marks: [Plot.barY(rows, { x: 'bits', y: 'share', fy: 'objective', fill: 'bits' }), Plot.ruleY([0])],
  })
  return {
    id,
    title,
    caption: `Which widths lie on the frontier of loss against stored bits (${size.length} points of all amounts of data), and of loss against training compute in proportion to bits (${compute.length} of ${trained.length} runs with all parts at one width). A count, without intervals: it says what was found here, not what must be.`,
    svg,
  }
}
