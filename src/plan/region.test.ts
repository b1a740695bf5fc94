import { expect, test } from 'vitest'
import { findLaw, fit } from '../laws/index.ts'
import { ECONOMICS } from './cost.ts'
import { DEVICES } from './devices.ts'
import { planDocument, type TrainDocument } from './document.ts'
import { informativeStudy } from './experiments.ts'
import { planFigure } from './figure.ts'
import { type LawFit, ownFits, publishedFits, resamplesOf } from './fits.ts'
import { menuOf } from './menu.ts'
import { describeRegion, deviations, isoLoss, optimumOf } from './region.ts'
import { tied } from './train.ts'

const fits = publishedFits()
const named = (law: string, name?: string) => fits.find(one => one.law.name === law && (!name || one.fit === name))!
const problem = { compute: 1e21, bits: { low: 3, high: 16 }, cost: { kind: 'bits' } } as const
const setting = { device: DEVICES.find(one => one.name === 'h100')!, economics: ECONOMICS }

test('laws of bits are searched, laws of formats have menus, others plan at 16', () => {
  expect(menuOf(named('kumar_unified'))).toBeNull()
  expect(menuOf(named('chinchilla'))!.map(choice => choice.label)).toEqual(['16'])
  expect(menuOf(named('multiplier'))!.map(choice => choice.label)).toEqual(
    expect.arrayContaining(['int4', 'int8', 'int4/BF16', 'fp4', '16']),
  )
  expect(menuOf(named('quartet'))!.some(choice => choice.columns['forward'] === 'QuEST')).toBe(true)
  expect(menuOf(named('chen', 'chen2025_w4a16'))![0]).toMatchObject({ pw: 4, pa: 16 })
  expect(menuOf(named('sun'))!.map(choice => choice.label)).toContain('fp4e2m1')
})

test('a law with a menu takes the choice of least loss, by its own words', () => {
  const multiplier = named('multiplier')
  const optimum = optimumOf(multiplier, problem)
  // At the same compute a choice of share e and cost c reaches N e and 1/c more N D: the best is the least loss of all.
  const each = menuOf(multiplier)!.map(choice => optimumOf(multiplier, { ...problem, bits: [choice] }).optimum!.loss)
  expect(optimum.optimum!.loss).toBeCloseTo(Math.min(...each), 8)
  expect(optimum.optimum!.label).toBe('int4')
  expect(optimum.notes.join()).toMatch(/A, B and E are those of besiroglu2024/)
  const narrow = optimumOf(multiplier, { ...problem, bits: { low: 5, high: 7 } })
  expect(narrow.optimum).toBeNull()
  expect(narrow.notes.join()).toMatch(/knows none of these bits, only .*int4/)
})

test('a law by error of formats plans over elements that nothing was trained in', () => {
  const law = findLaw('gmse')
  const parameters = { A: 477.8, B: 2143, E: 1.817, alpha: 0.347, beta: 0.367, L0: 1, F: 0.5, C: 2 }
  const gmse: LawFit = { law, fit: 'own', parameters, range: {} }
  const optimum = optimumOf(gmse, problem)
  expect(optimum.optimum!.label).toMatch(/^(int|mx|nv|fp)/)
  expect(optimum.bitsRegion![0]).toBeLessThanOrEqual(optimum.optimum!.pw)
})

test('deviating costs what planning again says', () => {
  const kumar = named('kumar_unified')
  const { optimum } = optimumOf(kumar, problem)
  const list = deviations(kumar, problem, optimum!, [4, 7, 16], [4, 8])
  const at = (what: string) => list.find(one => one.what.includes(what))!
  expect(at('train at 7 bits').tie).toBe(true)
  expect(at('train at 7 bits').computeFactor).toBeCloseTo(1, 2)
  expect(at('train at 4 bits').lossAbove).toBeGreaterThan(0.01)
  // The compute that buys the same loss at 4 bits does buy it.
  const dearer = optimumOf(kumar, {
    ...problem,
    compute: problem.compute * at('train at 4 bits').computeFactor!,
    bits: tied(4),
  })
  expect(dearer.optimum!.loss).toBeCloseTo(optimum!.loss, 5)
  const afterwards = at('quantize to 4 bits afterwards')
  expect([afterwards.plan.n, afterwards.plan.d]).toEqual([optimum!.n, optimum!.d])
  const { deltaPtq } = kumar.law.predict(kumar.parameters, {
    N: optimum!.n,
    D: optimum!.d,
    P_w: optimum!.pw,
    P_a: optimum!.pa,
    P_kv: optimum!.pkv,
    P_post: 4,
  })
  expect(afterwards.lossAbove).toBeCloseTo(deltaPtq!, 10)
  expect(at('quantize to 8 bits afterwards').tie).toBe(true)
})

test('4 bits need disproportionately more parameters than 8, whatever the size', () => {
  for (const n of [1e8, 1e9, 1e10]) {
    const { parameterFactor, bitsFactor, computeFactor } = isoLoss(
      named('kumar_unified'),
      { kind: 'bits' },
      n,
      20 * n,
      4,
      8,
    )!
    expect(parameterFactor).toBeGreaterThan(bitsFactor)
    expect(computeFactor).toBeGreaterThan(1)
  }
})

/** A fit of one's own: Kumar's law with noise, as `bitlaw fit --out` writes it. */
const own = (() => {
  const law = findLaw('kumar_unified_train')
  const { parameters } = law.fits[0]
  let state = 3
  const noise = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state / 2 ** 32 - 0.5) * 0.01
  }
  const rows = [3e7, 1e8, 2.2e8].flatMap(N =>
    [1.5e9, 6e9, 2.6e10].flatMap(D =>
      [16, 8, 6, 4].flatMap(P =>
        [
          [P, 16, 16],
          [16, P, 16],
          [16, 16, P],
        ].map(([P_w, P_a, P_kv]) => {
          const row = { N, D, P_w, P_a, P_kv }
          return { ...row, loss: law.predict(parameters, row).loss! * Math.exp(noise()) }
        }),
      ),
    ),
  )
  return fit(rows, law, { starts: 20, bootstrap: 60, diagnose: false })
})()

test("one's own fit is read with its resamples, leads, and gives intervals", () => {
  const [mine] = ownFits(
    JSON.parse(JSON.stringify({ fits: [own], best: own.law, comparison: [], warnings: [] })),
    'fit.json',
  )
  expect(resamplesOf(mine).length).toBe(own.sample.values.length)
  expect(resamplesOf(mine)[0]).toHaveProperty('gamma_w')
  const document = planDocument([...fits, mine], problem, setting) as TrainDocument
  expect([document.plan.law, document.plan.fit]).toEqual(['kumar_unified_train', 'fit.json'])
  const { interval, loss, pw, n } = document.plan
  expect(interval![0]).toBeLessThan(loss)
  expect(interval![1]).toBeGreaterThan(loss)
  const lead = document.laws.find(one => one.fit === 'fit.json')!
  for (const [bounds, value] of [
    [lead.bitsInterval, pw],
    [lead.nInterval, n],
  ] as const) {
    expect(bounds![0]).toBeLessThanOrEqual(value)
    expect(bounds![1]).toBeGreaterThanOrEqual(value)
    expect(bounds![1]).toBeGreaterThan(bounds![0])
  }
  expect(() => ownFits({ rows: 3 }, 'x.json')).toThrow(/x\.json holds no fit/)
}, 30_000)

test('the region names who agrees and who differs', () => {
  const optima = [named('kumar_unified'), named('kumar_wa_offset'), named('multiplier'), named('chinchilla')].map(one =>
    optimumOf(one, problem),
  )
  expect(describeRegion(optima)).toMatch(
    /^between 5\.\d and 9\.\d bits; kumar_unified \(kumar2024\) and kumar_wa_offset \(kumar2024_wa\) agree; multiplier \(panferov2025\) says int4$/,
  )
  expect(describeRegion([optimumOf(named('chinchilla'), problem)])).toBe('no law here tells training bits apart')
})

test('money and energy of a plan are those of the device at the speed it really has', () => {
  const document = planDocument(
    [named('kumar_unified')],
    { ...problem, inferenceTokens: 1e12, vocab: 32_000 },
    setting,
  ) as TrainDocument
  const { plan } = document
  // 7 bits run in FP8: 1979 of 989 TFLOP/s.
  const hours = (6 * plan.n * plan.d * (989 / 1979)) / (989e12 * 0.4) / 3600
  expect(plan.deviceHours / hours).toBeCloseTo(1, 6)
  expect(plan.cost! / (hours * 2.9)).toBeCloseTo(1, 6)
  expect(plan.joules / (hours * 3600 * 700 * 1.3)).toBeCloseTo(1, 6)
  expect(plan.lifetime!.tokens).toBe(1e12)
  expect(plan.lifetime!.dollars! / ((1e12 / plan.lifetime!.tokensPerSecond / 3600) * 2.9)).toBeCloseTo(1, 6)
  expect(
    planDocument([named('chinchilla')], { compute: 1e18, n: 1e10, d: 1e12, cost: { kind: 'bits' } }, setting),
  ).toMatchObject({ infeasible: expect.stringMatching(/relax one of: compute/) })
})

test('the most informative study sets the laws apart, at the cost that it says', () => {
  const study = informativeStudy(fits)!
  expect(study.spread).toBeGreaterThan(0.05)
  const { sizes, tokensPerParameter, bits } = study
  let flops = 0
  for (const n of sizes) for (const ratio of tokensPerParameter) flops += 6 * n * n * ratio * (bits.length + 1)
  expect(study.flops).toBeCloseTo(flops, -3)
  expect(study.runs).toBe(sizes.length * tokensPerParameter.length * (bits.length + 1))
  expect(informativeStudy([named('chinchilla'), named('kumar_unified')])).toBeNull()
})

test('the figure draws a line for each law of bits', () => {
  const svg = planFigure(fits, problem)
  expect(svg).toMatch(/^<svg [\s\S]*<\/svg>\s*$/)
  expect(svg.match(/<polyline/g)!.length).toBe(fits.filter(one => menuOf(one) === null).length)
  expect(svg).not.toMatch(/NaN|Infinity/)
})

test('bits that are held are said to be, and the law of bits still leads', () => {
  const document = planDocument(fits, { ...problem, bits: tied(4) }, setting) as TrainDocument
  expect([document.plan.law, document.plan.pw, document.region]).toEqual(['kumar_unified', 4, 'held at 4'])
})

test('only laws that tell integers apart say how many more parameters 4 bits need', () => {
  const of = (law: string) => (planDocument([named(law)], problem, setting) as TrainDocument).isoLoss
  expect(of('quartet')).toBeNull()
  expect(of('chinchilla')).toBeNull()
  expect(of('kumar_unified')!.parameterFactor).toBeGreaterThan(2)
  expect(of('multiplier')!.parameterFactor).toBeCloseTo(1.016 / 0.692, 3)
})

test('where a loss is wanted, choices tie by cost', () => {
  const kumar = named('kumar_unified')
  const wanted = { loss: 2.95, bits: { low: 3, high: 16 }, cost: { kind: 'bits' } } as const
  const best = optimumOf(kumar, wanted).optimum!
  const list = deviations(kumar, wanted, best, [4, 7, 16], [])
  expect(list.map(one => one.tie)).toEqual([false, true, false])
  for (const one of list) expect(one.lossAbove).toBeCloseTo(0, 5)
})
