import { expect, test } from 'vitest'
import { findLaw } from '../laws/index.ts'
import { costFactor } from './cost.ts'
import { isoLoss } from './region.ts'
import { minimize, solveDecreasing } from './search.ts'
import { effectiveData, lossAt, planTraining, type TrainProblem, tied } from './train.ts'

const kumar = findLaw('kumar_unified_train')
const table2 = kumar.fits.find(fit => fit.name === 'kumar2024')!.parameters
const chinchilla = findLaw('chinchilla')
const besiroglu = chinchilla.fits.find(fit => fit.name === 'besiroglu2024')!.parameters
const bits = { low: 3, high: 16 }

function plan(law: typeof kumar, parameters: typeof table2, problem: TrainProblem) {
  const solution = planTraining(law, parameters, problem)
  if ('infeasible' in solution) throw new Error(solution.infeasible)
  return solution
}

test('the search finds the least value, its ends included', () => {
  expect(minimize(x => (x - 1.234) ** 2, -5, 9).x).toBeCloseTo(1.234, 3)
  expect(minimize(x => x, 2, 3).x).toBe(2)
  expect(solveDecreasing(x => -x, -2, 0, 5)).toBeCloseTo(2, 9)
  expect(solveDecreasing(x => -x, -9, 0, 5)).toBeUndefined()
})

test("Kumar's constants give 7.0 bits at any compute, and an optimum that grows with compute at fixed N", () => {
  for (const compute of [1e19, 1e21, 1e23])
    expect(plan(kumar, table2, { compute, bits, cost: { kind: 'bits' } }).plan.pw).toBeCloseTo(7.0, 1)
  const optima = [1e18, 1e19, 1e20, 1e21].map(
    compute => plan(kumar, table2, { compute, n: 1e8, bits, cost: { kind: 'bits' } }).plan.pw,
  )
  for (let i = 1; i < optima.length; i++) expect(optima[i]).toBeGreaterThan(optima[i - 1])
  // Growth with the logarithm of compute: equal factors add nearly equal bits.
  expect((optima[3] - optima[2]) / (optima[2] - optima[1])).toBeGreaterThan(0.6)
  expect((optima[3] - optima[2]) / (optima[2] - optima[1])).toBeLessThan(1.6)
})

test("Chinchilla's optimum at 5.76e23 FLOP equals the closed form", () => {
  for (const fit of chinchilla.fits) {
    const { A, B, alpha, beta } = fit.parameters
    if (A === undefined || alpha === undefined) continue
    const g = ((alpha * A) / (beta * B)) ** (1 / (alpha + beta))
    const n = g * (5.76e23 / 6) ** (beta / (alpha + beta))
    const found = plan(chinchilla, fit.parameters, { compute: 5.76e23, bits: tied(16), cost: { kind: 'bits' } }).plan
    expect(Math.abs(found.n / n - 1)).toBeLessThan(1e-3)
    expect(Math.abs((6 * found.n * found.d) / 5.76e23 - 1)).toBeLessThan(1e-9)
  }
})

test('inference over the life of a model shifts the plan to fewer parameters and more tokens', () => {
  const problem = { compute: 1e23, bits: tied(16), cost: { kind: 'bits' } } as const
  const without = plan(chinchilla, besiroglu, problem).plan
  const served = plan(chinchilla, besiroglu, {
    ...problem,
    compute: undefined,
    loss: without.loss,
    inferenceTokens: 2e12,
  }).plan
  expect(served.n).toBeLessThan(without.n * 0.9)
  expect(served.d).toBeGreaterThan(without.d * 1.1)
  expect(served.loss).toBeLessThanOrEqual(without.loss + 1e-9)
})

test("Sardana's published shift: a 13B model that serves 2T tokens should be 7B, on 2.1 times the data, at 17% less compute", () => {
  const sardana = findLaw('sardana')
  const { parameters } = sardana.fits.find(fit => fit.name === 'sardana2023')!
  const { A, B, alpha, beta } = parameters
  // The D with which 13B is compute-optimal, where training alone counts.
  const d = ((beta * B) / (alpha * A)) ** (1 / beta) * 13e9 ** (alpha / beta)
  const loss = lossAt(sardana, parameters, { cost: { kind: 'bits' } }, 13e9, d, tied(16))
  const alone = 6 * 13e9 * d
  expect(
    plan(sardana, parameters, { compute: alone, bits: tied(16), cost: { kind: 'bits' } }).plan.n / 13e9,
  ).toBeCloseTo(1, 2)
  const served = plan(sardana, parameters, { loss, bits: tied(16), cost: { kind: 'bits' }, inferenceTokens: 2e12 }).plan
  const before = alone + 2 * 13e9 * 2e12
  expect(served.n / 7e9).toBeCloseTo(1, 1)
  expect(served.d / d).toBeGreaterThan(2.05)
  expect(served.d / d).toBeLessThan(2.2)
  expect(1 - served.flops / before).toBeCloseTo(0.17, 2)
  expect((before - served.flops) / 1.7e22).toBeCloseTo(1, 1)
})

test('a wanted loss is reached, as cheaply as the budget that gives it', () => {
  const best = plan(kumar, table2, { compute: 1e20, bits, cost: { kind: 'bits' } }).plan
  const cheapest = plan(kumar, table2, { loss: best.loss, bits, cost: { kind: 'bits' } }).plan
  expect(Math.abs(cheapest.flops / 1e20 - 1)).toBeLessThan(1e-2)
  expect(cheapest.pw).toBeCloseTo(best.pw, 0)
})

test('4-bit training needs more parameters than the bits it saves', () => {
  const { parameterFactor, bitsFactor } = isoLoss(
    { law: kumar, fit: 'kumar2024', parameters: table2, range: {} },
    { kind: 'bits' },
    1e9,
    2e10,
    4,
    8,
  )!
  expect(bitsFactor).toBe(2)
  expect(parameterFactor).toBeGreaterThan(bitsFactor)
})

test('repeated data is worth less, and at most about 16 times the distinct tokens', () => {
  expect(effectiveData(1e9, 2e9)).toBe(1e9)
  expect(effectiveData(4e9, 1e9)).toBeGreaterThan(3.6e9)
  expect(effectiveData(4e9, 1e9)).toBeLessThan(4e9)
  expect(effectiveData(1e13, 1e9)).toBeLessThan(16.5e9)
})

/** Numbers from a small generator, for problems that are the same in every run. */
function numbers(seed: number) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** The best value on a grid of N, D and bits of everything that a problem allows: loss, or cost where a loss is wanted. */
function bruteForce(problem: TrainProblem, widths: readonly ReturnType<typeof tied>[]): number {
  let best = Number.POSITIVE_INFINITY
  for (const p of widths)
    for (let x = Math.log(1e5); x < Math.log(1e13); x += 0.15) {
      const n = problem.n ?? Math.exp(x)
      if (problem.servingMemory && (n * p.pw) / 8 > problem.servingMemory) continue
      if (problem.trainingMemory && n * (16 + (p.pw < 16 ? p.pw / 8 : 2)) > problem.trainingMemory) continue
      const serving = problem.inferenceTokens ? (2 * n * problem.inferenceTokens * (problem.postBits ?? p.pw)) / 16 : 0
      const perToken = 6 * n * costFactor(p, problem.cost)
      const affordable = ((problem.compute ?? Number.POSITIVE_INFINITY) - serving) / perToken
      const limit = problem.data && !problem.data.repeat ? Math.min(affordable, problem.data.tokens) : affordable
      const choices = problem.d !== undefined ? [problem.d] : [limit]
      // Where a loss is wanted less may do; where the model is quantized afterwards less may be better.
      if (problem.d === undefined && (problem.loss !== undefined || problem.postBits !== undefined))
        for (let y = Math.log(1e5); y < Math.log(Math.min(limit, 1e16)); y += 0.1) choices.push(Math.exp(y))
      for (const d of choices) {
        if (!(d >= 1e5) || d > limit * (1 + 1e-12) || !Number.isFinite(d)) continue
        const loss = lossAt(kumar, table2, problem, n, d, p)
        if (problem.loss === undefined) best = Math.min(best, loss)
        else if (loss <= problem.loss) best = Math.min(best, perToken * d + serving)
      }
    }
  return best
}

test('a brute-force grid agrees with the search on 200 problems', () => {
  const next = numbers(7)
  for (let i = 0; i < 200; i++) {
    const compute = 10 ** (18 + 6 * next())
    const free = next() < 0.5
    const problem: TrainProblem = {
      compute,
      bits: free ? { low: 3, high: 16 } : tied(4 + Math.floor(next() * 12)),
      cost: { kind: 'bits' },
      ...(next() < 0.3 && { data: { tokens: 10 ** (9 + 3 * next()), repeat: next() < 0.5 } }),
      ...(next() < 0.3 && { servingMemory: 10 ** (7 + 4 * next()) }),
      ...(next() < 0.3 && { trainingMemory: 10 ** (9 + 4 * next()) }),
      ...(next() < 0.3 && { inferenceTokens: compute / 1e10 }),
      ...(next() < 0.2 && { n: 10 ** (7 + 3 * next()) }),
      ...(next() < 0.2 && { d: 10 ** (8 + 3 * next()) }),
      ...(next() < 0.2 && { loss: 2.9 + next(), ...(next() < 0.5 && { compute: undefined }) }),
    }
    const widths = free ? Array.from({ length: 14 }, (_, k) => tied(3 + k)) : [problem.bits as ReturnType<typeof tied>]
    const solution = planTraining(kumar, table2, problem)
    const best = bruteForce(problem, widths)
    if ('infeasible' in solution) expect([problem, best]).toEqual([problem, Number.POSITIVE_INFINITY])
    else {
      const { plan: found } = solution
      const value = problem.loss === undefined ? found.loss : found.flops
      expect(value).toBeLessThanOrEqual(best * (1 + 1e-5))
      expect(found.flops).toBeLessThanOrEqual((problem.compute ?? Number.POSITIVE_INFINITY) * (1 + 1e-6))
      if (problem.loss !== undefined) expect(found.loss).toBeLessThanOrEqual(problem.loss + 1e-9)
      if (problem.servingMemory)
        expect((found.n * found.pw) / 8).toBeLessThanOrEqual(problem.servingMemory * (1 + 1e-9))
    }
  }
}, 60_000)

test('a model that is quantized afterwards stops at its best D', () => {
  const unified = findLaw('kumar_unified')
  const { parameters } = unified.fits[0]
  const problem = { compute: 1e22, n: 3e7, postBits: 3, bits: tied(16), cost: { kind: 'bits' } } as const
  const { plan: found } = plan(unified, parameters, problem)
  const loss = (d: number) => lossAt(unified, parameters, problem, found.n, d, tied(16))
  expect(found.flops).toBeLessThan(1e22)
  for (const factor of [0.9, 0.99, 1.01, 1.1]) expect(loss(found.d)).toBeLessThanOrEqual(loss(found.d * factor))
})

test('parts that are chosen apart do better than alike, and as the law balances them', () => {
  const alike = plan(kumar, table2, { compute: 1e21, bits, cost: { kind: 'bits' } }).plan
  const { plan: apart } = plan(kumar, table2, {
    compute: 1e21,
    bits: { pw: bits, pa: bits, pkv: bits },
    cost: { kind: 'bits' },
  })
  expect(apart.loss).toBeLessThan(alike.loss)
  expect(apart.pkv).toBeLessThan(apart.pa)
  // At the optimum a bit of any part is worth the same: d ln f / dP is equal where none is at a bound.
  const slope = (p: number, gamma: number, n: number) =>
    Math.exp(-p / gamma + n) / gamma / (1 - Math.exp(-p / gamma + n))
  const { gamma_w, n_w, gamma_a, n_a, gamma_kv, n_kv } = table2
  const slopes = [slope(apart.pw, gamma_w, n_w), slope(apart.pa, gamma_a, n_a), slope(apart.pkv, gamma_kv, n_kv)]
  for (const one of slopes) expect(one / slopes[0]).toBeCloseTo(1, 1)
  const held = plan(kumar, table2, {
    compute: 1e21,
    bits: { pw: { low: 4, high: 4 }, pa: bits, pkv: bits },
    cost: { kind: 'bits' },
  }).plan
  expect(held.pw).toBe(4)
  expect(held.loss).toBeGreaterThan(apart.loss)
})

test('memory holds embeddings where the vocabulary is given', () => {
  const problem = { compute: 1e23, bits: tied(16), cost: { kind: 'bits' }, servingMemory: 1e10 } as const
  const bare = plan(kumar, table2, problem).plan
  const whole = plan(kumar, table2, { ...problem, vocab: 128_000 })
  expect(bare.n).toBeCloseTo(5e9, -4)
  expect(whole.plan.n * 2 + 2 * 128_000 * Math.cbrt((whole.plan.n * 128) / 12) * 2).toBeCloseTo(1e10, -4)
  expect(whole.binding).toContain('serving memory')
})

test('an infeasible problem says what to relax and by how much', () => {
  const solution = planTraining(chinchilla, besiroglu, {
    compute: 1e18,
    n: 1e9,
    d: 1e10,
    bits: tied(16),
    cost: { kind: 'bits' },
  })
  expect('infeasible' in solution && solution.infeasible).toMatch(/compute: 6\.00e\+19 FLOP would do, 60 times/)
  const unreachable = planTraining(chinchilla, besiroglu, {
    compute: 1e20,
    loss: 1.5,
    bits: tied(16),
    cost: { kind: 'bits' },
  })
  expect('infeasible' in unreachable && unreachable.infeasible).toMatch(/loss: \d.\d+ can be reached instead of 1.5/)
  const small = planTraining(chinchilla, besiroglu, {
    compute: 1e20,
    n: 1e9,
    servingMemory: 1e9,
    bits: tied(16),
    cost: { kind: 'bits' },
  })
  expect('infeasible' in small && small.infeasible).toMatch(/serving memory: 2\.00e\+9 bytes would do, 2 times/)
  const little = planTraining(chinchilla, besiroglu, {
    loss: 2.2,
    n: 1e10,
    data: { tokens: 1e9, repeat: false },
    bits: tied(16),
    cost: { kind: 'bits' },
  })
  expect('infeasible' in little && little.infeasible).toMatch(/data: \d\.\d+e\+1\d tokens would do/)
})

test('constraints that bind are named', () => {
  expect(plan(kumar, table2, { compute: 1e22, bits, cost: { kind: 'bits' }, servingMemory: 1e8 }).binding).toEqual([
    'compute',
    'serving memory',
  ])
  expect(
    plan(kumar, table2, {
      compute: 1e24,
      bits,
      cost: { kind: 'bits' },
      servingMemory: 1e9,
      data: { tokens: 1e11, repeat: false },
    }).binding,
  ).toEqual(['data', 'serving memory'])
})
