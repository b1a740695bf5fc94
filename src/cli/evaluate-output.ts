// What `bitlaw evaluate` prints: the document of interfaces, a table with paired differences and ties, lines of samples.
import type { Comparison } from '../evaluate/divergence.ts'
import type { GateMetrics, GateVerdict } from '../evaluate/gate.ts'
import { compareTask, type TaskResult } from '../evaluate/harness.ts'
import type { TextScore } from '../evaluate/loss.ts'
import { isTie, pairedEstimate } from '../evaluate/statistics.ts'
import { table } from './output.ts'

/** Everything measured on one model. */
export interface ModelReport {
  model: string
  score?: TextScore
  comparison?: Comparison
  tasks: TaskResult[]
}

/** A clause that did not pass, in words. */
export function explain({ clause, value, interval, outcome }: GateVerdict): string {
  const unit = clause.percent ? '%' : ''
  const show = (x: number) => `${Number(x.toPrecision(4))}${unit}`
  return `'${clause.text}' ${outcome === 'tie' ? 'is a tie' : 'fails'}: ${clause.metric} ${clause.relative ? 'changed by ' : 'is '}${show(value)}, 95% interval ${show(interval[0])} to ${show(interval[1])}`
}

/** What a gate may ask of a report. */
export function metricsOf({ score, comparison, tasks }: ModelReport): GateMetrics {
  const metrics: Record<string, GateMetrics[string]> = {}
  const exact = (mean: number) => ({ mean, standardError: Number.NaN, count: 1 })
  if (score) {
    const loss = { mean: score.loss, standardError: score.lossStandardError, count: score.tokens }
    metrics['loss'] = { value: loss, change: comparison?.lossChange, reference: comparison?.reference.loss }
    metrics['perplexity'] = { value: exact(score.perplexity) }
    if (score.bitsPerByte !== null) metrics['bitsPerByte'] = { value: exact(score.bitsPerByte) }
  }
  if (comparison) {
    const { kl, topAgreement, score: own } = comparison
    metrics['kl'] = { value: { mean: kl.mean, standardError: kl.standardError, count: own.tokens } }
    metrics['topAgreement'] = {
      value: {
        mean: topAgreement,
        standardError: Math.sqrt((topAgreement * (1 - topAgreement)) / own.tokens),
        count: own.tokens,
      },
    }
  }
  for (const { task, score: one } of tasks) {
    metrics[`${task}.acc`] = { value: { mean: one.acc, standardError: one.accStandardError, count: one.examples } }
    if (one.accNorm !== null)
      metrics[`${task}.accNorm`] = {
        value: { mean: one.accNorm, standardError: one.accNormStandardError ?? Number.NaN, count: one.examples },
      }
  }
  return metrics
}

/** The JSON document of one model. */
export function document({ model, score, comparison, tasks }: ModelReport) {
  return {
    model,
    ...(score && {
      tokens: score.tokens,
      loss: score.loss,
      lossStandardError: score.lossStandardError,
      lossStandardErrorByWindow: Number.isFinite(score.lossStandardErrorByWindow)
        ? score.lossStandardErrorByWindow
        : null,
      perplexity: score.perplexity,
      bitsPerByte: score.bitsPerByte,
    }),
    ...(comparison && {
      kl: comparison.kl,
      lossChange: {
        mean: comparison.lossChange.mean,
        standardError: comparison.lossChange.standardError,
        interval: comparison.lossChange.interval,
      },
      topAgreement: comparison.topAgreement,
    }),
    tasks: Object.fromEntries(tasks.map(({ task, score: one }) => [task, one])),
  }
}

/** Each scored example as a JSON line. */
export function sampleLines(reports: readonly ModelReport[]): string {
  return reports
    .flatMap(({ model, tasks }) =>
      tasks.flatMap(({ task, details }) =>
        details.map(({ index, gold, predicted, predictedNorm, scores, requests }) =>
          JSON.stringify({
            model,
            task,
            index,
            gold,
            predicted,
            predictedNorm,
            logLikelihood: scores.map(one => one.logLikelihood),
            isGreedy: scores.map(one => one.isGreedy),
            contextIds: requests.map(request => [...request.context]),
            continuationIds: requests.map(request => [...request.continuation]),
          }),
        ),
      ),
    )
    .map(line => `${line}\n`)
    .join('')
}

const fixed = (value: number, digits = 4) => (Number.isFinite(value) ? value.toFixed(digits) : '-')

/** Tables for people: differences are against the first model, paired. */
export function describe(reports: readonly ModelReport[]): string {
  const parts: string[] = []
  const [first] = reports
  if (first.score) {
    const rows = reports.map(({ model, score, comparison }, place) => {
      const s = score as TextScore
      const change =
        comparison?.lossChange ?? (place === 0 ? undefined : pairedEstimateOrNone(s, first.score as TextScore))
      return [
        model,
        s.tokens,
        `${fixed(s.loss)} ± ${fixed(s.lossStandardError)}`,
        fixed(s.perplexity, 3),
        s.bitsPerByte === null ? '-' : fixed(s.bitsPerByte),
        change ? `${fixed(change.mean)} ± ${fixed(change.standardError)}${isTie(change) ? ' (tie)' : ''}` : '-',
        comparison ? `${fixed(comparison.kl.mean, 5)} ± ${fixed(comparison.kl.standardError, 5)}` : '-',
        comparison ? fixed(comparison.topAgreement) : '-',
      ]
    })
    parts.push(
      table(['model', 'tokens', 'loss (nats)', 'perplexity', 'bits/byte', 'loss change', 'KL', 'same top-1'], rows),
    )
  }
  if (first.tasks.length > 0) {
    const rows = reports.flatMap(({ model, tasks }, place) =>
      tasks.map((result, i) => {
        const { score } = result
        const against = place === 0 ? undefined : compareTask(first.tasks[i], result)
        return [
          model,
          result.task,
          `${fixed(score.acc)} ± ${fixed(score.accStandardError)}`,
          score.accNorm === null ? '-' : `${fixed(score.accNorm)} ± ${fixed(score.accNormStandardError ?? Number.NaN)}`,
          score.examples,
          score.leftOut.length,
          against
            ? `${fixed(against.difference)} [${fixed(against.interval[0])}, ${fixed(against.interval[1])}]${against.p > 0.05 ? ' (tie)' : ''}`
            : '-',
        ]
      }),
    )
    parts.push(table(['model', 'task', 'acc', 'acc_norm', 'examples', 'left out', 'against the first'], rows))
  }
  return parts.join('\n\n')
}

/** Paired by token where both models cut the text into the same tokens. */
function pairedEstimateOrNone(a: TextScore, b: TextScore) {
  return a.losses.length === b.losses.length ? pairedEstimate(a.losses, b.losses) : undefined
}
