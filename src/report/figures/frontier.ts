// Figures of what a model of so many bits can do: loss and accuracy against total bits, one against the other, and the
// bits that are best for stored size and for training compute.
import { type BestAtWidth, bestAtWidth, plainQuantized } from '../damage.ts'
import { type Quantized, type ReportData, short, trainedRuns } from '../data.ts'
import { bitsInks, draw, type Figure, logAxis, missing, nameInks, Plot, whiskers } from '../plot.ts'
import { seedNoise } from '../shares.ts'
import { groupBy, line, meanOf, rSquared } from '../statistics.ts'

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
