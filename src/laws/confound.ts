// Is it the tokens, or the learning rate? Checkpoints late in a schedule have seen more tokens and a smaller learning
// rate at once, and what looks like "more data makes PTQ worse" may be the decay (arXiv 2510.06213). Where rows carry
// lr_fraction, the law of damage is fitted again with it; where they cannot tell, that is said.

import { bootstrap, quantile } from './bootstrap.ts'
import { bind } from './core.ts'
import type { FitOptions, Solved } from './fit.ts'
import { affine } from './jet.ts'
import { type Configuration, type Law, numberOf, type Parameter, type Piece, textOf } from './law.ts'
import { largestOf, smallestOf } from './linear.ts'
import { given, hasPost } from './pieces.ts'
import { createProblem, naturalAt, phiAt, thetaAt } from './problem.ts'
import { search } from './starts.ts'

/** A law of damage with and without the learning rate. */
export interface Confound {
  column: 'lr_fraction'
  /** How the learning rate enters ln delta: as it is, or as its logarithm. */
  form: 'linear' | 'log'
  /** Exponent of D alone, and beside the learning rate, with 95% intervals. */
  alone: number
  together: number
  togetherInterval: [number, number]
  effect: number
  effectInterval: [number, number]
  /** Objectives: D only, learning rate only, both. */
  objectives: { d: number; lr: number; both: number }
  /** What follows. */
  verdict: 'learning rate' | 'tokens' | 'both' | 'cannot tell'
}

const SMALLEST = 1e-3
const FORMS = {
  linear: (row: Configuration) => numberOf(row, 'lr_fraction', 0),
  log: (row: Configuration) => Math.log(Math.max(numberOf(row, 'lr_fraction', SMALLEST), SMALLEST)),
} as const
const EFFECT: Parameter = {
  name: 'lr_effect',
  meaning: 'change of ln delta with the learning rate',
  unit: '',
  transform: 'linear',
  bounds: [-50, 50],
  start: [-1, 1],
}

/** The law with a term for the learning rate in ln delta. */
function withRate(law: Law, form: 'linear' | 'log'): Law {
  const piece: Piece = {
    at: row => ({ locals: ['lr_effect'], x: [FORMS[form](row)] }),
    value: (locals, [x]) => affine(locals[0], x, 0),
  }
  return { ...law, parameters: [...law.parameters, EFFECT], core: { ...law.core, H: [...(law.core.H ?? []), piece] } }
}

/** Correlation of two columns. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (v: readonly number[]) => v.reduce((s, x) => s + x, 0) / v.length
  const [ma, mb] = [mean(a), mean(b)]
  let [aa, ab, bb] = [0, 0, 0]
  a.forEach((x, i) => {
    aa += (x - ma) ** 2
    bb += (b[i] - mb) ** 2
    ab += (x - ma) * (b[i] - mb)
  })
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0
}

/** What the rows say of D against the learning rate; sentences are added to `warnings`. Empty for laws without a damage that grows with D. */
export function findConfounds(solved: Solved, options: FitOptions, warnings: string[]): Confound[] {
  const { law, prepared, problem, found, theta } = solved
  const name = law.core.gammaD?.terms[0]?.[0]
  if (!law.core.c || name === undefined || !law.columns.some(c => c.name === 'P_post')) return []
  const rows = prepared.rows.filter(hasPost)
  if (rows.length === 0 || !problem.free.includes(name)) return []
  const schedules = new Set(rows.map(row => textOf(row, 'schedule')?.toLowerCase()).filter(s => s !== undefined))
  const rates = rows.map(FORMS.linear)
  const varies = rows.every(row => given(row['lr_fraction'])) && largestOf(rates) - smallestOf(rates) > 1e-6
  const unable = (why: string) =>
    warnings.push(`${why}: whether the damage follows D or the decay of the learning rate cannot be told apart`)
  if (!varies) {
    if (schedules.size === 0 && !rows.some(row => given(row['lr_fraction'])))
      unable('the rows have no column schedule or lr_fraction')
    else if (schedules.size <= 1)
      unable(
        `every row has the schedule ${[...schedules][0] ?? 'at one learning rate'} and none tells its learning rate apart from D`,
      )
    return []
  }
  // within one model size, a single decaying schedule makes lr_fraction a function of D
  const collinear = withinSizes(rows)
  if (Math.abs(collinear) > 0.97) {
    unable(`lr_fraction and ln D move together in these rows (correlation ${collinear.toFixed(3)})`)
  } else if (schedules.size === 1 && /cosine|linear/.test([...schedules][0] ?? '')) {
    unable(`every row has the schedule ${[...schedules][0]}, whose learning rate falls as D grows`)
  }
  const tried = (['linear', 'log'] as const).map(form => {
    const wider = withRate(law, form)
    const parameters = [
      ...solved.parameters.slice(0, law.parameters.length),
      EFFECT,
      ...solved.parameters.slice(law.parameters.length),
    ]
    const bound = bind(wider.core, parameters, prepared.rows, prepared.target)
    const fix = options.fix
    const both = createProblem(bound, problem.objective, { fix, tie: options.tie, bounds: options.bounds })
    const only = createProblem(bound, problem.objective, {
      fix: { ...fix, [name]: 1e-6 },
      tie: options.tie,
      bounds: options.bounds,
    })
    const values = { ...naturalAt(solved.parameters, theta), lr_effect: 0 } as Record<string, number>
    const from = Float64Array.from(parameters, p => (p.transform === 'log' ? Math.log(values[p.name]) : values[p.name]))
    const without = from.slice()
    without[parameters.findIndex(p => p.name === name)] = 1e-6
    const foundBoth = search(both, { starts: 40, seed: options.seed, from: [phiAt(both, from)] })
    const foundOnly = search(only, { starts: 40, seed: options.seed, from: [phiAt(only, without)] })
    return { form, both, parameters, best: foundBoth.best, only: foundOnly.best.value }
  })
  const { form, both, parameters, best, only } = tried[0].best.value <= tried[1].best.value ? tried[0] : tried[1]
  const at = naturalAt(parameters, thetaAt(both, best.phi))
  const { thetas } = bootstrap(
    both,
    best,
    prepared.clusters,
    prepared.clusterCount,
    Math.max(options.bootstrap ?? 200, 100),
    3,
  )
  const interval = (parameter: string): [number, number] => {
    const i = parameters.findIndex(p => p.name === parameter)
    const sorted = Float64Array.from(thetas, t => t[i]).sort()
    return [quantile(sorted, 0.025), quantile(sorted, 0.975)]
  }
  const togetherInterval = interval(name)
  const effectInterval = interval('lr_effect')
  const alone = naturalAt(solved.parameters, theta)[name]
  const rate = effectInterval[0] > 0 || effectInterval[1] < 0
  const tokens = togetherInterval[0] > 0.02 && togetherInterval[0] > 0.1 * alone
  const verdict =
    Math.abs(collinear) > 0.97
      ? 'cannot tell'
      : rate && tokens
        ? 'both'
        : rate
          ? 'learning rate'
          : tokens
            ? 'tokens'
            : 'cannot tell'
  const range = ([low, high]: [number, number]) => `${Number(low.toPrecision(2))} to ${Number(high.toPrecision(2))}`
  const begin = `with the learning rate in the fit, ${name} goes from ${alone.toPrecision(3)} to ${at[name].toPrecision(3)} (95% ${range(togetherInterval)})`
  if (verdict === 'learning rate')
    warnings.push(`${begin}: the damage follows the learning rate at the checkpoint, not D`)
  if (verdict === 'both') warnings.push(`${begin}: the damage follows both D and the learning rate at the checkpoint`)
  if (verdict === 'tokens')
    warnings.push(`${begin}: the damage follows D; the learning rate adds nothing that can be seen`)
  return [
    {
      column: 'lr_fraction',
      form,
      alone,
      together: at[name],
      togetherInterval,
      effect: at['lr_effect'],
      effectInterval,
      objectives: { d: found.best.value, lr: only, both: best.value },
      verdict,
    },
  ]
}

/** Correlation of ln D with lr_fraction inside sizes of N (means of each size taken out). */
function withinSizes(rows: readonly Configuration[]): number {
  const groups = new Map<number, Configuration[]>()
  for (const row of rows) {
    const group = groups.get(numberOf(row, 'N'))
    if (group) group.push(row)
    else groups.set(numberOf(row, 'N'), [row])
  }
  const tokens: number[] = []
  const rates: number[] = []
  for (const group of groups.values()) {
    const logs = group.map(row => Math.log(numberOf(row, 'D')))
    const values = group.map(FORMS.linear)
    const mean = (v: readonly number[]) => v.reduce((s, x) => s + x, 0) / v.length
    tokens.push(...logs.map(v => v - mean(logs)))
    rates.push(...values.map(v => v - mean(values)))
  }
  return correlation(tokens, rates)
}
