// `bitlaw plan serve`: candidates by name, file or size, planned by src/plan/serve.ts, printed.
import { existsSync } from 'node:fs'
import { recordWarnings } from '../check/predict.ts'
import { findKnown, knownSubject, openSubject, type Subject } from '../check/subject.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseFormat } from '../formats/index.ts'
import * as plan from '../plan/index.ts'
import { printQuantity } from '../table/quantity.ts'
import { lawFits } from './law-fits.ts'
import { wholeNumber } from './options.ts'
import { printJson, printText, table } from './output.ts'
import { findDevice, parseBits, quantity } from './plan-options.ts'

/** Options as they were given. */
export interface ServeOptions {
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
    const shape = plan.shapeOf(quantity(name, 'count', 'size') as number)
    const trained = { pw: 16, pa: 16, pkv: 16 }
    return { name, ...plan.countShape(shape), d, dSource: d === null ? null : 'given', shape, trained, decayed: null }
  }
  const names = plan.MODELS.map(model => model.name)
  throw new RequestError(
    `unknown model '${name}'${didYouMean(name, names)}, expected a checkpoint, a size like 8b, or one of ${names.join(', ')}`,
  )
}

/** The action of `bitlaw plan serve`. */
export async function serveAction(names: readonly string[], options: ServeOptions): Promise<void> {
  const device = findDevice(options.device)
  const [fit] = lawFits(options.law, options.fit === undefined ? [] : [options.fit], { delta: true })
  const problem: plan.ServeProblem = {
    device,
    memory: quantity(options.memory, 'bytes', '--memory'),
    context: wholeNumber(options.context, '--context'),
    batch: wholeNumber(options.batch, '--batch'),
    minTokensPerSecond: quantity(options.minSpeed, 'count', '--min-speed'),
    formats: options.formats.split(',').map(format => format.trim()),
    embeddings: options.embeddings,
    kvFormat: options.kv,
    activationBits: parseBits(options.activations, '--activations').low,
  }
  for (const format of [options.embeddings, options.kv]) parseFormat(format)
  const d = quantity(options.d, 'count', '--d') ?? null
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
              one.model,
              one.format,
              printQuantity(one.bytes.weights, 'bytes'),
              printQuantity(one.bytes.kv, 'bytes'),
              printQuantity(one.bytes.total, 'bytes'),
              one.tokensPerSecond.toPrecision(3),
              one.boundBy,
              one.loss?.toFixed(4) ?? '-',
              one.deltaPtq?.toFixed(4) ?? '-',
              one.frontier ? '*' : '',
            ]),
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
