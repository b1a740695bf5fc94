import { expect, test } from 'vitest'
import { judgeGate, parseGate } from './gate.ts'

const metrics = {
  kl: { value: { mean: 0.03, standardError: 0.002, count: 100 } },
  loss: {
    value: { mean: 3.02, standardError: 0.05, count: 100 },
    change: { mean: 0.02, standardError: 0.004, count: 100 },
    reference: 3,
  },
}

test('clauses are judged by their whole interval', () => {
  const outcomes = (gate: string) => judgeGate(parseGate(gate), metrics).map(verdict => verdict.outcome)
  expect(outcomes('kl < 0.02, loss < +2%')).toEqual(['failed', 'passed'])
  expect(outcomes('kl < 0.031')).toEqual(['tie'])
  expect(outcomes('loss < +0.5%')).toEqual(['tie'])
  expect(outcomes('loss < +0.3%')).toEqual(['failed'])
  expect(outcomes('loss < 3.2, kl > 0.01')).toEqual(['passed', 'passed'])
})

test('the figure and its interval are those of the change in percent', () => {
  const [verdict] = judgeGate(parseGate('loss<+0.5%'), metrics)
  expect(verdict.value).toBeCloseTo(2 / 3, 12)
  expect(verdict.interval[1]).toBeCloseTo(((0.02 + 1.959963984540054 * 0.004) / 3) * 100, 12)
})

test('wrong clauses and metrics are named', () => {
  expect(() => parseGate('kl less 3')).toThrow("gate 'kl less 3' is not understood")
  expect(() => judgeGate(parseGate('kll < 1'), metrics)).toThrow('did you mean kl?')
  expect(() => judgeGate(parseGate('kl < +1%'), metrics)).toThrow('needs a reference')
})
