// The report of a study: one HTML file that needs nothing else, for screen, phone and paper.
import { renameSync, writeFileSync } from 'node:fs'
import type { StudyData } from '../study/read.ts'
import { judgeClaims } from './claims.ts'
import { reportData } from './data.ts'
import { blockSizes, capacity, dataTypes, gaussianError } from './figures/formats.ts'
import { accuracyAgainstBits, lossAgainstAccuracy, lossAgainstBits, twoObjectives } from './figures/frontier.ts'
import { heldOut, measuredAgainstPredicted } from './figures/laws.ts'
import { damageAgainstData, damageBySchedule, damageByTrainingPrecision, equalBytesFigure } from './figures/ptq.ts'
import { byFamily, effectiveParameters, independence, lossAgainstData, optimalPrecision } from './figures/training.ts'
import { PAGE_SCRIPT, PAGE_STYLE } from './page.ts'
import type { Figure } from './plot.ts'
import { findings, whatWasRun, whereItRan } from './summary.ts'
import {
  csv,
  escapeHtml,
  htmlTable,
  lawsSection,
  QUANTIZED_COLUMNS,
  quantizedRows,
  RUN_COLUMNS,
  runRows,
} from './tables.ts'

/** The figures in the order of the page. */
const FIGURES = [
  lossAgainstData,
  effectiveParameters,
  independence,
  damageAgainstData,
  damageBySchedule,
  optimalPrecision,
  measuredAgainstPredicted,
  lossAgainstBits,
  accuracyAgainstBits,
  dataTypes,
  blockSizes,
  lossAgainstAccuracy,
  capacity,
  gaussianError,
  equalBytesFigure,
  damageByTrainingPrecision,
  twoObjectives,
  byFamily,
  heldOut,
] as const

function figureHtml({ id, title, caption, svg, missing }: Figure): string {
  const body =
    svg === null
      ? `<p class="missing">Not shown: ${escapeHtml(missing ?? '')}.</p>`
      : `<div class="plot">${svg}</div><figcaption>${escapeHtml(caption)}</figcaption>`
  return `<figure id="${id}"><h3>${escapeHtml(title)}</h3>${body}</figure>`
}

/** A figure that cannot be drawn must not cost the reader the others. */
function drawn(make: (typeof FIGURES)[number], data: ReturnType<typeof reportData>): Figure {
  try {
    return make(data)
  } catch (error) {
    return {
      id: make.name,
      title: make.name,
      caption: '',
      svg: null,
      missing: `it could not be drawn (${(error as Error).message})`,
    }
  }
}

function download(name: string, label: string, text: string, type: string): string {
  return `<a download="${name}" href="data:${type};base64,${Buffer.from(text).toString('base64')}">${label}</a>`
}

/** The whole page as text. */
export function reportHtml(study: StudyData): string {
  const data = reportData(study)
  const claims = judgeClaims(data)
  const title = `Study ${study.file.name}`
  const figures = FIGURES.map(make => drawn(make, data))
  const shown = figures.filter(figure => figure.svg !== null)
  const absent = figures.filter(figure => figure.svg === null)
  const lines = findings(data)
  const where = whereItRan(data)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
<header><h1>${escapeHtml(title)}</h1><p>${escapeHtml(whatWasRun(data))}</p>${where ? `<p class="where">${escapeHtml(where)}</p>` : ''}</header>
<section id="summary"><h2>What it shows</h2>${lines.length > 0 ? `<ul>${lines.map(line => `<li>${escapeHtml(line)}</li>`).join('')}</ul>` : '<p class="missing">Nothing yet: no finished run.</p>'}</section>
<section id="claims"><h2>Claims</h2>
<p>A verdict holds for these models and these data. Supported and contradicted: the whole 95% interval lies on one side; a tie: it does not, so neither is shown.</p>
${htmlTable(
  ['claim', 'source', 'this study', 'measured, with 95% intervals'],
  claims.map(({ claim, source, judgement: { verdict, figure } }) => [
    claim,
    source,
    { text: verdict, mark: `verdict ${verdict.split(' ')[0]}` },
    figure,
  ]),
  { cards: true },
)}</section>
<section id="figures"><h2>Figures</h2>
${shown.map(figureHtml).join('\n')}
${
  absent.length > 0
    ? `<details open><summary>${absent.length} figure${absent.length > 1 ? 's' : ''} that this study cannot show</summary>${htmlTable(
        ['figure', 'because'],
        absent.map(one => [one.title, one.missing ?? '']),
      )}</details>`
    : ''
}</section>
<section id="laws"><h2>Fitted laws</h2>${lawsSection(data)}</section>
<section id="runs"><h2>Runs</h2>
<p><label>filter <input type="search" id="filter" placeholder="W4, cosine, int4 …"></label></p>
${data.trainings.length > 0 ? htmlTable(RUN_COLUMNS, runRows(data), { sortable: true, id: 'run-table' }) : '<p class="missing">No finished run.</p>'}
${
  data.failed.length > 0
    ? `<h3>Failed or diverged</h3>${htmlTable(
        ['run', 'reason'],
        data.failed.map(one => [one.label, one.reason]),
      )}`
    : ''
}
<h3>Quantizations</h3>
${data.quantized.length > 0 ? htmlTable(QUANTIZED_COLUMNS, quantizedRows(data).slice(0, 2000), { sortable: true, id: 'quantized-table' }) : '<p class="missing">No quantized model.</p>'}
${data.quantized.length > 2000 ? `<p>The first 2,000 of ${data.quantized.length}; the download has all.</p>` : ''}
</section>
<section id="downloads"><h2>Downloads</h2><p>${[
    download('runs.csv', 'runs (CSV)', csv(RUN_COLUMNS, runRows(data)), 'text/csv'),
    download('quantizations.csv', 'quantizations (CSV)', csv(QUANTIZED_COLUMNS, quantizedRows(data)), 'text/csv'),
    download(
      'fits.json',
      'fits (JSON)',
      JSON.stringify(
        study.fits.map(row => row.document),
        null,
        1,
      ),
      'application/json',
    ),
    download('study.json', 'specification (JSON)', JSON.stringify(study.spec, null, 1), 'application/json'),
  ].join(' · ')}</p></section>
</main>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`
}

/** Writes the report; the file appears whole. */
export function writeReport(study: StudyData, path: string): void {
  const temporary = `${path}.${process.pid}.tmp`
  writeFileSync(temporary, reportHtml(study))
  renameSync(temporary, path)
}
