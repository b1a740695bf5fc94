// `bitlaw plan`: what to train under compute, memory and money, and which model at which format to serve.
import { existsSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { recordWarnings } from '../check/predict.ts'
import { findKnown, knownSubject, openSubject, type Subject } from '../check/subject.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { bitsPerParameter, codeBits, parseFormat } from '../formats/index.ts'
import { planFigure } from '../plan/figure.ts'
import * as plan from '../plan/index.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { lawFits } from './law-fits.ts'
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
    .option('--loss <nats>', 'the cheapest plan that reaches this loss (with --compute and the like as a limit)')
    .option('--n <parameters>', 'non-embedding parameters held')
    .option('--d <tokens>', 'training tokens held')
    .option('--data <tokens>', 'distinct tokens there are')
    .option('--repeat', 'these may be seen more than once')
    .option('--memory <bytes>', 'memory to train in')
    .option('--serving-memory <bytes>', 'memory for the weights when serving')
    .option('--inference-tokens <tokens>', "tokens served over the model's life")
    .option('--serve <format>', 'quantized to this format, or so many bits, after training')
    .option('--bits <range>', 'training bits of all parts alike: a number, or low..high', '3..16')
    .option('--pw <range>', 'bits of weights, chosen apart from the other parts')
    .option('--pa <range>', 'bits of activations, chosen apart')
    .option('--pkv <range>', 'bits of the KV cache, chosen apart')
    .option('--vocab <n>', 'size of the vocabulary, whose embeddings take memory too', '32000')
    .option(
      '--cost <model>',
      'bits (compute proportional to bits) or device (what it accelerates: the default with --hours and --money)',
    )
    .option('--law <names>', 'laws to set side by side', 'all')
    .option('--fit <files...>', "fits of one's own (bitlaw fit --out)")
    .option('--svg <file>', 'draw loss against bits')
    .option('--study <file>', 'write the most informative small study as a specification')
    .option('--frontier <file>', 'write plans that no other beats in compute, memory and loss as CSV')
    .option('--json', 'print one JSON document')
    .action(trainAction)
  command
    .command('serve')
    .description('which model at which format, under memory and throughput')
    .argument('[models...]', 'known models, checkpoints, or sizes like 8b (all known models unless given)')
    .option('--d <tokens>', 'training tokens of checkpoints and sizes that do not say')
    .option('--memory <bytes>', "memory, the device's unless given")
    .option('--device <name>', 'a device of `bitlaw plan devices`', 'rtx-4090')
    .option('--context <tokens>', 'tokens a sequence', '4096')
    .option('--batch <n>', 'sequences at once', '1')
    .option('--min-speed <tokens>', 'least tokens a second of all sequences together')
    .option(
      '--formats <list>',
      'formats of the weights; names like q4_k_m are files of llama.cpp',
      'bf16,int8@64,int6@64,int5@64,int4@64,int3@64',
    )
    .option('--embeddings <format>', 'format of embedding and unembedding', 'bf16')
    .option('--kv <format>', 'format of the cache', 'bf16')
    .option('--activations <bits>', 'bits of activations while serving', '16')
    .option('--law <name>', 'law of loss and damage', 'kumar_unified')
    .option('--fit <file>', "a fit of one's own instead (bitlaw fit --out)")
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

/** Bits as a range or one number. */
function parseBits(text: string, name: string): plan.Bounds {
  const match = /^(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?$/.exec(text)
  const low = Number(match?.[1])
  const high = Number(match?.[2] ?? match?.[1])
  if (!match || low < 1 || high > 16 || low > high)
    throw new RequestError(`${name} '${text}' is not understood, expected a number from 1 to 16 or a range like 3..16`)
  return { low, high }
}

interface TrainOptions {
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
  const all = parseBits(bits, 'bits')
  if (pw === undefined && pa === undefined && pkv === undefined) return all.low === all.high ? plan.tied(all.low) : all
  const part = (text: string | undefined, name: string) => (text === undefined ? all : parseBits(text, name))
  return { pw: part(pw, 'pw'), pa: part(pa, 'pa'), pkv: part(pkv, 'pkv') }
}

/** Bits after training: of the codes, which laws read, and per parameter, which memory holds. */
function servedBits(text: string | undefined): { postBits?: number; servingBits?: number } {
  if (text === undefined) return {}
  if (/^[\d.]+$/.test(text)) return { postBits: parseBits(text, 'serve').low }
  const format = parseFormat(text)
  return { postBits: codeBits(format), servingBits: bitsPerParameter(format) }
}

/** The budget in 16-bit FLOPs, the least of those given, and which it is. */
function budgetOf(
  options: TrainOptions,
  device: plan.Device,
  economics: plan.Economics,
): { flops?: number; name: string } {
  const hours = quantity(options.hours, 'count', 'hours')
  const money = quantity(options.money, 'money', 'money')
  const bought = money === undefined ? undefined : plan.flopsFor(money, device, economics)
  if (bought === null) throw new RequestError(`device '${device.name}' has no price to rent, give --price`)
  const budgets = (
    [
      ['compute', quantity(options.compute, 'flops', 'compute')],
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
  const data = quantity(options.data, 'count', 'data')
  if (options.repeat && data === undefined)
    throw new RequestError('--repeat needs --data, the distinct tokens there are')
  return {
    compute,
    loss: quantity(options.loss, 'count', 'loss'),
    n: quantity(options.n, 'count', 'n'),
    d: quantity(options.d, 'count', 'd'),
    data: data === undefined ? undefined : { tokens: data, repeat: options.repeat ?? false },
    trainingMemory: quantity(options.memory, 'bytes', 'memory'),
    servingMemory: quantity(options.servingMemory, 'bytes', 'serving-memory'),
    inferenceTokens: quantity(options.inferenceTokens, 'count', 'inference-tokens'),
    ...servedBits(options.serve),
    bits: bitsOption(options),
    vocab: quantity(options.vocab, 'count', 'vocab'),
    cost: cost === 'bits' ? { kind: 'bits' } : { kind: 'device', device },
  }
}

function trainAction(options: TrainOptions): void {
  const device = findDevice(options.device)
  const utilization = quantity(options.utilization, 'count', 'utilization') as number
  if (utilization > 1)
    throw new RequestError(`utilization '${options.utilization}' is above 1, expected a share like 0.4`)
  const pricePerHour = quantity(options.price, 'money', 'price')
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
  const lines = points.map(({ n, d, pw, pa, pkv, flops, bytes, loss }) => [n, d, pw, pa, pkv, flops, bytes, loss].map(value => Number(value.toPrecision(6))).join()) // biome-ignore format: one line
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

interface ServeOptions {
  d?: string
  memory?: string
  device: string
  context: string
  batch: string
  minSpeed?: string
  formats: string
  embeddings: string
  kv: string
  activations: string
  law: string
  fit?: string
  json?: boolean
}

/** A known model, a checkpoint on disk, or a size such as 8b; else an error that offers a near name. */
async function findModel(name: string, d: number | null): Promise<Subject> {
  if (existsSync(name)) return openSubject(name, d)
  const known = findKnown(name)
  if (known) return knownSubject(known, d)
  if (/^[\d.]+(e\d+|[kmbt])$/i.test(name)) {
    const shape = plan.shapeOf(parseQuantity(name, 'count', 'size'))
    const trained = { pw: 16, pa: 16, pkv: 16 }
    return { name, ...plan.countShape(shape), d, dSource: d === null ? null : 'given', shape, trained, decayed: null }
  }
  const names = plan.MODELS.map(model => model.name)
  throw new RequestError(
    `unknown model '${name}'${didYouMean(name, names)}, expected a checkpoint, a size like 8b, or one of ${names.join(', ')}`,
  )
}

/** A positive whole number. */
function count(text: string, name: string): number {
  const value = parseQuantity(text, 'count', name)
  if (!Number.isInteger(value) || value < 1) throw new RequestError(`${name} '${text}' is not a positive whole number`)
  return value
}

async function serveAction(names: readonly string[], options: ServeOptions): Promise<void> {
  const device = findDevice(options.device)
  const [fit] = lawFits(options.law, options.fit === undefined ? [] : [options.fit], { delta: true })
  const problem: plan.ServeProblem = {
    device,
    memory: quantity(options.memory, 'bytes', 'memory'),
    context: count(options.context, 'context'),
    batch: count(options.batch, 'batch'),
    minTokensPerSecond: quantity(options.minSpeed, 'count', 'min-speed'),
    formats: options.formats.split(',').map(format => format.trim()),
    embeddings: options.embeddings,
    kvFormat: options.kv,
    activationBits: parseBits(options.activations, 'activations').low,
  }
  for (const format of [options.embeddings, options.kv]) parseFormat(format)
  const d = options.d === undefined ? null : parseQuantity(options.d, 'count', 'd')
  const wanted = names.length > 0 ? names : plan.MODELS.map(model => model.name)
  const subjects: Subject[] = []
  for (const name of wanted) subjects.push(await findModel(name, d))
  const solution = plan.planServing(subjects, problem, fit)
  const largest = Math.max(...solution.plans.map(one => one.n))
  const unknown = subjects.filter(subject => subject.d === null).map(subject => subject.name)
  const warnings = [
    ...solution.warnings,
    ...(unknown.length > 0
      ? [`training tokens of ${unknown.join(', ')} are not known, so no loss is predicted; give --d`]
      : []),
    ...recordWarnings([fit], largest),
    `losses are predicted by ${fit.law.name} (${fit.fit}), which saw ${describeRange(fit.range)}; other models lie outside`,
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
      ...(solution.best
        ? [
            `best in this memory: ${solution.best.model} ${solution.best.format}${solution.best.tiedBits.length > 1 ? `; ${solution.best.tiedBits.map(k => Number(k.toPrecision(3))).join(', ')} bits tie` : ''}`,
          ]
        : []),
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
