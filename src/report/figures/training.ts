// Figures of training in low precision: loss against data, effective parameters, independence of the parts, optimal
// precision, and the law on sizes that it did not see.

import { groupBy, precisionWords, type ReportData, short, type Training } from '../data.ts'
import { configurationOf, effectiveShare, fitOf, rSquared } from '../fits.ts'
import { BITS_SCHEME, draw, type Figure, missing, Plot, whiskers } from '../plot.ts'

const PARTS = [
  { key: 'pw', column: 'P_w', name: 'weights' },
  { key: 'pa', column: 'P_a', name: 'activations' },
  { key: 'pkv', column: 'P_kv', name: 'KV cache' },
] as const

/** The part that alone is quantized, or undefined where none or several are. */
function onlyPart(training: Training): (typeof PARTS)[number] | undefined {
  const quantized = PARTS.filter(part => training[part.key] < 16)
  return quantized.length === 1 ? quantized[0] : undefined
}

const isPlain = (training: Training) => PARTS.every(part => training[part.key] >= 16)
const trained = (data: ReportData) => data.trainings.filter(training => training.trained)
const sizeName = (n: number) => `N = ${short(n)}`

/** Loss against training tokens, a line a precision of the weights, a panel a size. */
export function lossAgainstData(data: ReportData): Figure {
  const [id, title] = ['loss-data', 'Loss against data, by precision of the weights']
  const rows = trained(data)
    .filter(one => one.pa >= 16 && one.pkv >= 16)
    .map(one => ({
      ...one,
      size: sizeName(one.n),
      low: one.loss - 1.96 * one.standardError,
      high: one.loss + 1.96 * one.standardError,
    }))
  if (rows.length < 2) return missing(id, title, 'fewer than two finished trainings')
  const fit = fitOf(data, 'kumar_unified_train', 'chinchilla_tied', 'chinchilla')
  const curves = !fit
    ? []
    : [...groupBy(rows, one => `${one.n}/${one.pw}`).values()].flatMap(group => {
        const [first] = group
        const [low, high] = [Math.min(...group.map(one => one.d)), Math.max(...group.map(one => one.d))]
        if (low === high) return []
        return Array.from({ length: 25 }, (_, i) => {
          const d = low * (high / low) ** (i / 24)
          return {
            d,
            size: first.size,
            pw: first.pw,
            loss: fit.law.predict(fit.document.parameters, { ...configurationOf(first), D: d }).loss,
            line: `${first.n}/${first.pw}`,
          }
        })
      })
  const svg = draw({
    height: 180 + 140 * Math.ceil(new Set(rows.map(one => one.size)).size / 2),
    x: { type: 'log', label: 'training tokens', tickFormat: 's' },
    y: { label: 'loss (nats a token)' },
    color: { ...BITS_SCHEME, label: 'bits of the weights' },
    fy: { label: null },
    marks: [
      Plot.line(curves, { x: 'd', y: 'loss', fy: 'size', stroke: 'pw', z: 'line', strokeOpacity: 0.7 }),
      whiskers(rows, 'd', 'low', 'high', { fy: 'size', stroke: 'pw' }),
      Plot.dot(rows, { x: 'd', y: 'loss', fy: 'size', fill: 'pw', r: 3.5, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `Points are runs on held-out text with 95% intervals of the text's sampling error${fit ? `; lines are the fit of ${fit.law.name}` : ''}.`,
    svg,
  }
}

/** Runs of the same size, data, schedule, seed, corpus and family with nothing quantized. */
function partnerOf(data: ReportData, training: Training): Training | undefined {
  return trained(data).find(
    one =>
      isPlain(one) &&
      one.n === training.n &&
      one.d === training.d &&
      one.schedule === training.schedule &&
      one.seed === training.seed &&
      one.corpus === training.corpus &&
      one.family === training.family,
  )
}

/** N_eff / N measured at each width of each part: each run against its own 16-bit partner, by the slope of the fitted law. */
export function sharePoints(data: ReportData) {
  const fit = fitOf(data, 'kumar_unified_train', 'chinchilla_tied', 'chinchilla')
  if (!fit) return []
  return trained(data).flatMap(one => {
    const part = onlyPart(one)
    const partner = part && partnerOf(data, one)
    if (!part || !partner) return []
    const plain = { ...configurationOf(partner) }
    const modelled = fit.law.predict(fit.document.parameters, plain).loss
    if (modelled === null) return []
    // The run's distance from its partner is set on the law's own value there: what both share cancels.
    const share = effectiveShare(fit.law, fit.document.parameters, one, modelled + one.loss - partner.loss)
    return share === null
      ? []
      : [{ part: part.name, column: part.column, bits: one[part.key], share, n: one.n, d: one.d, label: one.label }]
  })
}

/** Effective parameters against bits for each part. */
export function effectiveParameters(data: ReportData): Figure {
  const [id, title] = ['n-eff', 'Effective parameters against bits of weights, activations and KV cache']
  const points = sharePoints(data)
  if (points.length < 2)
    return missing(id, title, 'no runs with one quantized part beside their 16-bit partners, or no fitted law')
  const fit = fitOf(data, 'kumar_unified_train')
  const means = [...groupBy(points, point => `${point.part}/${point.bits}`).values()].map(group => {
    const shares = group.map(point => point.share)
    const mean = shares.reduce((sum, x) => sum + x, 0) / shares.length
    const error = Math.sqrt(
      shares.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, shares.length - 1) / shares.length,
    )
    return { ...group[0], share: mean, low: mean - 1.96 * error, high: mean + 1.96 * error, runs: shares.length }
  })
  const curves = !fit
    ? []
    : PARTS.flatMap(part =>
        points.some(point => point.part === part.name)
          ? Array.from({ length: 60 }, (_, i) => {
              const bits = 2 + (14 * i) / 59
              const { nEff } = fit.law.predict(fit.document.parameters, { N: 1e8, D: 1e10, [part.column]: bits })
              const { nEff: full } = fit.law.predict(fit.document.parameters, { N: 1e8, D: 1e10 })
              return { part: part.name, bits, share: (nEff ?? Number.NaN) / (full ?? 1) }
            }).filter(point => point.share > 0)
          : [],
      )
  const svg = draw({
    x: { label: 'bits in training', domain: [2, 16] },
    y: { label: 'N_eff / N', domain: [0, Math.max(1.1, ...means.map(one => Math.min(1.6, one.high)))] },
    color: { legend: true, domain: PARTS.map(part => part.name) },
    marks: [
      Plot.ruleY([1], { strokeDasharray: '3 3' }),
      Plot.line(curves, { x: 'bits', y: 'share', stroke: 'part' }),
      Plot.dot(points, { x: 'bits', y: 'share', stroke: 'part', r: 2, strokeOpacity: 0.5, title: 'label', clip: true }),
      whiskers(means, 'bits', 'low', 'high', { stroke: 'part', clip: true }),
      Plot.dot(means, { x: 'bits', y: 'share', fill: 'part', r: 4, clip: true }),
    ],
  })
  return {
    id,
    title,
    caption:
      'Each small ring is a run against its 16-bit partner; large points are means with 95% intervals over runs; curves are the fitted factors of Kumar et al.',
    svg,
  }
}

/** Loss of jointly quantized runs as the product of the parts' own factors predicts it. */
export function jointRows(data: ReportData) {
  const fit = fitOf(data, 'kumar_unified_train', 'chinchilla_tied', 'chinchilla')
  const marginals = new Map(
    [...groupBy(sharePoints(data), point => `${point.column}/${point.bits}`)].map(([key, group]) => [
      key,
      group.reduce((sum, point) => sum + point.share, 0) / group.length,
    ]),
  )
  if (!fit) return []
  return trained(data).flatMap(one => {
    const quantized = PARTS.filter(part => one[part.key] < 16)
    const partner = quantized.length > 1 && partnerOf(data, one)
    if (!partner) return []
    let share = 1
    for (const part of quantized) share *= marginals.get(`${part.column}/${one[part.key]}`) ?? Number.NaN
    const at = (n: number) => fit.law.predict(fit.document.parameters, { N: n, D: one.d }).loss ?? Number.NaN
    const predicted = partner.loss + at(one.n * share) - at(one.n)
    return Number.isFinite(predicted)
      ? [{ measured: one.loss, predicted, label: one.label, precision: precisionWords(one) }]
      : []
  })
}

/** Joint runs against the product of marginals: are the parts' effects independent? */
export function independence(data: ReportData): Figure {
  const [id, title] = ['independence', 'Joint quantization against the product of its parts']
  const rows = jointRows(data)
  if (rows.length < 2)
    return missing(id, title, 'fewer than two jointly quantized runs whose parts were also measured alone')
  const r2 = rSquared(
    rows.map(row => row.measured),
    rows.map(row => row.predicted),
  )
  const svg = draw({
    x: { label: 'loss predicted by the product of the parts' },
    y: { label: 'loss measured' },
    marks: [
      Plot.link([0], {
        x1: Math.min(...rows.map(row => row.predicted)),
        x2: Math.max(...rows.map(row => row.predicted)),
        y1: Math.min(...rows.map(row => row.predicted)),
        y2: Math.max(...rows.map(row => row.predicted)),
        strokeDasharray: '3 3',
      }),
      Plot.dot(rows, { x: 'predicted', y: 'measured', r: 4, fill: '#4269d0', title: 'label' }),
      Plot.text(rows, { x: 'predicted', y: 'measured', text: 'precision', dx: 6, textAnchor: 'start', fontSize: 9 }),
    ],
  })
  return {
    id,
    title,
    caption: `Each point is a run with two or three quantized parts${Number.isFinite(r2) ? `; R² of the product of marginals is ${r2.toFixed(4)} (the paper: 0.9006 marginal, 0.8973 joint fit of N_eff)` : ''}.`,
    svg,
  }
}

/** Compute-optimal precision, measured: the best loss reached at each training precision against compute proportional to bits. */
export function optimalPrecision(data: ReportData): Figure {
  const [id, title] = ['optimal-precision', 'Best loss against compute, by precision of all parts']
  const rows = trained(data)
    .filter(one => isPlain(one) || (one.pw === one.pa && one.pa === one.pkv))
    .map(one => ({ ...one, cost: (6 * one.n * one.d * one.pw) / 16, bits: one.pw }))
  if (new Set(rows.map(row => row.bits)).size < 2)
    return missing(id, title, 'no runs with weights, activations and KV cache at the same width')
  const fit = fitOf(data, 'kumar_unified_train')
  const optimal = fit?.law.predict(fit.document.parameters, { N: 1e6, D: 1e8 }).optimalBits
  const svg = draw({
    x: { type: 'log', label: 'training compute (6/16 · N · D · P, FLOP)', tickFormat: '.0e' },
    y: { label: 'loss (nats a token)' },
    color: { ...BITS_SCHEME, label: 'bits' },
    marks: [
      Plot.dot(rows, { x: 'cost', y: 'loss', fill: 'bits', r: 4, title: 'label' }),
      Plot.line([...groupBy(rows, row => `${row.bits}/${row.n}`).values()].flat(), {
        x: 'cost',
        y: 'loss',
        stroke: 'bits',
        z: (row: { bits: number; n: number }) => `${row.bits}/${row.n}`,
        strokeOpacity: 0.6,
      }),
    ],
  })
  return {
    id,
    title,
    caption: `The lowest points at a given compute show which precision pays${optimal ? `; the fitted law puts the optimum at ${optimal.toFixed(1)} bits (the paper: 7 to 8)` : ''}.`,
    svg,
  }
}

/** Measured against predicted loss of the fitted training law, the largest size apart. */
export function measuredAgainstPredicted(data: ReportData): Figure {
  const [id, title] = ['unified', 'The fitted law: measured against predicted']
  const fit = fitOf(data, 'kumar_unified', 'kumar_unified_train')
  if (!fit) return missing(id, title, 'no law was fitted')
  const largest = Math.max(...trained(data).map(one => one.n))
  const predict = (configuration: Record<string, number | null>) =>
    fit.law.predict(fit.document.parameters, configuration).loss
  const rows = [
    ...trained(data).map(one => ({
      measured: one.loss,
      predicted: predict(configurationOf(one) as Record<string, number>),
      kind: one.n === largest ? 'largest size' : 'training',
      label: one.label,
    })),
    ...(fit.law.name === 'kumar_unified'
      ? data.quantized
          .filter(one => one.training.trained && one.method === 'rtn')
          .map(one => ({
            measured: one.loss,
            predicted: predict({ ...(configurationOf(one.training) as Record<string, number>), P_post: one.k }),
            kind: 'after PTQ',
            label: `${one.training.label}, ${one.format}`,
          }))
      : []),
  ].filter(row => row.predicted !== null && Number.isFinite(row.predicted))
  if (rows.length < 3) return missing(id, title, 'fewer than three runs that the law speaks of')
  const r2 = rSquared(
    rows.map(row => row.measured),
    rows.map(row => row.predicted as number),
  )
  const ends = [Math.min(...rows.map(row => row.measured)), Math.max(...rows.map(row => row.measured))]
  const svg = draw({
    x: { label: 'predicted loss (nats a token)' },
    y: { label: 'measured loss' },
    color: { legend: true },
    marks: [
      Plot.link([0], { x1: ends[0], y1: ends[0], x2: ends[1], y2: ends[1], strokeDasharray: '3 3' }),
      Plot.dot(rows, { x: 'predicted', y: 'measured', stroke: 'kind', r: 3, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${fit.law.name} on ${rows.length} runs, R² ${r2.toFixed(4)} (the papers print 0.97 and 0.90 for their unified fits).`,
    svg,
  }
}

/** The spread between seeds, and the laws' held-out errors in units of it. */
export function heldOut(data: ReportData): Figure {
  const [id, title] = ['held-out', 'Laws on the largest size, which they did not see']
  const documents = data.study.fits
    .map(row => row.document as { law: string; rmse?: number; heldOut?: { rmse: number; rows: number } | null })
    .filter(one => one.heldOut)
  if (documents.length === 0) return missing(id, title, 'no law was fitted with a size held out')
  const spread = seedSpread(data)
  const rows = documents.map(one => ({
    law: one.law,
    error: one.heldOut!.rmse / (spread ?? 1),
    rows: one.heldOut!.rows,
  }))
  const svg = draw({
    height: 80 + 34 * rows.length,
    marginLeft: 170,
    x: {
      label: spread
        ? `held-out error, in units of the spread between seeds (${spread.toFixed(4)} nats)`
        : 'held-out error (nats)',
    },
    y: { label: null },
    marks: [
      Plot.barX(rows, { x: 'error', y: 'law', fill: '#6cc5b0', sort: { y: 'x' } }),
      Plot.text(rows, {
        x: 'error',
        y: 'law',
        text: (row: { error: number }) => row.error.toPrecision(3),
        dx: 4,
        textAnchor: 'start',
      }),
      ...(spread ? [Plot.ruleX([1], { strokeDasharray: '3 3' })] : []),
    ],
  })
  return {
    id,
    title,
    caption: spread
      ? 'A law at 1 predicts as well as repeating the run would.'
      : 'No run was repeated with another seed, so errors are in nats.',
    svg,
  }
}

/** Standard deviation of loss between runs that differ in the seed alone, pooled; null where none were repeated. */
export function seedSpread(data: ReportData): number | null {
  let squares = 0
  let freedom = 0
  for (const group of groupBy(trained(data), one =>
    [one.n, one.d, one.pw, one.pa, one.pkv, one.schedule, one.corpus, one.family].join('/'),
  ).values()) {
    if (group.length < 2) continue
    const mean = group.reduce((sum, one) => sum + one.loss, 0) / group.length
    squares += group.reduce((sum, one) => sum + (one.loss - mean) ** 2, 0)
    freedom += group.length - 1
  }
  return freedom > 0 ? Math.sqrt(squares / freedom) : null
}

/** Cost of low precision by family and architecture. */
export function byFamily(data: ReportData): Figure {
  const [id, title] = ['families', 'Cost of low precision by family']
  const rows = trained(data).flatMap(one => {
    const partner = isPlain(one) ? undefined : partnerOf(data, one)
    return partner
      ? [{ family: one.family, precision: precisionWords(one), cost: one.loss - partner.loss, label: one.label }]
      : []
  })
  if (new Set(rows.map(row => row.family)).size < 2) return missing(id, title, 'one family only')
  const svg = draw({
    marginLeft: 90,
    marginBottom: 60,
    x: { label: 'loss above the 16-bit partner (nats)' },
    y: { label: null },
    color: { legend: true },
    marks: [Plot.ruleX([0]), Plot.dot(rows, { x: 'cost', y: 'precision', stroke: 'family', r: 4, title: 'label' })],
  })
  return {
    id,
    title,
    caption: 'Each point is a run against the run of the same size, data and family with nothing quantized.',
    svg,
  }
}
