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

test('a brute-force grid agrees with the search on 200 problems', () => {
  const next = numbers(7)
  for (let i = 0; i < 200; i++) {
    const compute = 10 ** (18 + 6 * next())
    const problem: TrainProblem = {
      compute,
      bits: next() < 0.5 ? { low: 3, high: 16 } : tied(4 + Math.floor(next() * 12)),
      cost: { kind: 'bits' },
      ...(next() < 0.3 && { data: { tokens: 10 ** (9 + 3 * next()), repeat: next() < 0.5 } }),
      ...(next() < 0.3 && { servingMemory: 10 ** (7 + 4 * next()) }),
      ...(next() < 0.3 && { inferenceTokens: compute / 1e10 }),
    }
    const solution = planTraining(kumar, table2, problem)
    let best = Number.POSITIVE_INFINITY
    const list =
      'low' in problem.bits!
        ? Array.from({ length: 14 }, (_, k) => tied(3 + k))
        : [problem.bits as ReturnType<typeof tied>]
    for (const p of list)
      for (let x = Math.log(1e5); x < Math.log(1e13); x += 0.15) {
        const n = Math.exp(x)
        if (problem.servingMemory && (n * p.pw) / 8 > problem.servingMemory) continue
        const serving = problem.inferenceTokens ? (2 * n * problem.inferenceTokens * p.pw) / 16 : 0
        let d = (compute - serving) / (6 * n * costFactor(p, problem.cost))
        if (problem.data && !problem.data.repeat) d = Math.min(d, problem.data.tokens)
        if (d >= 1e5) best = Math.min(best, lossAt(kumar, table2, problem, n, d, p))
      }
    if ('infeasible' in solution) expect(best).toBe(Number.POSITIVE_INFINITY)
    else {
      expect(solution.plan.loss).toBeLessThanOrEqual(best * (1 + 1e-5))
      expect(solution.plan.flops).toBeLessThanOrEqual(compute * (1 + 1e-6))
    }
  }
}, 60_000)

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
