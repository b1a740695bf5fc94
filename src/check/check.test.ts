import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { LAWS } from '../laws/index.ts'
import { tokensFromCard } from './card.ts'
import { MEASURED_ELSEWHERE } from './elsewhere.ts'
import { lawRecords, predictDamage, recordApplies } from './predict.ts'
import { judge } from './verdict.ts'

const fits = LAWS.flatMap(law =>
  law.fits.map(fit => ({ law, fit: fit.name, parameters: fit.parameters, range: fit.range })),
)

test('tokens are read from cards', () => {
  expect(tokensFromCard('Pretrained on over 15 trillion tokens of data')).toBe(15e12)
  expect(tokensFromCard('trained on 300B tokens; fine-tuned on 2M tokens')).toBe(300e9)
  expect(tokensFromCard('about 2.5T high-quality tokens')).toBe(2.5e12)
  expect(tokensFromCard('a vocabulary of 32000 tokens')).toBeNull()
})

const table = golden('fits', 'llama_ptq_measured.csv')
test.skipIf(!table)('the rows measured elsewhere are those of the table', () => {
  const lines = readFileSync(table!, 'utf8').trim().split('\n').slice(1)
  const rows = lines.map(line => line.split(',')).filter(cells => cells[4] !== 'f16')
  expect(rows.length).toBe(MEASURED_ELSEWHERE.length)
  rows.forEach((cells, i) => {
    const row = MEASURED_ELSEWHERE[i]
    expect([row.model, row.format, row.imatrix]).toEqual([cells[0], cells[4], cells[5]])
    expect([row.n, row.d, row.deltaPtq]).toEqual([
      Number(cells[2]),
      Number(cells[3]),
      Number(cells[11] === '' ? Number.NaN : cells[11]),
    ])
  })
})

test('damage is predicted by every PTQ law, falls with bits, and is labelled by range', () => {
  const predicted = predictDamage(fits, 1e8, 1e10)
  expect(new Set(predicted.map(one => one.law)).size).toBeGreaterThan(1)
  for (const law of ['kumar_delta', 'ouyang']) {
    const own = predicted.filter(one => one.law === law)
    expect(own.length).toBeGreaterThan(0)
    for (const [i, one] of own.entries())
      if (i > 0 && own[i - 1].fit === one.fit) expect(one.deltaPtq).toBeLessThan(own[i - 1].deltaPtq)
  }
  expect(predicted.find(one => one.law === 'kumar_delta')!.insideRange).toBe(true)
  expect(predictDamage(fits, 7e9, 15e12).find(one => one.law === 'kumar_delta')!.insideRange).toBe(false)
})

test("Kumar's law is far off on Llama and says so for models of that size only", () => {
  const record = lawRecords(fits).find(one => one.law === 'kumar_delta')!
  expect(record.ratio).toBeGreaterThan(2)
  expect(record.unreliable).toBe(true)
  expect(recordApplies(record, 8e9)).toBe(true)
  expect(recordApplies(record, 1e8)).toBe(false)
  const { verdict } = judge(predictDamage(fits, 7e9, 15e12), [], [record], { n: 7e9, d: 15e12, decayed: null })
  expect(verdict).toMatch(/kumar_delta \(kumar2024\) is .* times too high/)
  expect(verdict).toMatch(/learning-rate decay/)
})

test('a measured checkpoint is judged by what was measured', () => {
  const measured = [
    {
      method: 'gptq',
      format: 'int3@64',
      k: 3,
      bitsPerParameter: 3.25,
      lossChange: 0.2,
      interval: [0.18, 0.22] as [number, number],
      kl: 0.2,
    },
    {
      method: 'rtn',
      format: 'int4@64',
      k: 4,
      bitsPerParameter: 4.25,
      lossChange: 0.021,
      interval: [0.015, 0.027] as [number, number],
      kl: 0.02,
    },
    {
      method: 'rtn',
      format: 'int8@64',
      k: 8,
      bitsPerParameter: 8.25,
      lossChange: 0,
      interval: [-0.001, 0.001] as [number, number],
      kl: 0,
    },
  ]
  const { recommended } = judge([], measured, [], { n: 1e6, d: null, decayed: null })
  expect(recommended).toMatchObject({ format: 'int4@64', method: 'rtn' })
  expect(recommended!.why).toMatch(/a tie with the tolerance/)
  expect(judge([], [], [], { n: 1e6, d: null, decayed: null }).verdict).toMatch(/D are not known/)
})
