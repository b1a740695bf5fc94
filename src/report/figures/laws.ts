// Figures of the fitted laws: measured against predicted, and the size that they did not see.
import { findLaw } from '../../laws/index.ts'
import type { Configuration } from '../../laws/law.ts'
import { rowsForLaw, type TableRow, tableRows } from '../../study/rows.ts'
import { precisionWords, type ReportData, short } from '../data.ts'
import { fitOf, PAPER_R2 } from '../fits.ts'
import { draw, type Figure, missing, nameInks, Plot } from '../plot.ts'
import { seedNoise } from '../shares.ts'
import { rSquared } from '../statistics.ts'

/** Measured against predicted loss of the fitted unified law, on the rows that it was fitted to. */
export function measuredAgainstPredicted(data: ReportData): Figure {
  const [id, title] = ['unified', 'The fitted law: measured against predicted']
  const fit = fitOf(data, 'kumar_unified', 'kumar_unified_train')
  if (!fit) return missing(id, title, 'no law was fitted')
  const { law, document } = fit
  const bits = (row: TableRow, part: string) => Number(row[part] ?? 16)
  const rows = rowsForLaw(law, tableRows(data.study.runs, data.study.measurements)).flatMap(row => {
    const predicted = law.predict(document.parameters, row as Configuration).loss
    if (predicted === null || !Number.isFinite(predicted) || row['loss'] === null) return []
    const trained = ['P_w', 'P_a', 'P_kv'].every(part => bits(row, part) >= 16) ? '16 bits' : 'fewer bits'
    const words = precisionWords({ pw: bits(row, 'P_w'), pa: bits(row, 'P_a'), pkv: bits(row, 'P_kv') })
    return [
      {
        measured: Number(row['loss']),
        predicted,
        kind: `trained at ${trained}${row['P_post'] === null ? '' : ', after PTQ'}`,
        label: `N ${short(Number(row['N']))}, D ${short(Number(row['D']))}, ${words} ${row['format_post'] ?? ''}`,
      },
    ]
  })
  if (rows.length < 3) return missing(id, title, 'fewer than three runs that the law speaks of')
  const r2 = rSquared(
    rows.map(row => row.measured),
    rows.map(row => row.predicted),
  )
  const ends = [Math.min(...rows.map(row => row.measured)), Math.max(...rows.map(row => row.measured))]
  const svg = draw({
    inks: nameInks(rows.map(row => row.kind).sort(), 'losses'),
    x: { label: 'predicted loss (nats a token)' },
    y: { label: 'measured loss (nats a token)' },
    marks: [
      Plot.link([0], { x1: ends[0], y1: ends[0], x2: ends[1], y2: ends[1], strokeDasharray: '3 3' }),
      Plot.dot(rows, { x: 'predicted', y: 'measured', stroke: 'kind', strokeWidth: 1.4, r: 3, title: 'label' }),
    ],
  })
  return {
    id,
    title,
    caption: `${law.name} on the ${rows.length} losses it was fitted to, so this is no test of prediction (the held-out errors are); R² ${r2.toFixed(4)}${PAPER_R2[law.name] ? ` (Kumar et al. print ${PAPER_R2[law.name]})` : ''}.`,
    svg,
  }
}

/** The spread between seeds, and the laws' held-out errors in units of it. */
export function heldOut(data: ReportData): Figure {
  const [id, title] = ['held-out', 'Laws on runs that they did not see']
  const documents = data.study.fits
    .map(row => row.document as { law: string; heldOut?: { rmse: number; rows: number; split?: string } | null })
    .flatMap(({ law, heldOut }) => (heldOut ? [{ law, ...heldOut }] : []))
  if (documents.length === 0) return missing(id, title, 'no law was fitted with runs held out')
  // The spread between seeds is one of losses; a law of damage alone is another quantity.
  const ofLoss = documents.filter(one => findLaw(one.law).response !== 'delta')
  const others = documents.filter(one => !ofLoss.includes(one))
  if (ofLoss.length === 0) return missing(id, title, 'only laws of damage were fitted with runs held out')
  const noise = seedNoise(data)
  const rows = ofLoss.map(one => ({
    law: `${one.law} (${one.rows} rows)`,
    error: one.rmse / (noise?.spread ?? 1),
  }))
  const split = documents[0].split ?? 'largest-n'
  const svg = draw({
    height: 80 + 34 * rows.length,
    marginLeft: 230,
    marginRight: 60,
    x: { label: noise ? 'held-out error (RMSE), in units of the spread between seeds' : 'held-out error (RMSE, nats)' },
    y: { label: null },
    marks: [
      Plot.barX(rows, { x: 'error', y: 'law', fill: '#0f8a94', sort: { y: 'x' } }),
      Plot.text(rows, {
        x: 'error',
        y: 'law',
        text: (row: { error: number }) => row.error.toPrecision(3),
        dx: 4,
        textAnchor: 'start',
      }),
      Plot.ruleX([0]),
      ...(noise ? [Plot.ruleX([1], { strokeDasharray: '3 3' })] : []),
    ],
  })
  return {
    id,
    title,
    caption: `Fitted without ${split === 'largest-n' ? 'the largest size' : `what ${split} holds out`}, then predicting it. ${noise ? `At 1 (dashed) a law predicts as well as repeating the run would: the spread between seeds is ${noise.spread.toFixed(4)} nats (${noise.freedom} degrees of freedom).` : 'No run was repeated with another seed, so errors are in nats.'}${others.map(one => ` ${one.law}, a law of the damage alone, is off by ${one.rmse.toFixed(4)} nats of damage on ${one.rows} rows.`).join('')}`,
    svg,
  }
}
