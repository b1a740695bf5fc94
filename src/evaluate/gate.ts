// A gate for continuous integration: "kl < 0.02, loss < +0.5%" against what was measured, with its interval.
import { didYouMean, RequestError } from '../formats/error.ts'
import type { Estimate } from './statistics.ts'
import { interval } from './statistics.ts'

/** One clause: a metric below or above a limit; `relative` limits are changes against the reference, `percent` of its value. */
export interface GateClause {
  metric: string
  below: boolean
  limit: number
  relative: boolean
  percent: boolean
  text: string
}

/** What a gate reads: estimates, and where a change against a reference was measured, that and the reference's value. */
export type GateMetrics = Readonly<Record<string, { value: Estimate; change?: Estimate; reference?: number }>>

/** One clause's outcome: failed with its whole interval, tied (the limit lies inside it), or passed. */
export interface GateVerdict {
  clause: GateClause
  value: number
  interval: [number, number]
  outcome: 'passed' | 'tie' | 'failed'
}

/** Reads clauses separated by commas: `<metric> < <limit>` or `>`, the limit with a sign for a change, with % for a share of the reference. */
export function parseGate(text: string): GateClause[] {
  return text.split(',').map(part => {
    const match = /^\s*([\w.]+)\s*([<>])=?\s*([+-])?((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%)?\s*$/i.exec(part)
    if (!match)
      throw new RequestError(
        `gate '${part.trim()}' is not understood, expected something like kl < 0.02 or loss < +0.5%`,
      )
    const [, metric, sign, plus, number, percent] = match
    return {
      metric,
      below: sign === '<',
      limit: Number(`${plus === '-' ? '-' : ''}${number}`),
      relative: plus !== undefined,
      percent: percent !== undefined,
      text: part.trim(),
    }
  })
}

/** Judges each clause by the 95% interval of its figure; an unknown metric, or a change without a reference, is a RequestError. */
export function judgeGate(clauses: readonly GateClause[], metrics: GateMetrics): GateVerdict[] {
  return clauses.map(clause => {
    const metric = metrics[clause.metric]
    if (!metric) {
      const names = Object.keys(metrics)
      throw new RequestError(
        `gate metric '${clause.metric}' was not measured, expected one of ${names.join(', ')}${didYouMean(clause.metric, names)}`,
      )
    }
    const figure = clause.relative ? metric.change : metric.value
    if (!figure) throw new RequestError(`gate '${clause.text}' needs a reference to change from, give --reference`)
    const scale = clause.percent ? 100 / (clause.relative ? (metric.reference ?? Number.NaN) : 1) : 1
    const value = figure.mean * scale
    const [low, high] = Number.isFinite(figure.standardError)
      ? (interval(figure).map(end => end * scale) as [number, number])
      : [value, value]
    const [inside, outside] = clause.below
      ? [high < clause.limit, low > clause.limit]
      : [low > clause.limit, high < clause.limit]
    return { clause, value, interval: [low, high], outcome: inside ? 'passed' : outside ? 'failed' : 'tie' }
  })
}
