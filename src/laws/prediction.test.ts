import { expect, test } from 'vitest'
import type { Row } from '../table/index.ts'
import { bestBits, findLaw, fit, fitFigure, fitKbit, fitLaws, predictFit, predictPublished, readFits } from './index.ts'
import { createRandom, normal } from './random.ts'

/** Runs that follow Chinchilla with weights at several widths, noise of 0.3% a run. */
function runs(seed: number, repeats = 1): Row[] {
  const random = createRandom(seed)
  const rows: Row[] = []
  for (let repeat = 0; repeat < repeats; repeat++)
    for (const N of [3e7, 6e7, 1.1e8, 2.2e8, 4.4e8])
      for (const D of [1e9, 3e9, 1e10, 3e10])
        for (const P_w of [16, 8, 4, 3]) {
          const nEff = N * (1 - Math.exp(-P_w / 2.5))
          const loss = 400 * nEff ** -0.34 + 1500 * D ** -0.35 + 1.8
          rows.push({ N, D, P_w, P_a: 16, loss: loss * Math.exp(0.003 * normal(random)) })
        }
  return rows
}

test('a fit predicts with an interval that new runs fall into, and says when it is asked too far', () => {
  const found = fit(runs(1), findLaw('kumar_tied'), { bootstrap: 100, starts: 60 })
  const fresh = runs(2, 3)
  const inside = fresh.filter(row => {
    const { interval, loss } = predictFit(found, row)
    expect(loss).not.toBeNull()
    return interval !== null && Number(row['loss']) >= interval[0] && Number(row['loss']) <= interval[1]
  })
  expect(inside.length / fresh.length).toBeGreaterThan(0.85)
  expect(inside.length / fresh.length).toBeLessThan(0.96)
  const far = predictFit(found, { N: 70e9, D: 1.4e12, P_w: 2 })
  expect(far.insideRange).toBe(false)
  expect(far.notes.join()).toContain('N 70B is outside 30M..440M')
  expect(far.notes.join()).toContain('P_w 2 is outside 3..16')
  expect(predictFit(found, { N: 1e8, D: 3e9, P_w: 4 }).insideRange).toBe(true)
  const copy = readFits(JSON.parse(JSON.stringify({ fits: [found] })), 'fit.json')[0]
  expect(predictFit(copy, fresh[0])).toEqual(predictFit(found, fresh[0]))
  expect(() => readFits({ other: 1 }, 'x.json')).toThrow('x.json holds no fit')
})

test('published constants answer with their range, null where they say nothing', () => {
  const [kumar] = predictPublished(findLaw('kumar'), { N: 1e8, D: 1e10, P_w: 8, P_post: 4 })
  expect(kumar.deltaPtq).toBeGreaterThan(0)
  expect(kumar.interval).toBeNull()
  expect(kumar.insideRange).toBe(true)
  const [free] = predictPublished(findLaw('multiplier'), { N: 1e8, D: 3e9, P_w: 4, P_a: 4 })
  expect(free.loss).toBeNull()
  expect(free.nEff).toBeCloseTo(0.692e8, -3)
  expect(() => predictPublished(findLaw('chinchilla'), { N: 1, D: 1 }, 'nobody')).toThrow("no published fit 'nobody'")
})

test('compares laws on the same held-out rows: the true form is better, equal forms are not told apart', () => {
  const { fits, best, comparison } = fitLaws(
    runs(3),
    ['chinchilla', 'kumar_tied', 'kumar_tied_offset'].map(name => findLaw(name)),
    { bootstrap: 0, starts: 40, diagnose: false },
  )
  expect(best).not.toBe('chinchilla')
  expect(fits.map(one => one.heldOut?.rows)).toEqual([80, 80, 80])
  const pair = (a: string, b: string) => comparison.find(c => c.a === a && c.b === b)
  expect(pair('chinchilla', 'kumar_tied')?.verdict).toBe('kumar_tied is better')
  expect(pair('chinchilla', 'kumar_tied')?.interval[0]).toBeGreaterThan(0)
  expect(pair('kumar_tied', 'kumar_tied_offset')?.verdict).toContain('cannot be told apart')
})

test.each(['largest-n', 'largest-d', 'precision', 'sizes', 'folds:4'] as const)('holds out by %s', holdOut => {
  const found = fit(runs(4), findLaw('kumar_tied_offset'), { bootstrap: 0, starts: 30, diagnose: false, holdOut })
  expect(found.heldOut?.rows).toBe({ 'largest-n': 16, 'largest-d': 20 }[holdOut as string] ?? 80)
  expect(found.heldOut?.rmse).toBeLessThan(holdOut === 'precision' ? 0.2 : 0.03)
  expect(found.heldOut?.rmse).toBeGreaterThan(0)
})

test('the k-bit law finds the offsets, the best precision, and ties', () => {
  const random = createRandom(9)
  const offsets: Record<number, number> = { 16: 0, 8: -0.3, 5: -0.42, 4: -0.425, 3: -0.2 }
  const rows: Row[] = []
  for (const N of [1e8, 3e8, 1e9, 3e9, 1e10, 3e10])
    for (const [bits, offset] of Object.entries(offsets))
      rows.push({
        N,
        P_post: Number(bits),
        loss: 4 - 0.12 * Math.log2((N * Number(bits)) / 1e9) + offset + 0.01 * normal(random),
      })
  const found = fitKbit(rows, { bootstrap: 200 })
  for (const [bits, offset] of Object.entries(offsets))
    expect(found.parameters[`offset ${bits}`]).toBeCloseTo(offset, 1)
  const { best, tie } = bestBits(found, 8e9)
  expect([4, 5]).toContain(best)
  expect(tie).toEqual([4, 5])
  const document = fit(rows, findLaw('kbit'), { bootstrap: 100 })
  expect(document.rSquared).toBeGreaterThan(0.99)
  expect(document.warnings.join()).toMatch(/at equal total bits [45] bits are best, tied with [45]/)
  expect(predictFit(document, { N: 1e9, D: 1, P_post: 4 }).loss).toBeCloseTo(4 - 0.12 * 2 - 0.425, 1)
})

test('draws a figure with a point for each row in each panel', () => {
  const { solved } = fitLaws(runs(5), [findLaw('kumar_tied')], { bootstrap: 0, starts: 20, diagnose: false })
  const svg = fitFigure(solved[0])
  expect(svg.match(/<circle [^>]*r="3"/g)?.length).toBe(80)
  expect(svg.match(/<circle [^>]*r="2.5"/g)?.length).toBe(80)
  expect(svg).not.toContain('NaN')
  expect(svg).toContain('measured against predicted, 80 rows')
})

test('95% intervals hold the truth about as often as they say', () => {
  const law = findLaw('chinchilla_tied')
  const truth: Record<string, number> = { A: 400, B: 1500, E: 1.8, alpha: 0.35 }
  const random = createRandom(21)
  const inside = Object.fromEntries(Object.keys(truth).map(name => [name, 0]))
  const repetitions = 40
  for (let r = 0; r < repetitions; r++) {
    const rows = Array.from({ length: 80 }, () => {
      const N = 5e7 * Math.exp(5 * random())
      const D = 1e9 * Math.exp(5 * random())
      return { N, D, loss: (400 * N ** -0.35 + 1500 * D ** -0.35 + 1.8) * Math.exp(0.003 * normal(random)) }
    })
    const found = fit(rows, law, { bootstrap: 100, starts: 12, seed: r, diagnose: false })
    for (const name of Object.keys(truth)) {
      const [low, high] = found.intervals[name]
      if (low <= truth[name] && truth[name] <= high) inside[name]++
    }
  }
  for (const name of Object.keys(truth)) expect(inside[name] / repetitions).toBeGreaterThan(0.84)
})
