// `bitlaw plan`: what to train under compute, memory and money, and which model at which format to serve.
import { readFileSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { describeRecord, lawRecords, recordApplies } from '../check/predict.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { findLaw, LAWS } from '../laws/index.ts'
import { planFigure } from '../plan/figure.ts'
import * as plan from '../plan/index.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { printJson, printText, table } from './output.ts'

/** Subcommands train, serve and devices. */
export function register(command: Command): void {
  command
    .command('train')
    .description('N, D and training bits under compute, memory, money and data')
    .option('--compute <flops>', 'FLOPs at 16 bits, e.g. 1e21')
    .option('--hours <hours>', 'device-hours on --device')
    .option('--money <dollars>', 'dollars for --device, e.g. $2M')
    .option('--device <name>', 'a device of `bitlaw plan devices`', 'h100')
    .option('--price <dollars>', 'dollars a device-hour instead of the record')
    .option('--utilization <share>', 'share of peak that training reaches', String(plan.ECONOMICS.utilization))
    .option('--loss <nats>', 'the cheapest plan that reaches this loss')
    .option('--n <parameters>', 'non-embedding parameters held')
    .option('--d <tokens>', 'training tokens held')
    .option('--data <tokens>', 'distinct tokens there are')
    .option('--repeat', 'these may be seen more than once')
    .option('--memory <bytes>', 'memory to train in')
    .option('--serving-memory <bytes>', 'memory for the weights when serving')
    .option('--inference-tokens <tokens>', "tokens served over the model's life")
    .option('--serve <bits>', 'quantized to so many bits after training')
    .option('--bits <range>', 'training bits: a number, or low..high', '3..16')
    .option('--cost <model>', 'bits (compute proportional to bits) or device (what the device accelerates)', 'bits')
    .option('--law <names>', 'laws to set side by side', 'all')
    .option('--fit <files...>', "fits of one's own (bitlaw fit --out)")
    .option('--svg <file>', 'draw loss against bits')
    .option('--study <file>', 'write the most informative small study as a specification')
    .option('--json', 'print one JSON document')
    .action(trainAction)
  command
    .command('serve')
    .description('which model at which format, under memory and throughput')
    .argument('[models...]', 'known models, all that fit unless given')
    .option('--memory <bytes>', "memory, the device's unless given")
    .option('--device <name>', 'a device of `bitlaw plan devices`', 'rtx-4090')
    .option('--context <tokens>', 'tokens a sequence', '4096')
    .option('--batch <n>', 'sequences at once', '1')
    .option('--min-speed <tokens>', 'least tokens a second of all sequences together')
    .option('--formats <list>', 'formats of the weights', 'bf16,int8@64,int6@64,int5@64,int4@64,int3@64')
    .option('--kv <format>', 'format of the cache', 'bf16')
    .option('--law <name>', 'law of the damage', 'kumar_unified')
    .option('--json', 'print one JSON document')
    .action(serveAction)
  command
    .command('devices')
    .description('the devices that plans know')
    .option('--json', 'print one JSON document')
    .action(devicesAction)
}

function findDevice(name: string): plan.Device {
  const device = plan.DEVICES.find(candidate => candidate.name === name)
  const names = plan.DEVICES.map(candidate => candidate.name)
  if (!device) throw new RequestError(`unknown device '${name}', see bitlaw plan devices${didYouMean(name, names)}`)
  return device
}

function quantity(
  text: string | undefined,
  kind: Parameters<typeof parseQuantity>[1],
  name: string,
): number | undefined {
  if (text === undefined) return undefined
  const value = parseQuantity(text, kind, name)
  if (!(value > 0)) throw new RequestError(`${name} '${text}' is not positive`)
  return value
}

/** Training bits as a range or one number. */
function parseBits(text: string): plan.TrainProblem['bits'] {
  const match = /^(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?$/.exec(text)
  const low = Number(match?.[1])
  const high = Number(match?.[2] ?? match?.[1])
  if (!match || low < 1 || high > 16 || low > high)
    throw new RequestError(`bits '${text}' are not understood, expected a number from 1 to 16 or a range like 3..16`)
  return low === high ? plan.tied(low) : { low, high }
}

/** Laws with constants: fits from files, then published ones by name; laws that speak of damage alone only where `delta` asks. */
export function lawFits(names: string, files: readonly string[] = [], { delta = false } = {}): plan.LawFit[] {
  const laws = names === 'all' ? LAWS : names.split(',').map(name => findLaw(name.trim()))
  const published = laws
    .filter(law => delta || law.response === 'loss')
    .flatMap(law => law.fits.map(fit => ({ law, fit: fit.name, parameters: fit.parameters, range: fit.range })))
  return [...files.flatMap(readFit), ...published]
}

/** Fits in a file that `bitlaw fit --out` wrote. */
function readFit(path: string): plan.LawFit[] {
  let parsed: {
    fits?: {
      law: string
      parameters: Record<string, number>
      range?: Record<string, [number, number]>
      bootstrap?: Record<string, number>[]
    }[]
  }
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new RequestError(`fit '${path}' cannot be read: ${(error as Error).message}`)
  }
  if (!Array.isArray(parsed.fits))
    throw new RequestError(`'${path}' is not a fit, expected what bitlaw fit --out writes`)
  return parsed.fits.map(fit => ({
    law: findLaw(fit.law),
    fit: path,
    parameters: fit.parameters,
    range: fit.range ?? {},
    sample: fit.bootstrap,
  }))
}

type TrainOptions = Record<
  | 'compute'
  | 'hours'
  | 'money'
  | 'price'
  | 'loss'
  | 'n'
  | 'd'
  | 'data'
  | 'memory'
  | 'servingMemory'
  | 'inferenceTokens'
  | 'serve'
  | 'svg'
  | 'study',
  string | undefined
> &
  Record<'device' | 'utilization' | 'bits' | 'cost' | 'law', string> & {
    repeat?: boolean
    fit?: string[]
    json?: boolean
  }

function problemOf(options: TrainOptions, device: plan.Device, economics: plan.Economics): plan.TrainProblem {
  const hours = quantity(options.hours, 'count', 'hours')
  const money = quantity(options.money, 'money', 'money')
  const budgets = [
    quantity(options.compute, 'flops', 'compute'),
    hours === undefined ? undefined : hours * 3600 * device.flops.bf16 * economics.utilization,
    money === undefined ? undefined : (plan.flopsFor(money, device, economics) ?? undefined),
  ].filter(value => value !== undefined)
  if (money !== undefined && plan.flopsFor(money, device, economics) === null)
    throw new RequestError(`device '${device.name}' has no price, give --price`)
  if (budgets.length === 0 && options.loss === undefined && (options.n === undefined || options.d === undefined))
    throw new RequestError('nothing limits the plan, give --compute, --hours, --money, --loss, or both --n and --d')
  if (!['bits', 'device'].includes(options.cost))
    throw new RequestError(`unknown cost model '${options.cost}', expected bits or device`)
  const data = quantity(options.data, 'count', 'data')
  return {
    compute: budgets.length > 0 ? Math.min(...budgets) : undefined,
    loss: options.loss === undefined ? undefined : quantity(options.loss, 'count', 'loss'),
    n: quantity(options.n, 'count', 'n'),
    d: quantity(options.d, 'count', 'd'),
    data: data === undefined ? undefined : { tokens: data, repeat: options.repeat ?? false },
    trainingMemory: quantity(options.memory, 'bytes', 'memory'),
    servingMemory: quantity(options.servingMemory, 'bytes', 'serving-memory'),
    inferenceTokens: quantity(options.inferenceTokens, 'count', 'inference-tokens'),
    postBits: quantity(options.serve, 'count', 'serve'),
    bits: parseBits(options.bits),
    cost: options.cost === 'bits' ? { kind: 'bits' } : { kind: 'device', device },
  }
}

/** Published laws that lead where several answer: those that speak of training and of PTQ first. One's own fits come before all. */
const LEADING = ['kumar_unified', 'kumar_unified_train', 'kumar_wa_offset']

/** Index of the law whose plan is printed first: one's own fit, else the first of LEADING that sees bits, else any that answers. */
function leadingLaw(fits: readonly plan.LawFit[], optima: readonly plan.LawOptimum[]): number {
  const rank = (i: number): number => {
    if (!optima[i].optimum) return Number.POSITIVE_INFINITY
    if (!plan.seesBits(fits[i])) return 1000 + i
    if (fits[i].fit.includes('.json')) return i - 1000
    const place = LEADING.indexOf(fits[i].law.name)
    return (place < 0 ? LEADING.length : place) * 10 + i / 100
  }
  const order = fits.map((_, i) => i).sort((a, b) => rank(a) - rank(b))
  return optima[order[0]].optimum ? order[0] : -1
}

function trainAction(options: TrainOptions): void {
  const device = findDevice(options.device)
  const economics: plan.Economics = {
    ...plan.ECONOMICS,
    utilization: quantity(options.utilization, 'count', 'utilization') as number,
    pricePerHour: quantity(options.price, 'money', 'price'),
  }
  const problem = problemOf(options, device, economics)
  const fits = lawFits(options.law, options.fit)
  if (fits.length === 0) throw new RequestError(`law '${options.law}' has no published constants, give --fit FILE`)
  const optima = fits.map(fit => plan.optimumOf(fit, problem))
  const index = leadingLaw(fits, optima)
  if (index < 0) throw new Error(optima[0].notes[0])
  const best = optima[index].optimum as plan.TrainPlan
  const solution = plan.planTraining(
    fits[index].law,
    fits[index].parameters,
    plan.seesBits(fits[index]) ? problem : { ...problem, bits: plan.tied(16) },
  )
  const alternatives = plan.deviations(fits[index], problem, best, [4, 6, 8, 16], [3, 4, 5, 6, 8])
  const experiments = plan.informativeRuns(fits)
  const study = plan.studyOf(experiments)
  const cost = plan.costOf(best.trainingFlops, device, economics)
  const document = {
    plan: {
      n: best.n, d: best.d, pw: best.pw, pa: best.pa, pkv: best.pkv, loss: best.loss, interval: optima[index].lossInterval,
      flops: best.flops, cost: cost.dollars, bytes: plan.trainingBytes(best.n, best.pw), joules: cost.joules,
      deviceHours: cost.hours, device: device.name, law: optima[index].law, fit: optima[index].fit,
    }, // biome-ignore format: fixed names first
    region: plan.describeRegion([optima[index], ...optima.filter((_, i) => i !== index)]),
    alternatives,
    laws: optima,
    binding: 'plan' in solution ? solution.binding : [],
    warnings: warningsOf(optima[index], economics, device),
    guidelines: guidelines(best, problem, alternatives, experiments),
    study:
      study === null
        ? null
        : { spec: study, flops: experiments.reduce((sum, one) => sum + one.flops, 0), runs: experiments.length },
  }
  if (options.svg !== undefined) writeFileSync(options.svg, planFigure(fits.filter(plan.seesBits), problem))
  if (options.study !== undefined && study !== null) writeFileSync(options.study, stringify(study))
  if (options.json) printJson(document)
  else printText(describeTraining(document, cost))
}

function warningsOf(lead: plan.LawOptimum, economics: plan.Economics, device: plan.Device): string[] {
  const warnings = [...lead.notes]
  if (economics.pricePerHour === undefined && device.price.rent !== null)
    warnings.push(
      `the price of ${device.name} is $${device.price.rent} an hour as of ${device.price.date} (${device.price.source}); --price sets another`,
    )
  return warnings
}

/** What to do with the plan, in sentences. */
function guidelines(
  best: plan.TrainPlan,
  problem: plan.TrainProblem,
  alternatives: readonly plan.Deviation[],
  experiments: readonly plan.Experiment[],
): string[] {
  const lines: string[] = []
  if (best.pw < 15.5)
    lines.push(
      `train at about ${Math.round(best.pw)} bits: the model then serves at that precision without further loss`,
    )
  const served = alternatives.find(one => one.what.includes('quantize to 4 bits'))
  if (served)
    lines.push(
      `quantizing to 4 bits after ${printQuantity(best.d)} tokens is predicted to cost ${served.lossAbove.toFixed(3)} nats; measure it with bitlaw check before relying on it`,
    )
  if (problem.inferenceTokens === undefined)
    lines.push('with --inference-tokens the plan counts serving too, and shrinks')
  if (experiments.length > 0) {
    const flops = experiments.reduce((sum, one) => sum + one.flops, 0)
    lines.push(
      `${experiments.length} runs of ${printQuantity(flops, 'flops')} in all would tell these laws apart; --study FILE writes them for bitlaw study run`,
    )
  }
  return lines
}

type TrainDocument = {
  plan: { n: number; d: number; pw: number; loss: number; flops: number; device: string; law: string; fit: string }
  region: string
  alternatives: plan.Deviation[]
  laws: plan.LawOptimum[]
  binding: string[]
  warnings: string[]
  guidelines: string[]
}

function describeTraining(
  document: TrainDocument,
  cost: { hours: number; dollars: number | null; joules: number },
): string {
  const { plan: best } = document
  const bits = (one: plan.TrainPlan) => one.pw.toFixed(1)
  const lines = [
    `train ${printQuantity(best.n)} parameters on ${printQuantity(best.d)} tokens at ${best.pw.toFixed(1)} bits: loss ${best.loss.toFixed(4)} (${best.law}, ${best.fit})`,
    `${printQuantity(best.flops, 'flops')}, ${printQuantity(cost.hours)} ${best.device}-hours${cost.dollars === null ? '' : `, ${printQuantity(cost.dollars, 'money')}`}, ${printQuantity(cost.joules / 3.6e6)} kWh`,
    `training bits: ${document.region}`,
    ...(document.binding.length > 0 ? [`bound by: ${document.binding.join(', ')}`] : []),
    '',
    table(
      ['law', 'fit', 'N', 'D', 'bits', 'tie region', 'loss', 'in range'],
      document.laws.flatMap(({ law, fit, optimum, bitsRegion, insideRange }) =>
        optimum
          ? [
              [
                law,
                fit,
                printQuantity(optimum.n),
                printQuantity(optimum.d),
                bitsRegion ? bits(optimum) : '-',
                bitsRegion ? `${bitsRegion[0].toFixed(1)} to ${bitsRegion[1].toFixed(1)}` : '-',
                optimum.loss.toFixed(4),
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
        `${one.lossAbove >= 0 ? '+' : ''}${one.lossAbove.toFixed(4)}${one.tie ? ' (tie)' : ''}`,
        one.computeFactor === null ? 'never' : `${one.computeFactor.toPrecision(3)} times`,
      ]),
    ),
    '',
    ...document.guidelines.map(line => `- ${line}`),
    ...document.warnings.map(line => `warning: ${line}`),
  ]
  return lines.join('\n')
}

type ServeOptions = {
  memory?: string
  device: string
  context: string
  batch: string
  minSpeed?: string
  formats: string
  kv: string
  law: string
  json?: boolean
}

/** Known models by name, or an error that offers a near one. */
function findModels(names: readonly string[]): plan.ServeCandidate[] {
  const known = plan.MODELS.map(model => model.name)
  const models = names.map(name => {
    const model = plan.MODELS.find(candidate => candidate.name === name || candidate.hub === name)
    if (!model)
      throw new RequestError(`unknown model '${name}', expected one of ${known.join(', ')}${didYouMean(name, known)}`)
    return model
  })
  return (names.length > 0 ? models : plan.MODELS).map(({ name, shape, d }) => ({ name, shape, d }))
}

function serveAction(names: readonly string[], options: ServeOptions): void {
  const device = findDevice(options.device)
  const fit = lawFits(options.law)[0]
  const problem: plan.ServeProblem = {
    device,
    memory: quantity(options.memory, 'bytes', 'memory'),
    context: quantity(options.context, 'count', 'context') as number,
    batch: quantity(options.batch, 'count', 'batch') as number,
    minTokensPerSecond: quantity(options.minSpeed, 'count', 'min-speed'),
    formats: options.formats.split(',').map(format => format.trim()),
    kvFormat: options.kv,
  }
  const solution = plan.planServing(findModels(names), problem, fit)
  const largest = Math.max(...solution.plans.map(one => one.n))
  const warnings = [
    ...solution.warnings,
    ...lawRecords([fit])
      .filter(record => record.unreliable && recordApplies(record, largest))
      .map(describeRecord),
    `losses are predicted by ${fit.law.name} (${fit.fit}), which saw ${describeRange(fit.range)}; larger models lie outside`,
  ]
  if (options.json) {
    printJson({ ...solution, warnings })
    return
  }
  const shown = solution.plans.filter(one => one.fits).slice(0, 25)
  printText(
    [
      shown.length > 0
        ? table(
            ['model', 'format', 'weights', 'KV', 'total', 'tokens/s', 'bound by', 'loss', 'delta PTQ', 'frontier'],
            shown.map(one => [
              one.model, one.format, printQuantity(one.bytes.weights, 'bytes'), printQuantity(one.bytes.kv, 'bytes'), printQuantity(one.bytes.total, 'bytes'),
              one.tokensPerSecond.toPrecision(3), one.boundBy, one.loss?.toFixed(4) ?? '-', one.deltaPtq?.toFixed(4) ?? '-', one.frontier ? '*' : '',
            ]), // biome-ignore format: the columns above
          )
        : '',
      ...(solution.tie.length > 0 ? [`a tie within the law's error: ${solution.tie.join(', ')}`] : []),
      ...(solution.binding.length > 0 ? [`bound by: ${solution.binding.join(', ')}`] : []),
      ...warnings.map(line => `warning: ${line}`),
    ].join('\n'),
  )
}

function describeRange(range: plan.LawFit['range']): string {
  return Object.entries(range)
    .map(([name, [low, high]]) => `${name} ${printQuantity(low)} to ${printQuantity(high)}`)
    .join(', ')
}

function devicesAction(options: { json?: boolean }): void {
  if (options.json) {
    printJson(plan.DEVICES)
    return
  }
  const tera = (value: number | undefined) =>
    value === undefined ? '-' : String(Number((value / 1e12).toPrecision(4)))
  printText(
    table(
      ['device', 'memory', 'GB/s', 'bf16', 'fp8', 'int8', 'fp4', 'int4', 'watts', 'buy', 'rent/h'],
      plan.DEVICES.map(({ name, memory, bandwidth, flops, watts, price }) => [
        name, `${memory / 1e9} GB`, bandwidth / 1e9, tera(flops.bf16), tera(flops.fp8), tera(flops.int8), tera(flops.fp4), tera(flops.int4), watts,
        price.buy === null ? '-' : printQuantity(price.buy, 'money'), price.rent === null ? '-' : `$${price.rent}`,
      ]), // biome-ignore format: the columns above
    ) + `\nthroughput in dense TFLOP/s (TOP/s); prices as of ${plan.DEVICES[0].price.date}, overridden by --price`,
  )
}
