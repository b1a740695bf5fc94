import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { type Row, readRows } from '../table/index.ts'
import { type Fit, fit } from './fit.ts'
import { findLaw } from './index.ts'
import type { Law } from './law.ts'
import { createRandom, normal } from './random.ts'

interface Expected {
  data: string
  filter: string
  filter_text: string
  law: string
  rows: number
  free: number
  free_parameters: string[]
  objective: string
  best: number
  parameters: Record<string, number>
  rmse_nats: number
  r2: number
  profile: Record<string, [number, number]>
  condition: number
  at_bound: string[]
  wide: string[]
  match: string
  row_indices: number[]
  loss_column: string
}

/** Rows of an expected fit with the columns that Bitlaw reads. */
async function rowsOf(folder: string, { data, row_indices, loss_column, filter_text }: Expected): Promise<Row[]> {
  const read = async (name: string) => (await readRows(name, readFileSync(`${folder}/${name}`))).rows
  let rows = await read(data)
  if (data === 'quest.csv') {
    const tidy = await read('quest_tidy.csv')
    rows = rows.map((row, i) => ({ ...row, ...tidy[i] }))
    if (filter_text.includes('a pair of quantizer names'))
      rows = rows.map(row => ({
        ...row,
        format_w: `${row['w_quant']}:${row['w_bits']}`,
        format_a: `${row['a_quant']}:${row['a_bits']}`,
      }))
  }
  return row_indices.map(i => (loss_column.includes('-') ? rows[i] : { ...rows[i], loss: rows[i][loss_column] }))
}

const kindOf = (text: string) =>
  text.includes('Huber') ? 'huber' : text.includes('ln predicted') ? 'log-squares' : 'squares'

const folder = golden('fits')
const expected: Expected[] = folder ? JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')).fits : []

test.skipIf(expected.length === 0).each(expected.map(e => [`${e.data} ${e.filter} ${e.law}`, e] as const))(
  'reaches the best fit: %s',
  async (_, e) => {
    const rows = await rowsOf(folder ?? '', e)
    const found = fit(rows, findLaw(e.law), { objective: kindOf(e.objective), bootstrap: 0, starts: 60 })
    expect(found.rows).toBe(e.rows)
    expect(Object.keys(found.parameters).sort()).toEqual([...e.free_parameters].sort())
    expect(found.objective / e.best).toBeCloseTo(1, 6)
    expect(found.convergence.converged).toBe(true)
    if (e.match.includes('parameters')) {
      expect(found.rmse / e.rmse_nats).toBeCloseTo(1, 4)
      for (const [name, wanted] of Object.entries(e.parameters))
        expect(Math.abs(found.parameters[name] / wanted - 1)).toBeLessThan(/^(A|B|p|q|C_T)$/.test(name) ? 0.05 : 0.01)
    }
    for (const name of [...e.wide, ...e.at_bound]) expect(found.unidentified).toContain(name)
    for (const name of Object.keys(e.profile)) {
      if (!e.wide.includes(name) && !e.at_bound.includes(name)) expect(found.unidentified).not.toContain(name)
      const [low, high] = found.profiles[name]
      const width = e.profile[name][1] - e.profile[name][0]
      expect(Math.abs(low - e.profile[name][0])).toBeLessThan(0.05 * width)
      expect(Math.abs(high - e.profile[name][1])).toBeLessThan(0.05 * width)
    }
  },
)

test('names bad rows by line, missing columns, too few rows', () => {
  const law = findLaw('chinchilla')
  const rows = Array.from(
    { length: 12 },
    (_, i) => ({ N: 1e7 * (1 + i), D: 1e9 * (1 + ((i * 5) % 7)), loss: 3 + 1 / (1 + i) }) as Row,
  )
  const bad = rows.map((row, i) =>
    i === 3 ? { ...row, loss: null } : i === 5 ? { ...row, N: -2 } : i === 7 ? { ...row, D: 'many' } : row,
  )
  const lines = rows.map((_, i) => i + 2)
  expect(() => fit(bad, law, { lines })).toThrow(
    "3 of 12 rows cannot be used: line 5: loss is missing; line 7: N is -2, not above 0; line 9: D is 'many', not a number",
  )
  const kept = fit(bad, law, { lines, skipBad: true, bootstrap: 0 })
  expect(kept.rows).toBe(9)
  expect(kept.warnings[0]).toContain('line 7: N is -2')
  expect(() =>
    fit(
      rows.map(({ D: _, ...row }) => row),
      law,
    ),
  ).toThrow("law chinchilla needs a column 'D', the rows have N, loss")
  expect(() => fit(rows.slice(0, 5), law)).toThrow('5 rows are too few for law chinchilla: it has 5 free parameters')
  expect(() => fit(rows, law, { fix: { gama: 1 } })).toThrow("cannot fix 'gama'")
})

test('says what of the rows a law does not look at', () => {
  const rows = [16, 8, 4, 3].flatMap(P_w =>
    [1e8, 2e8, 4e8].map(
      (N, i) => ({ N, D: 1e9 * (i + P_w), P_w, P_a: 16, P_post: i === 2 ? 3 : null, loss: 3 + 1 / (P_w + i) }) as Row,
    ),
  )
  const warnings = (law: string) =>
    fit(rows, findLaw(law), { bootstrap: 0, starts: 20, diagnose: false }).warnings.join()
  expect(warnings('chinchilla')).toContain('4 rows were quantized after training, which chinchilla does not know of')
  expect(warnings('chinchilla')).toContain('9 rows were trained at fewer than 16 bits')
  expect(warnings('kumar_tied')).toContain(
    '9 rows have other bits of activations than of weights; kumar_tied reads only P_w',
  )
})

test('fixes, ties and bounds parameters', async () => {
  if (!folder) return
  const rows = (await readRows('c.csv', readFileSync(`${folder}/chinchilla.csv`))).rows.filter(
    row => row['in_epoch_fit'] === 1,
  )
  const options = { bootstrap: 0, starts: 60 }
  const tied = fit(rows, findLaw('chinchilla'), { ...options, tie: { beta: 'alpha' } })
  expect(tied.objective / fit(rows, findLaw('chinchilla_tied'), options).objective).toBeCloseTo(1, 9)
  expect(tied.parameters['beta']).toBe(tied.parameters['alpha'])
  const fixed = fit(rows, findLaw('chinchilla'), { ...options, fix: { E: 1.69, A: 406.4 } })
  expect(fixed.parameters['E']).toBe(1.69)
  expect(fixed.parameters['A']).toBeCloseTo(406.4, 9)
  const bounded = fit(rows, findLaw('chinchilla'), { ...options, bounds: { alpha: [0.2, 0.3], A: [1, 1e6] } })
  expect(bounded.parameters['alpha']).toBeCloseTo(0.3, 12)
  expect(bounded.unidentified).toContain('alpha')
})

test('on synthetic runs the truth lies in the intervals, and the noiseless column is fitted', async () => {
  if (!folder) return
  const rows = (await readRows('k.csv', readFileSync(`${folder}/kumar_synthetic.csv`))).rows
  const truth: Record<string, number> = JSON.parse(readFileSync(`${folder}/kumar_synthetic.json`, 'utf8')).truth
  const training = rows.filter(row => row['P_post'] === null)
  const inside = (found: Fit, names: readonly string[]) =>
    names.filter(name => {
      const wanted = name === 'C_T' ? truth['C_T'] * Math.exp(truth['b']) : truth[name]
      return found.intervals[name][0] <= wanted && wanted <= found.intervals[name][1]
    })
  const train = fit(training, findLaw('kumar_unified_train'), { bootstrap: 200, starts: 60, diagnose: false })
  const names = ['A', 'B', 'E', 'alpha', 'gamma_w', 'n_w', 'gamma_a', 'n_a', 'gamma_kv', 'n_kv']
  expect(inside(train, names)).toEqual(names)
  const post = rows.filter(
    row => row['P_post'] !== null && row['P_w'] === 16 && row['P_a'] === 16 && row['P_kv'] === 16,
  )
  const delta = fit(post, findLaw('kumar_delta'), { bootstrap: 200, objective: 'log-squares' })
  const damage = ['C_T', 'gamma_D', 'gamma_N', 'gamma_post']
  expect(inside(delta, damage)).toEqual(damage)
  expect(delta.warnings.join()).toContain('only the product C_T·e^b is identified')
  const exact = training.map(row => ({ ...row, loss: row['loss_noiseless'] }))
  expect(
    fit(exact, findLaw('kumar_unified_train'), { bootstrap: 0, starts: 60, diagnose: false }).rSquared,
  ).toBeGreaterThan(0.9999)
})

/** Damage that follows D or the learning rate, on runs with checkpoints along two schedules. */
function damaged(schedules: readonly string[], follows: 'D' | 'lr', seed: number): Row[] {
  const random = createRandom(seed)
  const rows: Row[] = []
  let run = 0
  for (const N of [30e6, 60e6, 110e6, 220e6])
    for (const schedule of schedules)
      for (const total of [5e9, 2e10]) {
        run++
        for (const share of [0.2, 0.4, 0.6, 0.8, 0.95]) {
          const D = total * share
          const lr =
            schedule === 'cosine' ? 0.1 + 0.45 * (1 + Math.cos(Math.PI * share)) : share < 0.8 ? 1 : (1 - share) / 0.2
          for (const P_post of [3, 4, 5]) {
            const push = follows === 'D' ? D ** 0.5 / 1e5 : Math.exp(-2 * lr)
            const delta = ((0.3 * push) / (N / 1e8) ** 0.35) * Math.exp(-(P_post - 3) / 0.6 + 0.03 * normal(random))
            rows.push({ run, N, D, P_post, schedule, lr_fraction: lr, loss_before_ptq: 3, loss: 3 + delta })
          }
        }
      }
  return rows
}

test('tells damage that follows the learning rate from damage that follows D, or says that it cannot', () => {
  const law: Law = findLaw('kumar_delta')
  const options = { objective: 'log-squares', bootstrap: 100 } as const
  const rate = fit(damaged(['cosine', 'wsd'], 'lr', 1), law, options)
  expect(rate.confounds[0].verdict).toBe('learning rate')
  expect(rate.confounds[0].together).toBeLessThan(0.3 * rate.confounds[0].alone)
  expect(rate.warnings.join()).toContain('follows the learning rate at the checkpoint, not D')
  const tokens = fit(damaged(['cosine', 'wsd'], 'D', 2), law, options)
  expect(tokens.confounds[0].verdict).toBe('tokens')
  const alone = fit(
    damaged(['cosine'], 'lr', 3).map(({ lr_fraction: _, ...row }) => row),
    law,
    options,
  )
  expect(alone.warnings.join()).toContain('cannot be told apart')
  const cosine = fit(damaged(['cosine'], 'lr', 4), law, options)
  expect(cosine.warnings.join()).toContain('cannot be told apart')
})

test('names a row that is far from the law and keeps it', async () => {
  if (!folder) return
  const rows = (await readRows('q.csv', readFileSync(`${folder}/quartet.csv`))).rows
  const found = fit(rows, findLaw('quartet'), { bootstrap: 0, lines: rows.map((_, i) => i + 2) })
  const odd = rows.findIndex(
    row =>
      row['forward'] === 'AlbertTsengQuantizer' &&
      row['backward'] === 'BF16' &&
      row['N'] === 30482560 &&
      Number(row['D']) > 2e10,
  )
  expect(found.outliers.map(o => o.line)).toContain(odd + 2)
  expect(found.rows).toBe(rows.length)
})

test('the same seed gives the same document', async () => {
  if (!folder) return
  const rows = (await readRows('c.csv', readFileSync(`${folder}/chinchilla.csv`))).rows
  const once = () =>
    JSON.stringify(fit(rows, findLaw('chinchilla'), { bootstrap: 20, holdOut: 'largest-n', starts: 40 }))
  expect(once()).toBe(once())
})
