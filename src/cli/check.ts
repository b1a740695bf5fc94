// `bitlaw check`: is this checkpoint over-trained for k bits? Predicted by every PTQ law, and measured where asked.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { tokensFromCard } from '../check/card.ts'
import { measureDamage } from '../check/measure.ts'
import { lawRecords, predictDamage, recordApplies, WIDTHS } from '../check/predict.ts'
import { judge, type MeasuredDamage, TOLERANCE } from '../check/verdict.ts'
import { tokenizeText } from '../evaluate/loss.ts'
import { RequestError } from '../formats/error.ts'
import { countParameters } from '../model/config.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import { MODELS } from '../plan/index.ts'
import type { Method } from '../quantize/quantize.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { createKernels } from '../tensor/index.ts'
import { printJson, printText, table } from './output.ts'
import { lawFits } from './plan.ts'
import { startProgress } from './progress.ts'

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<model>', 'checkpoint (folder, .gguf, .bin, hub name), or the name of a known model to predict for')
    .option('--d <tokens>', 'training tokens, where the card does not say')
    .option('--measure <file>', 'measure the damage on this text, RTN and GPTQ at 3 to 8 bits')
    .option('--calibration <file>', 'text for GPTQ (the first part of the measured one unless given)')
    .option('--formats <list>', 'formats to measure', WIDTHS.map(k => `int${k}@64`).join(','))
    .option('--tolerance <nats>', 'damage that can be lived with', String(TOLERANCE))
    .option('--law <names>', 'laws to ask', 'all')
    .option('--fit <files...>', "fits of one's own (bitlaw fit --out)")
    .option('--context <tokens>', 'window of the measurement')
    .option('--limit <windows>', 'the first windows of the text only', '40')
    .option('--threads <n>', 'threads of the kernels')
    .option('--json', 'print one JSON document')
    .action(checkAction)
}

interface CheckOptions {
  d?: string
  measure?: string
  calibration?: string
  formats: string
  tolerance: string
  law: string
  fit?: string[]
  context?: string
  limit: string
  threads?: string
  json?: boolean
}

/** What is known of the model: a checkpoint, or a record of a known one. */
interface Subject {
  n: number
  d: number | null
  loaded: LoadedModel | null
  /** Whether the learning rate had decayed at this checkpoint; null: not known. */
  decayed: boolean | null
}

async function openSubject(name: string, options: CheckOptions): Promise<Subject> {
  const given = options.d === undefined ? null : parseQuantity(options.d, 'count', 'd')
  const known = MODELS.find(model => model.name === name || model.hub === name)
  if (known && !existsSync(name) && options.measure === undefined)
    return { n: known.n, d: given ?? known.d, loaded: null, decayed: null }
  const loaded = await loadModel(name)
  const card = join(loaded.folder, 'README.md')
  const written = existsSync(card) ? tokensFromCard(readFileSync(card, 'utf8')) : null
  const fraction = loaded.bitlaw?.['lr_fraction']
  return {
    n: countParameters(loaded.config).n,
    d: given ?? loaded.d ?? known?.d ?? written,
    loaded,
    decayed: typeof fraction === 'number' ? fraction < 0.5 : null,
  }
}

function readText(path: string): string {
  if (!existsSync(path)) throw new RequestError(`no text at '${path}'`)
  return readFileSync(path, 'utf8')
}

/** Calibration takes this many windows of 256 tokens. */
const CALIBRATION_TOKENS = 32 * 256

async function measure(model: LoadedModel, options: CheckOptions): Promise<MeasuredDamage[]> {
  if (!model.tokenizer) throw new RequestError(`model '${model.name}' has no tokenizer, so no text can be measured`)
  const kernels = createKernels({ threads: options.threads === undefined ? undefined : parseQuantity(options.threads) })
  const context = Math.min(options.context === undefined ? 256 : parseQuantity(options.context), model.config.context)
  const whole = await tokenizeText(model.tokenizer, readText(options.measure as string))
  const sequences = Math.floor(CALIBRATION_TOKENS / context)
  const own =
    options.calibration === undefined ? null : (await tokenizeText(model.tokenizer, readText(options.calibration))).ids
  // Without a text of its own, calibration takes the first part of the measured text, which is then not scored.
  const cut = own ? 0 : Math.min(sequences * context, Math.floor(whole.ids.length / 2 / context) * context)
  const source = own ?? whole.ids
  const length = Math.min(sequences, Math.floor((own ? source.length : cut) / context)) * context
  if (length === 0)
    throw new RequestError(`the calibration text has ${source.length} tokens, expected at least ${context}`)
  const calibration = { ids: source.slice(0, length), length: context }
  const text = { ...whole, ids: whole.ids.slice(cut), bytes: null }
  const methods: Method[] = ['rtn', 'gptq']
  const choices = options.formats
    .split(',')
    .flatMap(format => methods.map(method => ({ method, format: format.trim() })))
  const progress = startProgress('check', choices.length, 'formats', { quiet: options.json })
  const scoring = { context, limit: parseQuantity(options.limit), compute: 'float' } as const
  const measured = measureDamage(model, kernels, text, choices, {
    calibration,
    scoring,
    onProgress: (done, note) => progress.update(done, note),
  })
  progress.stop()
  return measured
}

async function checkAction(name: string, options: CheckOptions): Promise<void> {
  const tolerance = parseQuantity(options.tolerance, 'count', 'tolerance')
  const fits = lawFits(options.law, options.fit, { delta: true })
  if (options.measure !== undefined) readText(options.measure)
  const subject = await openSubject(name, options)
  const predicted = subject.d === null ? [] : predictDamage(fits, subject.n, subject.d)
  const records = lawRecords(fits)
  const measured = options.measure === undefined || !subject.loaded ? [] : await measure(subject.loaded, options)
  const { verdict, recommended } = judge(predicted, measured, records, subject, tolerance)
  const criticals = predicted.filter(one => one.k === 4 && one.dCrit !== null)
  const document = {
    model: name,
    n: subject.n,
    d: subject.d,
    predicted,
    dCrit: Object.fromEntries(criticals.map(one => [`${one.law}/${one.fit}`, one.dCrit])),
    measured,
    elsewhere: records.map(({ law, fit, ratio, unreliable, rows }) => ({ law, fit, ratio, unreliable, rows })),
    verdict,
    recommended,
  }
  if (options.json) {
    printJson(document)
    return
  }
  const parts = [
    `${name}: ${printQuantity(subject.n)} parameters, ${subject.d === null ? 'training tokens unknown (give --d)' : `${printQuantity(subject.d)} training tokens`}`,
  ]
  if (predicted.length > 0)
    parts.push(
      table(
        ['law', 'fit', ...WIDTHS.map(k => `${k} bits`), 'D_crit at 4', 'in range', 'off elsewhere'],
        records.map(record => {
          const own = predicted.filter(one => one.law === record.law && one.fit === record.fit)
          const critical = own.find(one => one.k === 4)?.dCrit
          return [
            record.law,
            record.fit,
            ...own.map(one => one.deltaPtq.toPrecision(3)),
            critical == null ? '-' : printQuantity(critical),
            own.every(one => one.insideRange) ? 'yes' : 'no',
            `${record.ratio.toPrecision(2)} times${record.unreliable && recordApplies(record, subject.n) ? ' (!)' : ''}`,
          ]
        }),
      ),
    )
  if (measured.length > 0)
    parts.push(
      table(
        ['method', 'format', 'bits', 'loss change', '95%', 'KL'],
        measured.map(one => [
          one.method,
          one.format,
          one.bitsPerParameter.toFixed(3),
          one.lossChange.toFixed(4),
          `${one.interval[0].toFixed(4)} to ${one.interval[1].toFixed(4)}`,
          one.kl.toFixed(5),
        ]),
      ),
    )
  parts.push(
    verdict
      .split('; ')
      .map(line => `- ${line}`)
      .join('\n'),
  )
  if (recommended) parts.push(`recommended: ${recommended.format} by ${recommended.method} (${recommended.why})`)
  printText(parts.join('\n\n'))
}
