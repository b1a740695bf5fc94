import { expect, test } from 'vitest'
import { bind, predictions } from './core.ts'
import { createEvaluation, evaluate } from './derivatives.ts'
import { LAWS } from './index.ts'
import type { Law, Parameter } from './law.ts'
import { createRandom } from './random.ts'

const random = createRandom(7)
const between = (low: number, high: number) => low + (high - low) * random()

/** Rows with every column that any law reads, some after PTQ. */
function someRows(count: number) {
  const formats = ['BF16', 'int3', 'int4', 'fp4e2m1']
  return Array.from({ length: count }, (_, i) => ({
    N: Math.exp(between(17, 21)),
    D: Math.exp(between(20, 24)),
    P_w: [16, 8, 6, 5][i % 4],
    P_a: [16, 8, 7][i % 3],
    P_kv: [16, 6][i % 2],
    P_post: i % 3 === 0 ? '' : 3 + (i % 2),
    format_w: formats[i % 4],
    format_a: formats[(i * 7) % 4],
    format_post: `int${3 + (i % 2)}@64`,
    forward: ['BF16', 'SR', 'RTN'][i % 3],
    backward: ['BF16', 'SR'][i % 2],
    D_unique: Math.exp(between(19, 21)),
    group: [32, 128][i % 2],
    exponent: 2 + (i % 2),
    mantissa: 1 + (i % 3),
  }))
}

/** Parameters in the domain of a law: small exponents, factors below 1. */
function someTheta(parameters: readonly Parameter[]): Float64Array {
  return Float64Array.from(parameters, ({ name, transform, start, bounds }) => {
    let value = between(start[0], start[1])
    if (/^(gamma_(w|a|kv)|gamma)$/.test(name) && transform === 'log') value = between(1, 1.6)
    if (/^n(_|$)/.test(name)) value = between(-0.2, 0.4)
    if (name === 'E') value = between(1, 2)
    if (name === 'C_T' || name === 'k') value = between(0.01, 0.05)
    value = Math.min(Math.max(value, bounds[0]), bounds[1])
    return transform === 'log' ? Math.log(value) : value
  })
}

function parametersOf(law: Law, rows: ReturnType<typeof someRows>) {
  return [...law.parameters, ...(law.parametersFor?.(rows) ?? [])]
}

const fitted = LAWS.filter(law => law.notFitted === undefined)

test.each(fitted.map(law => [law.name, law] as const))('%s: the core predicts what the formula says', (_, law) => {
  const rows = someRows(24).filter(row => law.response === 'loss' || row.P_post !== '')
  const parameters = parametersOf(law, rows)
  const theta = someTheta(parameters)
  const values = Object.fromEntries(
    parameters.map((p, i) => [p.name, p.transform === 'log' ? Math.exp(theta[i]) : theta[i]]),
  )
  const bound = bind(law.core, parameters, rows, new Float64Array(rows.length).fill(3))
  const found = predictions(bound, theta)
  for (let i = 0; i < rows.length; i++) {
    const { loss, deltaPtq } = law.predict(values, rows[i])
    const wanted = law.response === 'loss' ? loss : deltaPtq
    expect(found[i] / (wanted ?? Number.NaN)).toBeCloseTo(1, 10)
  }
})

test.each(
  fitted.flatMap(law => (['huber', 'squares', 'log-squares'] as const).map(kind => [law.name, kind, law] as const)),
)('%s, %s: gradient and Hessian agree with differences', (_, kind, law) => {
  const rows = someRows(30).filter(row => law.response === 'loss' || row.P_post !== '')
  const parameters = parametersOf(law, rows)
  const theta = someTheta(parameters)
  const p = parameters.length
  const probe = bind(law.core, parameters, rows, new Float64Array(rows.length).fill(3))
  // residuals well to either side of delta, so that no difference straddles it
  const target = predictions(probe, theta).map((v, i) => v * Math.exp([0.1, -0.02, 0.015, -0.09][i % 4]))
  const bound = bind(
    law.core,
    parameters,
    rows,
    target,
    rows.map((_, i) => i % 3),
  )
  const objective = { kind, delta: 0.04 }
  const at = createEvaluation(p)
  evaluate(bound, theta, objective, 'exact', at)
  const scale = at.value + at.gradient.reduce((sum, g) => sum + Math.abs(g), 0)
  for (let i = 0; i < p; i++) {
    // central differences at two widths, extrapolated to none
    const differences = [2e-4, 1e-4].map(h => {
      const [up, down] = [h, -h].map(step => {
        const moved = theta.slice()
        moved[i] += step
        const out = createEvaluation(p)
        evaluate(bound, moved, objective, 'exact', out)
        return out
      })
      return [up.value - down.value, ...up.gradient.map((g, j) => g - down.gradient[j])].map(v => v / (2 * h))
    })
    const [slope, ...bends] = differences[1].map((fine, j) => (4 * fine - differences[0][j]) / 3)
    expect(Math.abs(at.gradient[i] - slope)).toBeLessThan(1e-7 * scale)
    for (let j = 0; j < p; j++)
      expect(Math.abs(at.curvature[i * p + j] - bends[j])).toBeLessThan(1e-6 * (scale + Math.abs(bends[j])))
  }
})
