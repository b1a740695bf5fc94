// Judging what is claimed of training in low precision.
import { type ReportData, trainedRuns } from './data.ts'
import { type Judgement, LEAST_UNITS, untestable } from './judgement.ts'
import { fittedOptimum, jointRows, PARTS, seedNoise } from './shares.ts'
import { meanInterval, meanOf, printInterval, rSquared } from './statistics.ts'

/** "Training at 7 to 8 bits is optimal": supported where the interval of the fitted optimum lies within 6.5 to 8.5 bits. */
export function optimalTrainingBits(data: ReportData): Judgement {
  const optimum = fittedOptimum(data)
  if (!optimum) return untestable('the training law was not fitted')
  const trainedParts = PARTS.filter(part => trainedRuns(data).some(one => one[part.key] < 16))
  if (trainedParts.length < PARTS.length)
    return untestable(
      `only ${trainedParts.map(part => part.name).join(' and ') || 'no part'} was trained below 16 bits`,
    )
  const { bits, interval, share } = optimum
  const found = bits === null ? 'the fitted law has no optimum' : `the fitted optimum is ${bits.toFixed(1)} bits`
  // Where half of the resamples have no optimum, or those that have one spread over more than 8 bits, nothing is located.
  if (bits === null || !interval || share < 0.5) return untestable(`${found}: these runs do not locate it`)
  const figure = `${found} [${interval.map(x => x.toFixed(1)).join(', ')}] over resampled runs`
  if (interval[1] - interval[0] > 8) return untestable(`${figure}: these runs do not locate it`)
  if (interval[0] >= 6.5 && interval[1] <= 8.5) return { verdict: 'supported', figure }
  return { verdict: interval[0] > 8.5 || interval[1] < 6.5 ? 'contradicted' : 'tie', figure }
}

/**
 * "The parts act independently": measured loss of jointly quantized runs minus the product of their parts' factors.
 * Supported where the interval lies within a quarter of the joint cost, contradicted where it excludes 0 and its mean
 * is beyond that quarter. Runs beside one 16-bit partner share its noise, which is added where seeds were repeated.
 */
export function independentParts(data: ReportData): Judgement {
  const rows = jointRows(data)
  if (rows.length < LEAST_UNITS)
    return untestable(`${rows.length} jointly quantized runs whose parts were also measured alone`)
  const measured = rows.map(row => row.measured)
  const found = meanInterval(rows.map(row => row.measured - row.predicted))
  const shared = (1.96 * (seedNoise(data)?.spread ?? 0)) / Math.sqrt(new Set(rows.map(row => row.unit)).size)
  const half = Math.hypot(found.high - found.mean, shared)
  const difference = { ...found, low: found.mean - half, high: found.mean + half }
  const cost = meanOf(rows.map(row => row.measured - row.partner))
  const r2 = rSquared(
    measured,
    rows.map(row => row.predicted),
  )
  const joint = rSquared(
    measured,
    rows.map(row => row.fitted),
  )
  const figure = `measured minus product of the parts: ${printInterval(difference)} over ${rows.length} runs, whose joint cost is ${cost.toFixed(4)} nats; R² of the product ${r2.toFixed(4)} (paper 0.9006)${Number.isFinite(joint) ? `, of the joint fit ${joint.toFixed(4)} (paper 0.8973)` : ''}`
  if (half > Math.abs(cost)) return untestable(`${figure}: the runs cannot tell, their noise is as large as the cost`)
  const band = 0.25 * Math.max(cost, 0)
  if (difference.low > -band && difference.high < band) return { verdict: 'supported', figure }
  const apart = difference.low > 0 || difference.high < 0
  return { verdict: apart && Math.abs(difference.mean) > band ? 'contradicted' : 'tie', figure }
}
