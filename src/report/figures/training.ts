// Figures of training in low precision: loss against data, effective parameters, independence of the parts, optimal
// precision, cost by family.

import { conditionsOf, isPlain, precisionWords, type ReportData, short, trainedRuns } from '../data.ts'
import { configurationOf, fitOf, resamplesOf } from '../fits.ts'
import { bitsInks, draw, type Figure, logAxis, missing, nameInks, Plot, whiskers } from '../plot.ts'
import { fittedOptimum, jointRows, PARTS, partnerOf, seedNoise, sharePoints, trainingFit } from '../shares.ts'
import { groupBy, meanInterval, meanOf, rSquared } from '../statistics.ts'

const sizeName = (n: number) => `N = ${short(n)}`

/** Loss against training tokens, an ink a precision of the weights, a panel a size. */
export function lossAgainstData(data: ReportData): Figure {
  const [id, title] = ['loss-data', 'Loss against data, by precision of the weights']
  const rows = trainedRuns(data)
    .filter(one => one.pa >= 16 && one.pkv >= 16)
    .map(one => ({
      ...one,
      size: sizeName(one.n),
      low: one.loss - 1.96 * one.standardError,
      high: one.loss + 1.96 * one.standardError,
    }))
    .sort((a, b) => a.n - b.n)
  if (rows.length < 2) return missing(id, title, 'fewer than two finished trainings')
  const fit = trainingFit(data)
  const curves = !fit
    ? []
    : [...groupBy(rows, one => `${one.n}/${one.pw}`).values()].flatMap(group => {
        const [first] = group
        const [low, high] = [Math.min(...group.map(one => one.d)), Math.max(...group.map(one => one.d))]
        if (low === high) return []
        return Array.from({ length: 25 }, (_, i) => {
          const d = low * (high / low) ** (i / 24)
          const { loss } = fit.law.predict(fit.document.parameters, { ...configurationOf(first), D: d })
          return { d, loss, size: first.size, pw: first.pw, line: `${first.n}/${first.pw}` }
        })
      })
  const sizes = [...new Set(rows.map(one => one.size))]
  const svg = draw({
    height: 90 + 120 * sizes.length,
    marginRight: 80,
    inks: bitsInks(
      rows.map(row => row.pw),
      'bits of the weights in training',
    ),
    x: logAxis(
      rows.map(one => one.d),
      'training tokens',
    ),
    y: { label: 'loss (nats a token)', nice: true, ticks: 5 },
    fy: { label: null, domain: sizes },
    marks: [
      Plot.line(curves, { x: 'd', y: 'loss', fy: 'size', stroke: 'pw', z: 'line', strokeOpacity: 0.7 }),
      whiskers(rows, 'd', 'low', 'high', { fy: 'size', stroke: 'pw' }),
      Plot.dot(rows, { x: 'd', y: 'loss', fy: 'size', fill: 'pw', r: 3.5, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${rows.length} runs with activations and KV cache at 16 bits, a panel a size; bars are 95% intervals of the held-out text's sampling error, often smaller than the point${fit ? `; lines are the fit of ${fit.law.name}` : ''}.`,
    svg,
  }
}

/** The fitted factor of N_eff at every width, with the 95% band of its resamples. */
function factorCurves(data: ReportData, parts: ReadonlySet<string>) {
  const fit = fitOf(data, 'kumar_unified_train')
  if (!fit) return []
  const resamples = resamplesOf(fit.document)
  return PARTS.filter(part => parts.has(part.name)).flatMap(part =>
    Array.from({ length: 57 }, (_, i) => {
      const bits = 2 + i / 4
      const shareAt = (parameters: typeof fit.document.parameters) => {
        const at = (extra: Record<string, number>) => fit.law.predict(parameters, { N: 1e8, D: 1e10, ...extra }).nEff
        return (at({ [part.column]: bits }) ?? Number.NaN) / (at({}) ?? Number.NaN)
      }
      const many = resamples
        .map(shareAt)
        .filter(Number.isFinite)
        .sort((a, b) => a - b)
      const [low, high] =
        many.length < 20
          ? [Number.NaN, Number.NaN]
          : [many[Math.floor(0.025 * many.length)], many[Math.ceil(0.975 * many.length) - 1]]
      return { part: part.name, bits, share: shareAt(fit.document.parameters), low, high }
    }).filter(point => point.share > 0),
  )
}

/** Effective parameters against bits for each part. */
export function effectiveParameters(data: ReportData): Figure {
  const [id, title] = ['n-eff', 'Effective parameters against bits of weights, activations and KV cache']
  const points = sharePoints(data)
  if (points.length < 2)
    return missing(id, title, 'no runs with one quantized part beside their 16-bit partners, or no fitted law')
  // Parts at one width stand side by side.
  const aside: Record<string, number> = { weights: -0.12, activations: 0, 'KV cache': 0.12 }
  const rings = points.map(point => ({ ...point, at: point.bits + aside[point.part] }))
  const means = [...groupBy(rings, point => `${point.part}/${point.bits}`).values()].map(group => {
    const found = meanInterval(group.map(point => point.share))
    return { ...group[0], share: found.mean, low: Math.max(found.low, 0), high: found.high, runs: group.length }
  })
  const curves = factorCurves(data, new Set(points.map(point => point.part)))
  const top = Math.max(1.1, ...points.map(one => Math.min(1.6, one.share)))
  const svg = draw({
    inks: nameInks(
      PARTS.map(part => part.name),
      'quantized part',
    ),
    x: { label: 'bits in training', domain: [2, 16], ticks: [2, 3, 4, 5, 6, 8, 10, 12, 16] },
    y: { label: 'N_eff / N', domain: [0, top] },
    marks: [
      Plot.ruleY([1], { strokeDasharray: '3 3' }),
      Plot.areaY(
        curves.filter(point => Number.isFinite(point.low)),
        { x: 'bits', y1: 'low', y2: 'high', fill: 'part', fillOpacity: 0.12, clip: true },
      ),
      Plot.line(curves, { x: 'bits', y: 'share', stroke: 'part', z: 'part', clip: true }),
      Plot.dot(rings, { x: 'at', y: 'share', stroke: 'part', r: 2.5, strokeOpacity: 0.7, title: 'label', clip: true }),
      whiskers(
        means.filter(one => one.runs > 2),
        'at',
        'low',
        'high',
        { stroke: 'part', clip: true },
      ),
      Plot.dot(means, { x: 'at', y: 'share', fill: 'part', r: 4.5, clip: true }),
    ],
  })
  const above = points.filter(point => point.share > top).length
  return {
    id,
    title,
    caption: `Each of the ${points.length} rings is a run against its 16-bit partner; discs are means, with 95% intervals where there are three runs or more.${curves.length > 0 ? ' Curves are the fitted factors of Kumar et al., with the 95% band of resampled runs.' : ''}${above > 0 ? ` ${above === 1 ? 'One ring lies' : `${above} rings lie`} above the figure.` : ''}`,
    svg,
  }
}

/** Joint runs against the product of marginals: are the parts' effects independent? */
export function independence(data: ReportData): Figure {
  const [id, title] = ['independence', 'Joint quantization against the product of its parts']
  const noise = seedNoise(data)?.spread
  const rows = jointRows(data).map(row => ({
    ...row,
    low: row.measured - 1.96 * (noise ?? Number.NaN),
    high: row.measured + 1.96 * (noise ?? Number.NaN),
  }))
  if (rows.length < 2)
    return missing(id, title, 'fewer than two jointly quantized runs whose parts were also measured alone')
  const measured = rows.map(row => row.measured)
  const r2 = (predicted: number[]) => rSquared(measured, predicted)
  const [product, joint] = [r2(rows.map(row => row.predicted)), r2(rows.map(row => row.fitted))]
  const ends = [Math.min(...rows.map(row => row.predicted)), Math.max(...rows.map(row => row.predicted))]
  const svg = draw({
    marginRight: 40,
    inks: nameInks(rows.map(row => row.precision).sort(), 'bits in training'),
    x: { label: 'loss predicted by the product of the parts (nats a token)' },
    y: { label: 'loss measured (nats a token)' },
    marks: [
      Plot.link([0], { x1: ends[0], x2: ends[1], y1: ends[0], y2: ends[1], strokeDasharray: '3 3' }),
      ...(noise === undefined ? [] : [whiskers(rows, 'predicted', 'low', 'high', { stroke: 'precision' })]),
      Plot.dot(rows, { x: 'predicted', y: 'measured', r: 4.5, fill: 'precision', title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${rows.length} runs with two or three quantized parts; on the dashed line the parts act independently.${noise === undefined ? '' : ' Bars are 1.96 times the spread between seeds.'}${Number.isFinite(product) ? ` R² of the product of marginals is ${product.toFixed(4)} (the paper: 0.9006)${Number.isFinite(joint) ? `, of the joint fit on the same runs ${joint.toFixed(4)} (the paper: 0.8973)` : ''}.` : ''}`,
    svg,
  }
}

/** Compute-optimal precision, measured: the best loss reached at each training precision against compute proportional to bits. */
export function optimalPrecision(data: ReportData): Figure {
  const [id, title] = ['optimal-precision', 'Best loss against compute, by precision of all parts']
  const runs = trainedRuns(data)
    .filter(one => isPlain(one) || (one.pw === one.pa && one.pa === one.pkv))
    .map(one => ({ ...one, cost: (6 * one.n * one.d * one.pw) / 16, bits: one.pw }))
  if (new Set(runs.map(row => row.bits)).size < 2)
    return missing(id, title, 'no runs with weights, activations and KV cache at the same width')
  // Seeds are averaged; a line joins the amounts of data of one size.
  const rows = [...groupBy(runs, one => `${one.bits}/${one.n}/${conditionsOf(one)}`).values()].map(group => ({
    ...group[0],
    loss: meanOf(group.map(one => one.loss)),
    line: [group[0].bits, group[0].n, group[0].schedule, group[0].corpus, group[0].family].join('/'),
    error: 1.96 * group[0].standardError,
  }))
  const optimum = fittedOptimum(data)
  const found =
    optimum?.bits == null
      ? ''
      : `; the fitted law puts the optimum at ${optimum.bits.toFixed(1)} bits${optimum.interval ? ` [${optimum.interval.map(x => x.toFixed(1)).join(', ')}]` : ''} (the paper: 7 to 8)`
  const svg = draw({
    inks: bitsInks(
      rows.map(row => row.bits),
      'bits of weights, activations and KV cache',
    ),
    x: logAxis(
      rows.map(row => row.cost),
      'training compute (6/16 · N · D · P, FLOP)',
      cost => cost.toExponential(0).replace('+', ''),
    ),
    y: { label: 'loss (nats a token)', nice: true },
    marks: [
      Plot.line(rows, { x: 'cost', y: 'loss', stroke: 'bits', z: 'line', sort: 'cost', strokeOpacity: 0.5 }),
      whiskers(
        rows.map(row => ({ ...row, low: row.loss - row.error, high: row.loss + row.error })),
        'cost',
        'low',
        'high',
        { stroke: 'bits' },
      ),
      Plot.dot(rows, { x: 'cost', y: 'loss', fill: 'bits', r: 4, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${runs.length} runs with all parts at one width, seeds averaged; lines join the amounts of data of one size. The lowest points at a given compute show which precision pays${found}.`,
    svg,
  }
}

/** Cost of low precision by family and architecture. */
export function byFamily(data: ReportData): Figure {
  const [id, title] = ['families', 'Cost of low precision by family']
  const all = trainedRuns(data).flatMap(one => {
    const partner = isPlain(one) ? undefined : partnerOf(data, one)
    return partner
      ? [{ family: one.family, precision: precisionWords(one), cost: one.loss - partner.loss, label: one.label }]
      : []
  })
  if (new Set(all.map(row => row.family)).size < 2) return missing(id, title, 'one family only')
  // What every family was trained at can be compared.
  const families = new Set(all.map(row => row.family)).size
  const rows = [...groupBy(all, row => row.precision).values()]
    .filter(group => new Set(group.map(row => row.family)).size === families)
    .flat()
  if (rows.length === 0) return missing(id, title, 'no precision that all families were trained at')
  const precisions = [...new Set(rows.map(row => row.precision))].sort((a, b) =>
    a.localeCompare(b, 'en', { numeric: true }),
  )
  const svg = draw({
    height: 90 + 28 * precisions.length,
    marginLeft: 100,
    inks: nameInks(
      rows.map(row => row.family),
      'family',
    ),
    x: { label: 'loss above the 16-bit partner (nats)' },
    y: { label: null, type: 'point', domain: precisions, padding: 1 },
    marks: [
      Plot.ruleX([0]),
      Plot.dot(rows, { x: 'cost', y: 'precision', stroke: 'family', strokeWidth: 1.6, r: 4, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${rows.length} runs, each against the run of the same size, data, seed and family with nothing quantized; only precisions that all families were trained at.`,
    svg,
  }
}
