// `bitlaw plan train`: the problem that options describe, solved by src/plan/, printed.
import { writeFileSync } from 'node:fs'
import { stringify } from 'yaml'
import { recordWarnings } from '../check/predict.ts'
import { RequestError } from '../formats/error.ts'
import { bitsPerParameter, codeBits, parseFormat } from '../formats/index.ts'
import { planFigure } from '../plan/figure.ts'
import * as plan from '../plan/index.ts'
import { printQuantity } from '../table/quantity.ts'
import { lawFits } from './law-fits.ts'
import { checkOutputFile } from './options.ts'
import { printJson, printText, table } from './output.ts'
import { findDevice, parseBits, quantity } from './plan-options.ts'

/** Options as they were given. */
export interface TrainOptions {
  compute?: string
  hours?: string
  money?: string
  device: string
  price?: string
  utilization: string
  loss?: string
  n?: string
  d?: string
  data?: string
  repeat?: boolean
  memory?: string
  servingMemory?: string
  inferenceTokens?: string
  serve?: string
  bits: string
  pw?: string
  pa?: string
  pkv?: string
  vocab: string
  cost?: string
  law: string
  fit?: string[]
  svg?: string
  study?: string
  frontier?: string
  json?: boolean
}

/** Bits of all parts alike, or, where a part has its own, bounds of each. */
function bitsOption({ bits, pw, pa, pkv }: TrainOptions): plan.TrainProblem['bits'] {
  const all = parseBits(bits, '--bits')
  if (pw === undefined && pa === undefined && pkv === undefined) return all.low === all.high ? plan.tied(all.low) : all
  const part = (text: string | undefined, name: string) => (text === undefined ? all : parseBits(text, `--${name}`))
  return { pw: part(pw, 'pw'), pa: part(pa, 'pa'), pkv: part(pkv, 'pkv') }
}

/** Bits after training: of the codes, which laws read, and per parameter, which memory holds. */
function servedBits(text: string | undefined): { postBits?: number; servingBits?: number } {
  if (text === undefined) return {}
  if (/^[\d.]+$/.test(text)) return { postBits: parseBits(text, '--serve').low }
  const format = parseFormat(text)
  return { postBits: codeBits(format), servingBits: bitsPerParameter(format) }
}

/** The budget in 16-bit FLOPs, the least of those given, and which it is. */
function budgetOf(
  options: TrainOptions,
  device: plan.Device,
  economics: plan.Economics,
): { flops?: number; name: string } {
  const hours = quantity(options.hours, 'count', '--hours')
  const money = quantity(options.money, 'money', '--money')
  const bought = money === undefined ? undefined : plan.flopsFor(money, device, economics)
  if (bought === null) throw new RequestError(`device '${device.name}' has no price to rent, give --price`)
  const budgets = (
    [
      ['compute', quantity(options.compute, 'flops', '--compute')],
      ['hours', hours === undefined ? undefined : hours * 3600 * device.flops.bf16 * economics.utilization],
      ['money', bought],
    ] as const
  ).flatMap(([name, flops]) => (flops === undefined ? [] : [{ name, flops }]))
  return budgets.length > 0 ? budgets.reduce((a, b) => (b.flops < a.flops ? b : a)) : { name: 'compute' }
}

function problemOf(options: TrainOptions, device: plan.Device, compute: number | undefined): plan.TrainProblem {
  if (compute === undefined && options.loss === undefined && (options.n === undefined || options.d === undefined))
    throw new RequestError('nothing limits the plan, give --compute, --hours, --money, --loss, or both --n and --d')
  const cost = options.cost ?? (options.hours !== undefined || options.money !== undefined ? 'device' : 'bits')
  if (!['bits', 'device'].includes(cost))
    throw new RequestError(`unknown cost model '${cost}', expected bits or device`)
  const data = quantity(options.data, 'count', '--data')
  if (options.repeat && data === undefined)
    throw new RequestError('--repeat needs --data, the distinct tokens there are')
  return {
    compute,
    loss: quantity(options.loss, 'count', '--loss'),
    n: quantity(options.n, 'count', '--n'),
    d: quantity(options.d, 'count', '--d'),
    data: data === undefined ? undefined : { tokens: data, repeat: options.repeat ?? false },
    trainingMemory: quantity(options.memory, 'bytes', '--memory'),
    servingMemory: quantity(options.servingMemory, 'bytes', '--serving-memory'),
    inferenceTokens: quantity(options.inferenceTokens, 'count', '--inference-tokens'),
    ...servedBits(options.serve),
    bits: bitsOption(options),
    vocab: quantity(options.vocab, 'count', '--vocab'),
    cost: cost === 'bits' ? { kind: 'bits' } : { kind: 'device', device },
  }
}

/** The action of `bitlaw plan train`. */
export function trainAction(options: TrainOptions): void {
  checkOutputFile(options.svg, '--svg')
  checkOutputFile(options.frontier, '--frontier')
  checkOutputFile(options.study, '--study')
  const device = findDevice(options.device)
  const utilization = quantity(options.utilization, 'count', '--utilization') as number
  if (utilization > 1)
    throw new RequestError(`--utilization '${options.utilization}' is above 1, expected a share like 0.4`)
  const pricePerHour = quantity(options.price, 'money', '--price')
  const economics: plan.Economics = { ...plan.ECONOMICS, utilization, pricePerHour }
  const budget = budgetOf(options, device, economics)
  const problem = problemOf(options, device, budget.flops)
  const fits = lawFits(options.law, options.fit)
  const found = plan.planDocument(fits, problem, { device, economics, budget: budget.name })
  if ('infeasible' in found) throw new Error(found.infeasible)
  const served = problem.postBits !== undefined || found.alternatives.some(one => one.what.includes('afterwards'))
  const document = {
    ...found,
    warnings: [
      ...found.warnings,
      ...(served
        ? recordWarnings(
            lawFits('all', options.fit, { delta: true }).filter(one => one.law.name === found.plan.law),
            found.plan.n,
          )
        : []),
      ...priceWarning(economics, device),
    ],
  }
  if (options.svg !== undefined) writeFileSync(options.svg, planFigure(fits, problem))
  if (options.frontier !== undefined) {
    const fit = fits.find(one => one.law.name === found.plan.law && one.fit === found.plan.fit) as plan.LawFit
    writeFileSync(options.frontier, frontierCsv(fit, problem))
  }
  if (options.study !== undefined) {
    if (document.study === null)
      throw new RequestError('no study is worth running: fewer than two of these laws tell bits apart (--law all)')
    writeFileSync(options.study, stringify(document.study.spec))
  }
  if (options.json) printJson(document)
  else printText(describeTraining(document))
}

function priceWarning({ pricePerHour }: plan.Economics, { name, price }: plan.Device): string[] {
  return pricePerHour === undefined && price.rent !== null
    ? [`the price of ${name} is $${price.rent} an hour as of ${price.date} (${price.source}); --price sets another`]
    : []
}

/** A frontier of 100 sizes, 200 amounts of data and every half bit. */
function frontierCsv(fit: plan.LawFit, problem: plan.TrainProblem): string {
  const points = plan.trainFrontier(fit, problem, plan.usualGrid(fit, problem))
  points.sort((a, b) => a.flops - b.flops || a.bytes - b.bytes)
  const lines = points.map(({ n, d, pw, pa, pkv, flops, bytes, loss }) =>
    [n, d, pw, pa, pkv, flops, bytes, loss].map(value => Number(value.toPrecision(6))).join(),
  )
  return `N,D,P_w,P_a,P_kv,flops,serving_bytes,loss\n${lines.join('\n')}\n`
}

function describeTraining(document: plan.TrainDocument): string {
  const { plan: best } = document
  const bits = (one: plan.TrainPlan) => (one.label !== undefined ? one.label : one.pw.toFixed(1))
  const parts =
    best.pw === best.pa && best.pa === best.pkv
      ? `at ${best.label ?? `${best.pw.toFixed(1)} bits`}`
      : `at ${best.label ?? `${best.pw.toFixed(1)} bits of weights, ${best.pa.toFixed(1)} of activations, ${best.pkv.toFixed(1)} of the cache`}`
  const between = (range: readonly [number, number] | null, print: (value: number) => string) =>
    range ? `${print(range[0])} to ${print(range[1])}` : '-'
  const money = (dollars: number | null) => (dollars === null ? '' : `, ${printQuantity(dollars, 'money')}`)
  const lead = document.laws.find(one => one.law === best.law && one.fit === best.fit)
  const lines = [
    `train ${printQuantity(best.n)} parameters on ${printQuantity(best.d)} tokens ${parts}: loss ${best.loss.toFixed(4)}${best.interval ? ` (95% ${between(best.interval, value => value.toFixed(4))})` : ''} (${best.law}, ${best.fit})`,
    `${printQuantity(best.flops, 'flops')}, ${printQuantity(best.deviceHours)} ${best.device}-hours${money(best.cost)}, ${printQuantity(best.joules / 3.6e6)} kWh; ${printQuantity(best.bytes, 'bytes')} to train, ${printQuantity(best.servingBytes, 'bytes')} to serve`,
    ...(best.lifetime
      ? [
          `serving ${printQuantity(best.lifetime.tokens)} tokens: ${printQuantity(best.lifetime.deviceHours)} ${best.device}-hours${money(best.lifetime.dollars)}, ${printQuantity(best.lifetime.joules / 3.6e6)} kWh, at ${printQuantity(best.lifetime.tokensPerSecond)} tokens/s a device`,
        ]
      : []),
    `training bits: ${document.region}`,
    ...(lead?.nRegion
      ? [`sizes: ${between(lead.nRegion, printQuantity)} parameters tie within the noise of a run`]
      : []),
    ...(document.binding.length > 0 ? [`bound by: ${document.binding.join(', ')}`] : []),
    '',
    table(
      ['law', 'fit', 'N', 'D', 'bits', 'tie region', '95%', 'loss', '95%', 'in range'],
      document.laws.flatMap(({ law, fit, optimum, bitsRegion, bitsInterval, lossInterval, insideRange }) =>
        optimum
          ? [
              [
                law,
                fit,
                printQuantity(optimum.n),
                printQuantity(optimum.d),
                bitsRegion ? bits(optimum) : '-',
                between(bitsRegion, value => value.toFixed(1)),
                between(bitsInterval, value => value.toFixed(1)),
                optimum.loss.toFixed(4),
                between(lossInterval, value => value.toFixed(4)),
                insideRange ? 'yes' : 'no',
              ],
            ]
          : [],
      ),
    ),
    '',
    table(
      ['instead', 'loss above', 'compute for the same loss'],
      document.alternatives.map(one => [
        one.what,
        `${one.lossAbove > -5e-5 ? '+' : '-'}${Math.abs(one.lossAbove).toFixed(4)}${one.tie ? ' (tie)' : ''}`,
        one.computeFactor === null ? 'never' : `${one.computeFactor.toPrecision(3)} times`,
      ]),
    ),
    '',
    ...document.guidelines.map(line => `- ${line}`),
    ...document.warnings.map(line => `warning: ${line}`),
  ]
  return lines.join('\n')
}
