// Figures of the k-bit programme: loss and accuracy against total bits, data types and block sizes, capacity by
// Gaussian error, and the bits that are best for size and for training compute.
import { gaussianMse } from '../../formats/index.ts'
import { groupBy, type Quantized, type ReportData, short } from '../data.ts'
import { fitOf, line } from '../fits.ts'
import { BITS_SCHEME, draw, type Figure, missing, Plot, whiskers } from '../plot.ts'
import { sharePoints } from './training.ts'

/** The best of each (model, k) by loss, unquantized models at 16 bits added. */
export function bestAtWidth(
  data: ReportData,
): { k: number; totalBits: number; loss: number; error: number; label: string; n: number; d: number }[] {
  const quantized = [...groupBy(data.quantized, one => `${one.training.key}/${one.k}`).values()].map(group => {
    const best = group.reduce((a, b) => (a.loss <= b.loss ? a : b))
    return {
      k: best.k,
      totalBits: best.totalBits,
      loss: best.loss,
      error: best.training.standardError,
      label: `${best.training.label}, ${best.format} ${best.method}`,
      n: best.training.n,
      d: best.training.d,
    }
  })
  const plain = data.trainings
    .filter(one => one.pw >= 16 && one.pa >= 16 && one.pkv >= 16)
    .map(one => ({
      k: 16,
      totalBits: 16 * one.nTotal,
      loss: one.loss,
      error: one.standardError,
      label: one.label,
      n: one.n,
      d: one.d,
    }))
  return [...quantized, ...plain]
}

/** Loss against total bits: which k is best at each size, with the points of the frontier. */
export function lossAgainstBits(data: ReportData): Figure {
  const [id, title] = ['total-bits', 'Loss against total model bits']
  const all = bestAtWidth(data)
  const most = Math.max(...all.map(one => one.d))
  // One amount of data at a time: the largest that several sizes share.
  const byData = [...groupBy(all, one => one.d)]
    .filter(([, group]) => new Set(group.map(one => one.n)).size > 1)
    .sort((a, b) => b[0] - a[0])
  const rows = byData[0]?.[1] ?? all.filter(one => one.d === most)
  if (new Set(rows.map(row => row.k)).size < 2) return missing(id, title, 'no quantized models')
  const ordered = [...rows].sort((a, b) => a.totalBits - b.totalBits)
  let best = Number.POSITIVE_INFINITY
  const frontier = ordered.filter(row => {
    const better = row.loss < best
    if (better) best = row.loss
    return better
  })
  const svg = draw({
    x: { type: 'log', label: 'total bits of the model', tickFormat: 's' },
    y: { label: 'loss (nats a token)' },
    color: { ...BITS_SCHEME, label: 'bits of the weights' },
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
  const tied = frontier.filter(row =>
    ordered.some(
      other =>
        other.k !== row.k &&
        Math.abs(Math.log(other.totalBits / row.totalBits)) < 0.1 &&
        Math.abs(other.loss - row.loss) < 1.96 * Math.hypot(other.error, row.error),
    ),
  )
  const counts = [...groupBy(frontier, row => row.k)].map(([k, group]) => `${k} bits ${group.length}`).join(', ')
  return {
    id,
    title,
    caption: `Models trained on ${short(rows[0].d)} tokens, the best type and block at each width. The dashed frontier (${counts}) is what no model of fewer bits beats; ${tied.length} of its ${frontier.length} points tie with another width of nearly the same size.`,
    svg,
  }
}

/** Accuracy against total bits, tasks averaged. */
export function accuracyAgainstBits(data: ReportData): Figure {
  const [id, title] = ['accuracy-bits', 'Zero-shot accuracy against total model bits']
  const mean = (tasks: Quantized['tasks']) => {
    const values = Object.values(tasks).map(task => task.acc)
    return values.length === 0 ? null : values.reduce((sum, x) => sum + x, 0) / values.length
  }
  const rows = data.quantized.flatMap(one => {
    const acc = mean(one.tasks)
    return acc === null
      ? []
      : [{ k: one.k, totalBits: one.totalBits, acc, loss: one.loss, label: `${one.training.label}, ${one.format}` }]
  })
  if (rows.length < 2) return missing(id, title, 'no task was scored on quantized models')
  const svg = draw({
    x: { type: 'log', label: 'total bits of the model', tickFormat: 's' },
    y: { label: 'mean accuracy' },
    color: { ...BITS_SCHEME, label: 'bits' },
    marks: [Plot.dot(rows, { x: 'totalBits', y: 'acc', fill: 'k', r: 3, title: 'label' })],
  })
  return {
    id,
    title,
    caption: `Mean over ${Object.keys(data.quantized.find(one => Object.keys(one.tasks).length > 0)!.tasks).join(', ')}.`,
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
  const svg = draw({
    x: { label: 'loss (nats a token)' },
    y: { label: 'accuracy' },
    color: { legend: true },
    marks: [
      whiskers(rows, 'loss', 'low', 'high', { stroke: 'task', strokeOpacity: 0.25 }),
      Plot.dot(rows, { x: 'loss', y: 'acc', stroke: 'task', r: 3, title: 'label' }),
    ],
  })
  return { id, title, caption: 'Every scored model, with 95% intervals of the accuracy.', svg }
}

/** Mean damage of each data type at each width, relative to the model's mean at that width. */
export function dataTypes(data: ReportData): Figure {
  const [id, title] = ['data-types', 'Data types at each width']
  const rows = [
    ...groupBy(
      data.quantized.filter(one => one.method === 'rtn' && one.block !== null),
      one => `${one.element}/${one.k}`,
    ).values(),
  ].map(group => {
    const deltas = group.map(one => one.delta)
    const mean = deltas.reduce((sum, x) => sum + x, 0) / deltas.length
    const error = Math.sqrt(
      deltas.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, deltas.length - 1) / deltas.length,
    )
    return {
      element: group[0].element,
      k: group[0].k,
      mean,
      low: Math.max(mean - 1.96 * error, mean / 10),
      high: mean + 1.96 * error,
      count: deltas.length,
    }
  })
  const shown = rows.filter(row => row.mean > 0)
  if (new Set(shown.map(row => row.element)).size < 2) return missing(id, title, 'one data type only')
  const svg = draw({
    x: { label: 'bits' },
    y: { type: 'log', label: 'mean damage (nats)', tickFormat: '~g' },
    color: { legend: true },
    marks: [
      Plot.line(shown, { x: 'k', y: 'mean', stroke: 'element', sort: 'k' }),
      whiskers(shown, 'k', 'low', 'high', { stroke: 'element' }),
      Plot.dot(shown, {
        x: 'k',
        y: 'mean',
        fill: 'element',
        r: 4,
        title: (row: { element: string; count: number }) => `${row.element}, ${row.count} models`,
      }),
    ],
  })
  return { id, title, caption: 'RTN in blocks, mean over models with 95% intervals over models.', svg }
}

/** Damage against block size. */
export function blockSizes(data: ReportData): Figure {
  const [id, title] = ['block-sizes', 'Block sizes']
  const rows = [
    ...groupBy(
      data.quantized.filter(one => one.method === 'rtn' && one.element === 'int' && one.block !== null),
      one => `${one.block}/${one.k}`,
    ).values(),
  ]
    .map(group => ({
      block: group[0].block as number,
      k: group[0].k,
      mean: group.reduce((sum, one) => sum + one.delta, 0) / group.length,
    }))
    .filter(row => row.mean > 0)
  if (new Set(rows.map(row => row.block)).size < 2) return missing(id, title, 'one block size only')
  const svg = draw({
    x: { type: 'log', base: 2, label: 'weights that share a scale' },
    y: { type: 'log', label: 'mean damage (nats)', tickFormat: '~g' },
    color: { ...BITS_SCHEME, label: 'bits' },
    marks: [
      Plot.line(rows, { x: 'block', y: 'mean', stroke: 'k', z: 'k', sort: 'block' }),
      Plot.dot(rows, { x: 'block', y: 'mean', fill: 'k', r: 4 }),
    ],
  })
  return { id, title, caption: 'RTN to integers, mean over models.', svg }
}

/** Damage against the Gaussian error of the format: does a format's error alone foretell its cost? */
export function gaussianError(data: ReportData): Figure {
  const [id, title] = ['gaussian-error', 'Cost of a format against its Gaussian error']
  const errors = new Map<string, number>()
  const errorOf = (format: string) => {
    if (!errors.has(format)) errors.set(format, gaussianMse(format))
    return errors.get(format) as number
  }
  const after = [
    ...groupBy(
      data.quantized.filter(one => one.method === 'rtn'),
      one => one.format,
    ),
  ].map(([format, group]) => ({
    format,
    mse: errorOf(format),
    cost: group.reduce((sum, one) => sum + one.delta, 0) / group.length,
    kind: 'damage after training (nats)',
  }))
  const points = after.filter(row => row.cost > 0 && row.mse > 0)
  if (points.length < 3) return missing(id, title, 'fewer than three formats')
  const fitted = line(
    points.map(row => Math.log(row.mse)),
    points.map(row => Math.log(row.cost)),
  )
  const svg = draw({
    x: { type: 'log', label: 'mean squared error on N(0, 1)', tickFormat: '~g' },
    y: { type: 'log', label: 'mean damage (nats)', tickFormat: '~g' },
    marks: [
      Plot.dot(points, { x: 'mse', y: 'cost', r: 4, fill: '#a463f2' }),
      Plot.text(points, { x: 'mse', y: 'cost', text: 'format', dx: 6, textAnchor: 'start', fontSize: 9 }),
    ],
  })
  return {
    id,
    title,
    caption: fitted
      ? `A line through the logarithms has slope ${fitted.b.toFixed(2)} ± ${(1.96 * fitted.bError).toFixed(2)}.`
      : '',
    svg,
  }
}

/** Capacity of training formats predicted from their Gaussian error against measured. */
export function capacity(data: ReportData): Figure {
  const [id, title] = ['capacity', 'Capacity in training: predicted from the Gaussian error, and measured']
  const fit = fitOf(data, 'gmse_wa', 'gmse')
  const points = sharePoints(data).filter(point => point.part === 'weights')
  if (!fit || points.length < 2)
    return missing(id, title, 'the Gaussian-error law was not fitted, or no run has only its weights quantized')
  const rows = [...groupBy(points, point => point.bits).values()].flatMap(group => {
    const { nEff } = fit.law.predict(fit.document.parameters, { N: 1e8, D: 1e10, P_w: group[0].bits, P_a: 16 })
    if (nEff === null || !Number.isFinite(nEff)) return []
    return [
      {
        bits: group[0].bits,
        predicted: nEff / 1e8,
        measured: group.reduce((sum, point) => sum + point.share, 0) / group.length,
      },
    ]
  })
  if (rows.length < 2) return missing(id, title, 'the Gaussian-error law says nothing about these widths')
  const svg = draw({
    x: { label: 'predicted N_eff / N' },
    y: { label: 'measured N_eff / N' },
    color: { ...BITS_SCHEME, label: 'bits of the weights' },
    marks: [
      Plot.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, strokeDasharray: '3 3' }),
      Plot.dot(rows, { x: 'predicted', y: 'measured', fill: 'bits', r: 5 }),
    ],
  })
  return { id, title, caption: 'Means over runs of one width.', svg }
}

/** The two objectives side by side: bits for least training compute, and bits for least stored size. */
export function twoObjectives(data: ReportData): Figure {
  const [id, title] = ['objectives', 'Two objectives: training compute and stored size']
  const size = [...groupBy(bestAtWidth(data), one => one.d).values()].flatMap(group => {
    const ordered = [...group].sort((a, b) => a.totalBits - b.totalBits)
    let best = Number.POSITIVE_INFINITY
    return ordered.filter(row => {
      const better = row.loss < best
      if (better) best = row.loss
      return better
    })
  })
  const trained = data.trainings.filter(one => one.trained && one.pw === one.pa && one.pa === one.pkv)
  const compute = trained.filter(
    one => !trained.some(other => other.n * other.d * other.pw <= one.n * one.d * one.pw && other.loss < one.loss),
  )
  const rows = [
    ...size.map(one => ({ objective: 'least stored size', bits: one.k })),
    ...compute.map(one => ({ objective: 'least training compute', bits: one.pw })),
  ]
  if (new Set(rows.map(row => row.objective)).size < 2)
    return missing(id, title, 'both objectives need quantized models and runs with all parts at one width')
  const svg = draw({
    height: 260,
    x: { label: 'bits' },
    y: { label: 'models on the frontier' },
    fy: { label: null },
    marks: [
      Plot.rectY(
        rows,
        Plot.binX({ y: 'count' }, {
          x: 'bits',
          fy: 'objective',
          interval: 1,
          fill: 'objective',
        } as Plot.BinXInputs<Plot.RectYOptions>),
      ),
      Plot.ruleY([0]),
    ],
  })
  return {
    id,
    title,
    caption:
      'How often each width lies on the frontier of loss against stored bits, and of loss against training compute proportional to bits.',
    svg,
  }
}
