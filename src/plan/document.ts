// The answer of `bitlaw plan train` as one document: the leading law's plan, what deviating costs, every law beside it,
// what to do next. Pure; the command prints it.
import { printQuantity } from '../table/quantity.ts'
import { costFactor, costOf, type Economics } from './cost.ts'
import type { Device } from './devices.ts'
import { type Experiment, informativeStudy, studyOf } from './experiments.ts'
import type { LawFit } from './fits.ts'
import { type LifetimeCost, lifetimeCost } from './lifetime.ts'
import { menuOf } from './menu.ts'
import { type Deviation, describeRegion, deviations, isoLoss, type LawOptimum, optimumOf } from './region.ts'
import { type Bounds, bindingOf, servingBytesOf, type TrainPlan, type TrainProblem, trainingBytesOf } from './train.ts'

/** What `bitlaw plan train --json` prints. */
export interface TrainDocument {
  plan: TrainPlan & {
    interval: [number, number] | null
    /** Dollars of training; null: the device has no price. */
    cost: number | null
    /** While training; `servingBytes` to hold the weights afterwards. */
    bytes: number
    servingBytes: number
    joules: number
    deviceHours: number
    device: string
    law: string
    fit: string
    /** Of serving the tokens that were asked for; null: none were. */
    lifetime: LifetimeCost | null
  }
  region: string
  alternatives: Deviation[]
  laws: LawOptimum[]
  /** How many more parameters the lower of two widths needs for the loss of the higher at the same D; null where the law does not say. */
  isoLoss: { low: number; high: number; parameterFactor: number; bitsFactor: number } | null
  binding: string[]
  warnings: string[]
  guidelines: string[]
  study: { spec: Record<string, unknown>; runs: number; flops: number; spread: number } | null
}

/** What a plan is made for beside the problem. */
export interface Setting {
  device: Device
  economics: Economics
  /** What `compute` stands for where it binds: compute, hours or money. */
  budget?: string
}

/** Published laws that lead where several answer: those that speak of training and of PTQ first. One's own fits come before all. */
const LEADING = ['kumar_unified', 'kumar_unified_train', 'kumar_wa_offset']

/** Index of the law whose plan leads: one's own fit, else the first of LEADING that tells bits apart, else any; those without a plan come last. */
function leadingLaw(fits: readonly LawFit[], optima: readonly LawOptimum[]): number {
  const rank = (i: number): number => {
    const place = LEADING.indexOf(fits[i].law.name)
    const byName = (place < 0 ? LEADING.length : place) + i / 1000
    const own = fits[i].own ? 0 : 10
    const blind = menuOf(fits[i])?.length === 1 ? 100 : 0
    return byName + own + blind + (optima[i].optimum ? 0 : 1000)
  }
  return fits.map((_, i) => i).sort((a, b) => rank(a) - rank(b))[0]
}

/** Whether a law tells int4 and int8 training apart. */
function knowsIntegers(fit: LawFit): boolean {
  const labels = menuOf(fit)?.map(choice => choice.label)
  return labels === undefined || (labels.includes('int4') && labels.includes('int8'))
}

/** Bits that were given, in words; null where they are searched. */
function heldBits({ bits }: TrainProblem): string | null {
  if (!bits || Array.isArray(bits) || 'low' in bits) return null
  const { pw, pa, pkv } = bits as Record<'pw' | 'pa' | 'pkv', Bounds | number>
  if (typeof pw !== 'number') return null
  return pw === pa && pa === pkv
    ? `held at ${pw}`
    : `held at ${pw} of weights, ${pa} of activations, ${pkv} of the cache`
}

/** The whole answer; where no law has a plan, what the leading one says is in the way. */
export function planDocument(
  fits: readonly LawFit[],
  problem: TrainProblem,
  { device, economics, budget = 'compute' }: Setting,
): TrainDocument | { infeasible: string } {
  const optima = fits.map(fit => optimumOf(fit, problem))
  const index = leadingLaw(fits, optima)
  const lead = optima[index]
  const best = lead.optimum
  if (!best) return { infeasible: lead.notes.join('; ') }
  const fit = fits[index]
  const alternatives = deviations(fit, problem, best, [4, 6, 8, 16], [3, 4, 5, 6, 8])
  const study = informativeStudy(fits)
  // What the device charges, however compute was counted in the law's problem.
  const worth = 6 * best.n * best.d * costFactor(best, { kind: 'device', device })
  const cost = costOf(worth, device, economics)
  const iso = knowsIntegers(fit) ? isoLoss(fit, { kind: 'bits' }, best.n, best.d, 4, 8) : null
  const bits = problem.servingBits ?? problem.postBits ?? best.pw
  const document = {
    plan: {
      ...best,
      interval: lead.lossInterval,
      cost: cost.dollars,
      bytes: Math.round(trainingBytesOf(problem, best.n, best)),
      servingBytes: Math.round(servingBytesOf(problem, best.n, best)),
      joules: cost.joules,
      deviceHours: cost.hours,
      device: device.name,
      law: lead.law,
      fit: lead.fit,
      lifetime: problem.inferenceTokens
        ? lifetimeCost(best.n, problem.inferenceTokens, bits, device, economics, problem.vocab)
        : null,
    },
    region: heldBits(problem) ?? describeRegion([lead, ...optima.filter((_, i) => i !== index)]),
    alternatives,
    laws: optima,
    isoLoss: iso && { low: 4, high: 8, parameterFactor: iso.parameterFactor, bitsFactor: iso.bitsFactor },
    binding: bindingOf(problem, best).map(name => (name === 'compute' ? budget : name)),
    warnings: [...lead.notes],
    study: study && { spec: studyOf(study), runs: study.runs, flops: study.flops, spread: study.spread },
  }
  return { ...document, guidelines: guidelines(document, problem, study) }
}

/** What to do with the plan, in sentences. */
function guidelines(
  { plan, alternatives, isoLoss: iso }: Omit<TrainDocument, 'guidelines'>,
  problem: TrainProblem,
  study: Experiment | null,
): string[] {
  const lines: string[] = []
  if (plan.label !== undefined && plan.pw < 15.5)
    lines.push(`train in ${plan.label}: the model then serves at that precision without further loss`)
  else if (plan.pw < 15.5)
    lines.push(
      `train at the precision that is served, about ${Math.round(plan.pw)} bits: the model then serves at it without further loss`,
    )
  if (iso)
    lines.push(
      `training at ${iso.low} bits needs ${iso.parameterFactor.toPrecision(3)} times the parameters of ${iso.high} bits for the same loss on the same data, ${iso.parameterFactor > iso.bitsFactor ? 'more' : 'less'} than the ${iso.bitsFactor} times that the bits save`,
    )
  const served = alternatives.find(one => one.what.includes('quantize to 4 bits'))
  if (served && problem.postBits === undefined)
    lines.push(
      `quantizing to 4 bits after ${printQuantity(plan.d)} tokens is predicted to cost ${served.lossAbove.toFixed(3)} nats: check a checkpoint at this D with bitlaw check before relying on it`,
    )
  if (problem.inferenceTokens === undefined)
    lines.push('with --inference-tokens the plan counts serving too: fewer parameters, more data')
  if (study)
    lines.push(
      `${study.runs} runs of ${printQuantity(study.flops, 'flops')} in all would tell these laws apart (${study.between.join(' and ')} differ by up to ${study.spread.toFixed(3)} nats there); --study FILE writes them for bitlaw study run`,
    )
  return lines
}
