// What training in low precision did, by the study's own fit: effective parameters of single runs, jointly quantized
// runs against the product of their parts, the optimum of bits, and the noise that all of it is held against.

import type { Parameters } from '../laws/law.ts'
import { conditionsOf, isPlain, precisionWords, type ReportData, type Training, trainedRuns } from './data.ts'
import { configurationOf, effectiveShare, fitOf, resamplesOf } from './fits.ts'
import { groupBy, meanOf } from './statistics.ts'

/** The parts that training quantizes. */
export const PARTS = [
  { key: 'pw', column: 'P_w', name: 'weights' },
  { key: 'pa', column: 'P_a', name: 'activations' },
  { key: 'pkv', column: 'P_kv', name: 'KV cache' },
] as const

/** The law of loss that the study fitted: with training bits where it could. */
export const trainingFit = (data: ReportData) => fitOf(data, 'kumar_unified_train', 'chinchilla_tied', 'chinchilla')

/** The part that alone is quantized, or undefined where none or several are. */
function onlyPart(training: Training): (typeof PARTS)[number] | undefined {
  const quantized = PARTS.filter(part => training[part.key] < 16)
  return quantized.length === 1 ? quantized[0] : undefined
}

/** The run of the same size, data, schedule, seed, corpus and family with nothing quantized. */
export function partnerOf(data: ReportData, training: Training): Training | undefined {
  return trainedRuns(data).find(
    one =>
      isPlain(one) &&
      one.n === training.n &&
      one.seed === training.seed &&
      conditionsOf(one) === conditionsOf(training),
  )
}

/** N_eff / N of one run, with the part that it quantizes. */
export interface SharePoint {
  part: string
  column: string
  bits: number
  share: number
  n: number
  d: number
  label: string
  formatW: string | null
}

/** N_eff / N measured at each width of each part: each run against its own 16-bit partner, by the slope of the fitted law. */
export function sharePoints(data: ReportData): SharePoint[] {
  const fit = trainingFit(data)
  if (!fit) return []
  return trainedRuns(data).flatMap(one => {
    const part = onlyPart(one)
    const partner = part && partnerOf(data, one)
    if (!part || !partner) return []
    const modelled = fit.law.predict(fit.document.parameters, { ...configurationOf(partner) }).loss
    if (modelled === null) return []
    // The run's distance from its partner is set on the law's own value there: what both share cancels.
    const share = effectiveShare(fit.law, fit.document.parameters, one, modelled + one.loss - partner.loss)
    if (share === null) return []
    const { n, d, label, formatW } = one
    return [{ part: part.name, column: part.column, bits: one[part.key], share, n, d, label, formatW }]
  })
}

/** A jointly quantized run beside what the product of its parts' own factors, and the law fitted to all runs, predict. */
export interface JointRow {
  measured: number
  predicted: number
  /** By the joint fit; NaN where no law with training bits was fitted. */
  fitted: number
  /** Loss of the 16-bit partner. */
  partner: number
  /** One size at one amount of data. */
  unit: string
  label: string
  precision: string
}

/** Every run with two or three quantized parts whose parts were also measured alone. */
export function jointRows(data: ReportData): JointRow[] {
  const fit = trainingFit(data)
  if (!fit) return []
  const joint = fitOf(data, 'kumar_unified_train')
  const marginals = new Map(
    [...groupBy(sharePoints(data), point => `${point.column}/${point.bits}`)].map(([key, group]) => [
      key,
      meanOf(group.map(point => point.share)),
    ]),
  )
  return trainedRuns(data).flatMap(one => {
    const quantized = PARTS.filter(part => one[part.key] < 16)
    const partner = quantized.length > 1 && partnerOf(data, one)
    if (!partner) return []
    let share = 1
    for (const part of quantized) share *= marginals.get(`${part.column}/${one[part.key]}`) ?? Number.NaN
    const at = (n: number) => fit.law.predict(fit.document.parameters, { N: n, D: one.d }).loss ?? Number.NaN
    const predicted = partner.loss + at(one.n * share) - at(one.n)
    if (!Number.isFinite(predicted)) return []
    return [
      {
        measured: one.loss,
        predicted,
        fitted: joint?.law.predict(joint.document.parameters, configurationOf(one)).loss ?? Number.NaN,
        partner: partner.loss,
        unit: `${one.n}/${conditionsOf(one)}`,
        label: one.label,
        precision: precisionWords(one),
      },
    ]
  })
}

/** The training bits that the fitted law puts as least in compute, its interval over resamples, and the share of resamples that have an optimum; null without the law. */
export function fittedOptimum(
  data: ReportData,
): { bits: number | null; interval: [number, number] | null; share: number } | null {
  const fit = fitOf(data, 'kumar_unified_train')
  if (!fit) return null
  // In the middle of what was run; the joint optimum of size, data and bits does not depend on it.
  const middle = (values: readonly number[]) => Math.exp(meanOf(values.map(Math.log)))
  const runs = trainedRuns(data)
  const at = {
    N: runs.length > 0 ? middle(runs.map(one => one.n)) : 1e6,
    D: runs.length > 0 ? middle(runs.map(one => one.d)) : 1e8,
  }
  const optimumOf = (parameters: Parameters) => fit.law.predict(parameters, at).optimalBits
  const resamples = resamplesOf(fit.document)
  const optima = resamples
    .map(optimumOf)
    .filter(bits => bits !== null)
    .sort((a, b) => a - b)
  return {
    bits: optimumOf(fit.document.parameters),
    interval:
      optima.length < 20
        ? null
        : [optima[Math.floor(0.025 * optima.length)], optima[Math.ceil(0.975 * optima.length) - 1]],
    share: resamples.length === 0 ? 0 : optima.length / resamples.length,
  }
}

/** Standard deviation of loss between runs that differ in the seed alone, pooled, and its degrees of freedom; null where none were repeated. */
export function seedNoise(data: ReportData): { spread: number; freedom: number } | null {
  let squares = 0
  let freedom = 0
  for (const group of groupBy(trainedRuns(data), one =>
    [one.n, one.pw, one.pa, one.pkv, conditionsOf(one)].join('/'),
  ).values()) {
    if (group.length < 2) continue
    const mean = meanOf(group.map(one => one.loss))
    squares += group.reduce((sum, one) => sum + (one.loss - mean) ** 2, 0)
    freedom += group.length - 1
  }
  return freedom > 0 ? { spread: Math.sqrt(squares / freedom), freedom } : null
}
