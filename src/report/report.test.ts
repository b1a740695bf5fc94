import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { afterAll, expect, test } from 'vitest'
import { judgeClaims } from './claims.ts'
import { damageExponents, equalBytes } from './damage.ts'
import { reportData } from './data.ts'
import { reportHtml } from './report.ts'
import { seedNoise, sharePoints } from './shares.ts'
import { findings, whatWasRun } from './summary.ts'
import { law, lawfulStudy, parameters, studyOf } from './testing.ts'

const full = lawfulStudy()
const emptyStudy = studyOf([], [])
const oneRun = studyOf(full.runs.slice(0, 1), full.measurements.slice(0, 3))
const halfFailed = studyOf(
  full.runs.map((run, i) => (i % 2 ? run : { ...run, state: 'failed', reason: 'the loss was not a number' })),
  full.measurements,
)

test('what the figures compute is what the law put in', () => {
  const data = reportData(full)
  expect(data.trainings.length).toBe(full.runs.length)
  for (const point of sharePoints(data)) {
    const column = { weights: 'P_w', activations: 'P_a', 'KV cache': 'P_kv' }[point.part]!
    const share = (bits: number) => law.predict(parameters, { N: 1e8, D: 1e9, [column]: bits }).nEff!
    expect(Math.abs(point.share / (share(point.bits) / share(16)) - 1)).toBeLessThan(0.08)
  }
  for (const one of damageExponents(data).filter(exponent => exponent.k <= 4))
    expect(Math.abs(one.exponent - parameters['gamma_D'])).toBeLessThan(0.05)
  expect(seedNoise(data)!.spread).toBeGreaterThan(0)
  expect(equalBytes(data).length).toBeGreaterThan(0)
  const verdicts = Object.fromEntries(judgeClaims(data).map(one => [one.claim, one.judgement.verdict]))
  expect(verdicts['damage of quantization grows with training data']).toBe('supported')
  expect(verdicts['weights, activations and KV cache act independently: their factors multiply']).toBe('supported')
  expect(verdicts['dynamic exponent is the best data type at 4 bits']).toBe('contradicted')
  expect(whatWasRun(data)).toMatch(/models of 30M to 110M parameters on 1.5B to 26B tokens/)
  expect(findings(data).length).toBeGreaterThan(4)
})

test('studies with nothing to show say what is missing', () => {
  for (const study of [emptyStudy, oneRun, halfFailed]) {
    const html = reportHtml(study)
    expect(html).toContain('</html>')
    expect(html).toContain('made &lt;up&gt;')
    const shown = html.replace(/<(script|style)>[\s\S]*?<\/\1>/g, '')
    expect(shown).not.toContain('NaN')
    expect(shown).not.toContain('undefined')
  }
  expect(reportHtml(emptyStudy)).toMatch(/No run has finished yet/)
  expect(reportHtml(halfFailed)).toMatch(/the loss was not a number/)
  for (const claim of judgeClaims(reportData(emptyStudy))) expect(claim.judgement.verdict).toBe('not testable here')
})

test('a full study draws every figure', () => {
  const html = reportHtml(full)
  expect(html.match(/<figure id=/g)!.length).toBeGreaterThanOrEqual(17)
  expect(html).toContain('a &lt;warning&gt; &amp; more')
  expect(html).not.toMatch(/could not be drawn/)
})

const browser = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
if (!browser) console.log('skipped: no Chromium on this machine to open the report in')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-report-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test.skipIf(!browser)(
  'a browser shows it without an error, without overflow on a phone and a desk, sorted and filtered',
  async () => {
    const open = await chromium.launch({
      executablePath: browser,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    })
    try {
      for (const [name, study] of Object.entries({ full, emptyStudy, oneRun, halfFailed }))
        for (const width of [390, 1280])
          for (const colorScheme of ['light', 'dark'] as const) {
            const path = join(folder, `${name}.html`)
            writeFileSync(path, reportHtml(study))
            const page = await open.newPage({ viewport: { width, height: 800 }, colorScheme })
            const errors: string[] = []
            page.on('console', message => {
              if (message.type() === 'error') errors.push(message.text())
            })
            page.on('pageerror', error => errors.push(error.message))
            await page.goto(pathToFileURL(path).href)
            expect(errors).toEqual([])
            expect(
              await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
            ).toBe(0)
            if (name === 'full' && width === 1280) {
              await page.click('#run-table th:nth-child(8) button')
              const losses = await page.$$eval('#run-table tbody tr td:nth-child(8)', cells =>
                cells.map(cell => Number(cell.textContent)),
              )
              expect(losses).toEqual([...losses].sort((a, b) => a - b))
              await page.fill('#filter', 'W3')
              const shown = await page.$$eval('#run-table tbody tr:not([hidden]) td:nth-child(3)', cells =>
                cells.map(cell => cell.textContent),
              )
              expect(shown.length).toBe(9)
              expect(new Set(shown)).toEqual(new Set(['W3']))
            }
            await page.close()
          }
    } finally {
      await open.close()
    }
  },
  240_000,
)
