// Rewrites what the documentation quotes of the first study from a finished folder of it: the findings in the README,
// docs/first-study.md whole, and the report's figures as pictures beside it. Needs Chromium for the pictures.
// npm start && npx tsx docs/first-study/refresh.ts out/first
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { judgeClaims } from '../../src/report/claims.ts'
import { type ReportData, reportData } from '../../src/report/data.ts'
import { type FitDocument, PAPER_R2 } from '../../src/report/fits.ts'
import { writeReport } from '../../src/report/report.ts'
import { seedNoise } from '../../src/report/shares.ts'
import { findings, whatWasRun, whereItRan } from '../../src/report/summary.ts'
import { readStudy } from '../../src/study/read.ts'

const docs = resolve(import.meta.dirname, '..')

/** Figures of the report that become pictures, with their texts. */
const PICTURES = [
  ['delta-data', 'damage of quantization against training data'],
  ['n-eff', 'effective parameters against bits'],
  ['loss-data', 'loss against data'],
  ['total-bits', 'loss against total bits'],
  ['gaussian-error', 'damage of a format against its Gaussian error'],
  ['held-out', 'laws on the runs held out'],
] as const

/** Minutes between the first start and the last end, and of work in all processes together. */
function minutes({ study }: ReportData): { wall: number; work: number } {
  const rows = [...study.runs, ...study.measurements]
  const ends = rows.flatMap(row => (row.finishedAt ? [Date.parse(row.finishedAt)] : []))
  const starts = study.runs.flatMap(row => (row.startedAt ? [Date.parse(row.startedAt)] : []))
  return {
    wall: (Math.max(...ends) - Math.min(...starts)) / 60e3,
    work: rows.reduce((sum, row) => sum + (row.seconds ?? 0), 0) / 60,
  }
}

function readme(data: ReportData): string {
  return [
    `The first study took ${minutes(data).wall.toFixed(0)} minutes and ends with a report and a few sentences (${whereItRan(data)}; [its tables and figures](docs/first-study.md)):`,
    '',
    `> ${whatWasRun(data)}`,
    ...findings(data).map(line => `> - ${line}`),
  ].join('\n')
}

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

function page(data: ReportData): string {
  const { wall, work } = minutes(data)
  const noise = seedNoise(data)
  const laws = data.study.fits.map(row => {
    const { law, rows, rSquared, heldOut } = row.document as FitDocument
    return `| \`${law}\` | ${rows ?? ''} | ${rSquared?.toFixed(4) ?? ''} | ${heldOut ? `${heldOut.rmse.toFixed(4)} (${heldOut.rows} rows)` : ''} | ${PAPER_R2[law] ?? ''} |`
  })
  const claims = judgeClaims(data).map(
    ({ claim, source, judgement: { verdict, figure } }) =>
      `| ${cell(claim)} | ${cell(source)} | ${verdict} | ${cell(figure)} |`,
  )
  return `# The first study

What \`npm start\` found: \`studies/first.yaml\`, ${whereItRan(data)}. ${wall.toFixed(1)} minutes from the first start to the last result, ${work.toFixed(1)} minutes of training and measuring in all processes together. This page is written by \`npx tsx docs/first-study/refresh.ts out/first\`.

${whatWasRun(data)}

${findings(data)
  .map(line => `- ${line}`)
  .join('\n')}

## Laws

| law | rows | R² | off on the runs held out (RMSE, nats) | R² that the paper prints |
|---|---:|---:|---:|---:|
${laws.join('\n')}

${noise ? `The spread between seeds is ${noise.spread.toFixed(4)} nats (${noise.freedom} degrees of freedom): what no law can foretell.` : 'No run was repeated with another seed.'}

## Claims

A verdict holds for these models and these data, which are far smaller and less converged than the papers'. Supported and contradicted: the whole 95% interval lies on one side; a tie: it does not, so neither is shown.

| claim | source | here | measured, with 95% intervals |
|---|---|---|---|
${claims.join('\n')}

## Figures

${PICTURES.map(([id, text]) => `![${text}](first-${id}.png)`).join('\n')}
`
}

async function pictures(report: string): Promise<void> {
  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
  if (!executablePath) throw new Error('no Chromium on this machine to take the pictures with')
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
  try {
    const tab = await browser.newPage({ viewport: { width: 900, height: 900 }, colorScheme: 'light' })
    await tab.goto(pathToFileURL(report).href)
    for (const [id] of PICTURES) {
      const figure = await tab.$(`#${id}`)
      if (!figure) throw new Error(`the report has no figure '${id}'`)
      await figure.screenshot({ path: join(docs, `first-${id}.png`) })
    }
  } finally {
    await browser.close()
  }
}

const folder = process.argv[2]
if (folder === undefined) throw new Error('expected the folder of a finished study, such as out/first')
const study = await readStudy(folder)
const data = reportData(study)
const temporary = mkdtempSync(join(tmpdir(), 'bitlaw-refresh-'))
try {
  writeReport(study, join(temporary, 'report.html'))
  await pictures(join(temporary, 'report.html'))
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
writeFileSync(join(docs, 'first-study.md'), page(data))
const path = resolve(docs, '..', 'README.md')
const text = readFileSync(path, 'utf8')
const block = /<!-- first-study -->[\s\S]*?<!-- \/first-study -->/
if (!block.test(text)) throw new Error('the README has no block between first-study comments')
writeFileSync(
  path,
  text.replace(block, () => `<!-- first-study -->\n${readme(data)}\n<!-- /first-study -->`),
)
