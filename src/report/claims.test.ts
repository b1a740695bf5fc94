import { expect, test } from 'vitest'
import { judgeClaims } from './claims.ts'
import { bestAtWidth, equalBytes, widthContests } from './damage.ts'
import { type ReportData, reportData } from './data.ts'
import { lawfulStudy, studyOf } from './testing.ts'

const full = reportData(lawfulStudy())

const judge = (data: ReportData, words: RegExp) => {
  const found = judgeClaims(data).filter(one => words.test(one.claim))
  expect(found.length).toBe(1)
  return found[0].judgement
}

test('all widths of a model are counted alike: what is not quantized at 16 bits', () => {
  for (const one of full.quantized) {
    const { n, nTotal } = one.training
    expect(one.totalBits).toBeCloseTo(one.bitsPerParameter * n + 16 * (nTotal - n), 0)
  }
  for (const one of bestAtWidth(full).filter(row => row.k === 16)) expect(one.totalBits).toBe(16 * 1.2 * one.n)
})

test('equal bytes are equal, and the smaller model has the more bits', () => {
  const pairs = equalBytes(full)
  expect(pairs.length).toBeGreaterThan(0)
  for (const { large, smallN, smallBits } of pairs) {
    expect(smallBits).toBeGreaterThan(large.bitsPerParameter)
    expect(smallBits * smallN + 16 * 0.2 * smallN).toBeCloseTo(large.totalBits, -3)
  }
})

test('widths meet between the sizes of one family alone, at the bytes of the one that is judged', () => {
  const contests = widthContests(full, 4)
  // The third size is of another family, and a 16-bit model of the second is larger than any at 4 bits.
  expect(new Set(contests.map(one => one.rival))).toEqual(new Set([3, 5, 6, 8]))
  const best = bestAtWidth(full)
  for (const { rival, unit, difference } of contests) {
    const [own] = best.filter(one => one.unit === unit && one.k === 4 && one.seed === 0)
    const rivals = best.filter(one => one.conditions === own.conditions && one.k === rival)
    const losses = rivals.map(one => one.loss)
    expect(own.loss - difference).toBeGreaterThan(Math.min(...losses) - 0.01)
    expect(own.loss - difference).toBeLessThan(Math.max(...losses) + 0.01)
  }
})

test('two models speak for nothing: no claim is judged on them', () => {
  const study = lawfulStudy()
  const runs = study.runs.filter(run => run.pW === 16 && run.pA === 16 && run.pKv === 16).slice(0, 2)
  const keys = new Set(runs.map(run => run.key))
  const data = reportData(
    studyOf(
      runs,
      study.measurements.filter(row => keys.has(row.run)),
      study.fits,
    ),
  )
  expect(data.quantized.length).toBeGreaterThan(40)
  for (const { claim, judgement } of judgeClaims(data))
    expect([claim, judgement.verdict]).toEqual([claim, 'not testable here'])
})

test('more data is harmful where the loss after PTQ rises beyond the noise, and untold where the law expects no rise', () => {
  const study = lawfulStudy()
  const most = 26e9
  // As if damage at 3 bits overtook the gain of data.
  const risen = {
    ...study,
    measurements: study.measurements.map(row =>
      row.format === 'int3@64' && row.run.includes(`-${most}-`) ? { ...row, loss: row.loss! + 2 } : row,
    ),
  }
  expect(judge(reportData(risen), /more data makes/).verdict).toBe('supported')
  const early = { ...study, runs: study.runs.filter(run => (run.d ?? 0) <= 6e9) }
  const told = judge(reportData(early), /more data makes/)
  expect(told.verdict).toBe('not testable here')
  expect(told.figure).toMatch(/none of \d+ steps of data/)
})

test('many formats of one model do not narrow an interval', () => {
  const study = lawfulStudy()
  // The same measurements again, as if each format had been measured under ten names of one width.
  const again = study.measurements.flatMap(row =>
    Array.from({ length: row.method === 'rtn' ? 5 : 1 }, (_, i) => ({ ...row, key: `${row.key}-${i}` })),
  )
  const figure = (data: ReportData) => judge(data, /no quality below/).figure
  expect(figure(reportData({ ...study, measurements: again }))).toBe(figure(full))
})
