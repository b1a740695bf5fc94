import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { golden, shared } from '../../test/shared.ts'
import { evaluateText, tokenizeText } from '../evaluate/loss.ts'
import { loadModel } from '../model/load.ts'
import { countShape, publishedFits } from '../plan/index.ts'
import { quantizeModel } from '../quantize/quantize.ts'
import { createKernels } from '../tensor/index.ts'
import { readCard, tokensFromCard } from './card.ts'
import { MEASURED_ELSEWHERE } from './elsewhere.ts'
import { keyOfChoice, measureDamage } from './measure.ts'
import { lawRecords, predictDamage, recordApplies } from './predict.ts'
import { openSubject } from './subject.ts'
import { judge } from './verdict.ts'

const fits = publishedFits(undefined, { delta: true })

test('tokens are read from cards', () => {
  expect(tokensFromCard('Pretrained on over 15 trillion tokens of data')).toBe(15e12)
  expect(tokensFromCard('trained on 300B tokens; fine-tuned on 2M tokens')).toBe(300e9)
  expect(tokensFromCard('about 2.5T high-quality tokens')).toBe(2.5e12)
  expect(tokensFromCard('a vocabulary of 32000 tokens')).toBeNull()
})

test("a card is the folder's own, else the hub's", async () => {
  const server = createServer((request, response) => {
    const found = request.url === '/someone/small/resolve/main/README.md'
    response.writeHead(found ? 200 : 404).end(found ? 'Trained on 600B tokens.' : '')
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-card-'))
  const before = { ...process.env }
  try {
    process.env['HF_ENDPOINT'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    for (const name of ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'HF_TOKEN']) delete process.env[name]
    expect(tokensFromCard((await readCard('someone/small', folder))!)).toBe(600e9)
    expect(await readCard('someone/other', folder)).toBeNull()
    expect(await readCard(folder, folder)).toBeNull()
    process.env['HF_HUB_OFFLINE'] = '1'
    expect(await readCard('someone/small', folder)).toBeNull()
    writeFileSync(join(folder, 'README.md'), 'Trained on 2T tokens.')
    expect(tokensFromCard((await readCard('someone/small', folder))!)).toBe(2e12)
  } finally {
    server.close()
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
    Object.assign(process.env, before)
    rmSync(folder, { recursive: true, force: true })
  }
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

test('a model trained at few bits loses less, by the law that knows it', () => {
  const at = (pw: number) =>
    predictDamage(fits, 1e8, 1e10, { widths: [4], trained: { pw, pa: 16, pkv: 16 } }).find(
      one => one.law === 'kumar_unified',
    )!.deltaPtq
  expect(at(5)).toBeLessThan(at(16))
  expect(at(4)).toBe(0)
})

test('a law that misses up and down is off too, by its typical factor', () => {
  for (const { ratio, error, rows } of lawRecords(fits)) {
    expect(error).toBeGreaterThanOrEqual(Math.max(ratio, 1 / ratio) * (1 - 1e-12))
    expect(rows.length).toBe(MEASURED_ELSEWHERE.filter(row => row.imatrix === '' && row.deltaPtq > 0).length)
  }
})

test('where no law can be relied on, what others measured on the nearest model is recommended', () => {
  const records = lawRecords(fits)
  const { recommended } = judge(predictDamage(fits, 7e9, 15e12), [], records, { n: 7e9, d: 15e12, decayed: null })
  expect(recommended).toMatchObject({ format: 'q5_k_s', method: 'llama.cpp' })
  expect(recommended!.why).toMatch(/llama-3-8b/)
  expect(
    judge(predictDamage(fits, 7e9, 2e12), [], records, { n: 7e9, d: 2e12, decayed: null }).recommended,
  ).toMatchObject({ format: 'q4_k_m' })
})

const small = shared('models', 'tinystories-656k')
test.skipIf(!small)(
  'what a model was trained at is applied: PTQ rounds the masters, activations stay as they were',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bitlaw-check-'))
    try {
      cpSync(small!, folder, { recursive: true })
      chmodSync(join(folder, 'config.json'), 0o644)
      const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
      config.bitlaw = { precision: { weights: 6, activations: 8, kv: null, gradients: null }, d: 5e8, lrFraction: 0.1 }
      rmSync(join(folder, 'config.json'))
      writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
      const subject = await openSubject(folder, null)
      expect(subject).toMatchObject({
        n: 393_856,
        d: 5e8,
        dSource: 'config.json',
        trained: { pw: 6, pa: 8, pkv: 16 },
        decayed: true,
      })
      const model = await loadModel(folder)
      const kernels = createKernels({ threads: 1 })
      const text = await tokenizeText(
        model.tokenizer!,
        'Once upon a time there was a little dog who liked to play in the park with a red ball. '.repeat(8),
      )
      const scoring = { context: 64, limit: 2, compute: 'float' } as const
      const seen: string[] = []
      const choices = [
        { method: 'rtn', format: 'int4@64' },
        { method: 'rtn', format: 'int8@64' },
      ] as const
      const rows = measureDamage(model, kernels, text, choices, {
        scoring,
        precision: model.precision,
        onRow: row => seen.push(keyOfChoice(row as never)),
      })
      const before = evaluateText(model, kernels, text, { ...scoring, precision: model.precision }).loss
      const { model: quantized } = quantizeModel(model, { format: 'int4@64', method: 'rtn', kernels })
      const after = evaluateText(quantized, kernels, text, {
        ...scoring,
        precision: { ...model.precision!, weights: null },
      }).loss
      // Losses with and without logits in memory sum in different orders.
      expect(rows[0].lossBefore).toBeCloseTo(before, 6)
      expect(rows[0].loss).toBeCloseTo(after, 6)
      expect(rows[0].lossChange).toBeCloseTo(after - before, 6)
      // As it was trained is not as its masters are: the reference would else be another model.
      expect(
        Math.abs(before - evaluateText(model, kernels, text, { ...scoring, precision: null }).loss),
      ).toBeGreaterThan(1e-6)
      expect(seen).toEqual(['rtn int4@64', 'rtn int8@64'])
      const again = measureDamage(model, kernels, text, choices, {
        scoring,
        precision: model.precision,
        done: new Map([['rtn int4@64', rows[0]]]),
        onRow: row => seen.push(keyOfChoice(row as never)),
      })
      expect(again).toEqual(rows)
      expect(seen).toEqual(['rtn int4@64', 'rtn int8@64', 'rtn int8@64'])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

test.skipIf(!small)('the shape of a checkpoint counts as its record does', async () => {
  const { n, nTotal, shape } = await openSubject(small!, 1e9)
  expect(countShape(shape)).toEqual({ n, nTotal })
  expect(nTotal).toBe(656_000)
})
