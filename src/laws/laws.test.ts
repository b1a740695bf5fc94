import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { gaussianError } from './gaussian.ts'
import { findLaw, LAWS, predict } from './index.ts'
import { lifetimeFlops, lifetimeOptimum } from './sardana.ts'

const fitOf = (law: string, fit?: string) => {
  const found = findLaw(law).fits.find(candidate => fit === undefined || candidate.name === fit)
  if (!found) throw new Error(`no fit ${fit} of ${law}`)
  return found.parameters
}
const values = () => {
  const path = golden('published-laws.json')
  return path ? JSON.parse(readFileSync(path, 'utf8')) : undefined
}
const close = (found: number | null, wanted: number, digits: number) => expect(found).toBeCloseTo(wanted, digits)

test('predictions and derived results agree with the published values', () => {
  const published = values()
  if (!published) return
  const at = published.reference_values
  const kumar = fitOf('kumar_unified')
  const run = { N: 220e6, D: 26e9 }
  const [plain, computed] = at['kumar BF16 loss N=220e6 D=26e9, factors 1 / computed at P=16']
  close(predict('chinchilla', { ...kumar, beta: kumar['alpha'] }, run).loss, plain, 4)
  close(predict('kumar', kumar, run).loss, computed, 4)
  const delta = fitOf('kumar_delta')
  at['kumar_delta N=220e6 D=26e9, 3/4/5/6 bit'].forEach((wanted: number, i: number) => {
    close(predict('kumar_delta', delta, { ...run, P_post: 3 + i }).deltaPtq, wanted, 4)
  })
  const share = (row: object) =>
    (predict('kumar', kumar, { ...run, ...row }).nEff ?? 0) / (predict('kumar', kumar, run).nEff ?? 1)
  const full = (gamma: number, n: number) => 1 - Math.exp(-16 / gamma + n)
  ;[3, 4, 6, 8].forEach((bits, i) => {
    close(share({ P_w: bits }) * full(2.6745, 0.3037), at['kumar f_w 3/4/6/8 bit'][i], 3)
  })
  close(share({ P_a: 4 }) * full(2.2102, 1.4072), at['kumar f_a 4 bit'], 3)
  close(share({ P_kv: 4 }) * full(0.9578, 2.4185), at['kumar f_kv 4 bit'], 3)
  const [withOffsets, without] = at['kumar P* W=A=KV with offsets / without']
  close(predict('kumar', kumar, run).optimalBits, withOffsets, 1)
  close(
    predict('kumar_unified_train', fitOf('kumar_unified_train', 'kumar2024_no_offsets'), run).optimalBits,
    without,
    2,
  )
  const sun = fitOf('sun')
  const formats = [
    [2, 1],
    [1, 2],
    [3, 0],
    [4, 3],
  ]
  at['sun 1B/100B G=128 E2M1/E1M2/E3M0/E4M3'].forEach((wanted: number, i: number) => {
    const row = { N: 1e9, D: 100e9, block: 128, exponent: formats[i][0], mantissa: formats[i][1] }
    close(predict('sun', sun, row).loss, wanted, 4)
  })
  const critical = predict('sun', sun, { N: 1e9, D: 1e11, format_w: 'fp4e2m1@128' }).dCrit ?? 0
  expect(critical / at['sun D_crit 1B E2M1 G=128']).toBeCloseTo(1, 2)
  ;[32, 128, 256].forEach((group, i) => {
    const found = predict('chen', fitOf('chen', 'chen2025_w4a4'), { N: 595e6, D: 100e9, group }).deltaPtq
    close(found, at['chen delta 595M/100B W4A4 G=32/128/256'][i], 3)
  })
  const [small, large] = at['quartet BF16 30.48M/3.0B; 822M/80B']
  close(predict('quartet', fitOf('quartet'), { N: 30.48e6, D: 3.0e9 }).loss, small, 3)
  close(predict('quartet', fitOf('quartet'), { N: 822e6, D: 80e9 }).loss, large, 2)
  const [early, late] = at['apple f* D/N=20 4 bit; D/N=2000 2 bit']
  const qat = (ratio: number, bits: number) =>
    predict('apple_qat', fitOf('apple_qat'), { N: 1e9, D: ratio * 1e9, P_w: bits }).extra?.['qatShare'] ?? 0
  close(qat(20, 4), early, 3)
  close(qat(2000, 2), late, 3)
})

test('constants are those of the published list', () => {
  const published = values()
  if (!published) return
  const table = published.kumar2024_precision_table2
  const kumar = fitOf('kumar_unified')
  for (const [name, value] of Object.entries(kumar)) {
    const wanted = table[name === 'b' ? 'b_post' : name]
    if (wanted !== undefined) expect(value).toBe(wanted)
  }
  const epoch = published.besiroglu2024.published
  for (const name of ['A', 'B', 'E', 'alpha', 'beta'])
    expect(fitOf('chinchilla', 'besiroglu2024')[name]).toBe(epoch[name])
  const rounded = published.hoffmann2022.rounded
  for (const name of ['A', 'B', 'E', 'alpha', 'beta'])
    expect(fitOf('chinchilla', 'hoffmann2022')[name]).toBe(rounded[name])
  const { k, beta, alpha, gamma } = published.ouyang2024
  expect(fitOf('ouyang')).toEqual({ k, beta, alpha, gamma })
  const [p, q, c, E] = published.gadre2024_fit_on_5_points_c4_val.rpj
  expect(fitOf('gadre', 'gadre2024_rpj')).toEqual({ p, q, c, E })
})

test('D_crit is where more data stops helping', () => {
  const cases = [
    ['kumar_delta', { N: 220e6, P_post: 3 }],
    ['kumar_unified', { N: 1e9, P_post: 3, P_w: 8, P_a: 8 }],
    ['sun', { N: 1e9, format_w: 'fp4e2m1@128' }],
    ['chen', { N: 100e6, group: 256 }],
  ] as const
  for (const [law, row] of cases) {
    const parameters = fitOf(law)
    const dCrit = predict(law, parameters, { ...row, D: 1e9 }).dCrit ?? Number.NaN
    const loss = (d: number) => predict(law, parameters, { ...row, D: d }).loss ?? Number.NaN
    expect(loss(dCrit)).toBeLessThan(loss(dCrit * 1.05))
    expect(loss(dCrit)).toBeLessThan(loss(dCrit / 1.05))
    expect(predict(law, parameters, { ...row, D: 5e12 }).dCrit).toBeCloseTo(dCrit, -3)
  }
})

test('the joint optimum of bits does not depend on compute; with N fixed it grows with log compute', () => {
  const p = fitOf('kumar_unified')
  const joint = predict('kumar', p, { N: 1e9, D: 1e9 }).optimalBits ?? 0
  const loss = (n: number, d: number, bits: number) =>
    predict('kumar', p, { N: n, D: d, P_w: bits, P_a: bits, P_kv: bits }).loss ?? Number.POSITIVE_INFINITY
  const golden = (Math.sqrt(5) - 1) / 2
  const least = (f: (x: number) => number, low: number, high: number) => {
    for (let i = 0; i < 45; i++) {
      const [a, b] = [high - golden * (high - low), low + golden * (high - low)]
      if (f(a) < f(b)) high = b
      else low = a
    }
    return (low + high) / 2
  }
  for (const compute of [1e20, 1e23]) {
    // C = (6/16) N D P, all three free
    const best = least(
      bits =>
        loss(
          ...((n: number) => [n, (compute * 16) / 6 / n / bits, bits] as const)(
            10 ** least(e => loss(10 ** e, (compute * 16) / 6 / 10 ** e / bits, bits), 7, 12),
          ),
        ),
      5,
      10,
    )
    expect(Math.abs(best - joint)).toBeLessThan(0.1)
  }
  const fixed = [1e20, 1e21, 1e22].map(compute =>
    least(bits => loss(1e8, (compute * 16) / 6 / 1e8 / bits, bits), 4, 20),
  )
  expect(fixed[1]).toBeGreaterThan(fixed[0])
  expect(fixed[2]).toBeGreaterThan(fixed[1])
})

test('the product C_T e^b is all that matters of both', () => {
  const p = fitOf('kumar_delta')
  const moved = { ...p, C_T: p['C_T'] * Math.exp(p['b']), b: 0 }
  const row = { N: 1e9, D: 1e11, P_post: 4 }
  expect(predict('kumar_delta', moved, row).deltaPtq).toBeCloseTo(predict('kumar_delta', p, row).deltaPtq ?? 0, 12)
})

test('repeated tokens are worth less and less', () => {
  const p = fitOf('muennighoff')
  const loss = (epochs: number) => predict('muennighoff', p, { N: 1e9, D: 20e9 * epochs, D_unique: 20e9 }).loss ?? 0
  const fresh = (epochs: number) => predict('muennighoff', p, { N: 1e9, D: 20e9 * epochs }).loss ?? 0
  expect(loss(1)).toBeCloseTo(fresh(1), 12)
  expect(loss(4) - fresh(4)).toBeLessThan(0.01)
  expect(loss(60) - fresh(60)).toBeGreaterThan(0.04)
})

test('a model that is served more should be smaller', () => {
  const p = fitOf('sardana')
  const loss = predict('sardana', p, { N: 7e9, D: 140e9 }).loss ?? 0
  const idle = lifetimeOptimum(p, loss, 0)
  const busy = lifetimeOptimum(p, loss, 1e13)
  expect(busy?.n).toBeLessThan(idle?.n ?? 0)
  expect(lifetimeFlops(7e9, 140e9, 1e13)).toBeGreaterThan(busy?.flops ?? Number.POSITIVE_INFINITY)
  expect(lifetimeOptimum(p, p['E'], 0)).toBeNull()
})

test('least Gaussian errors agree with the golden list', () => {
  const path = golden('fits', 'gmse.json')
  if (!path) return
  for (const [name, { gmse, log_quarter }] of Object.entries<{ gmse: number; log_quarter: number }>(
    JSON.parse(readFileSync(path, 'utf8')).formats,
  )) {
    if (name === 'bf16') continue // rounding without levels
    expect(gaussianError(name) / gmse).toBeCloseTo(1, 8)
    expect(Math.log(gaussianError(name)) / Math.log(1 / 4)).toBeCloseTo(log_quarter, 8)
  }
})

test('every law names its parameters, columns, source, and each fit its range', () => {
  for (const law of LAWS) {
    expect(findLaw(law.name)).toBe(law)
    expect(law.formula).toContain('=')
    for (const p of law.parameters) expect(p.bounds[0]).toBeLessThan(p.bounds[1])
    for (const fit of law.fits) expect(Object.keys(fit.range).length).toBeGreaterThan(0)
  }
  expect(findLaw('kumar').name).toBe('kumar_unified')
  expect(() => findLaw('chincilla')).toThrow("unknown law 'chincilla' (did you mean chinchilla?)")
})
