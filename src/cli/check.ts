// `bitlaw check`: is this checkpoint over-trained for k bits? Predicted by every PTQ law, and measured where asked.
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { keyOfChoice, measureDamage } from '../check/measure.ts'
import {
  type Record as LawRecord,
  lawRecords,
  type PredictedDamage,
  predictDamage,
  recordApplies,
  WIDTHS,
} from '../check/predict.ts'
import { findKnown, knownSubject, openSubject, type Subject } from '../check/subject.ts'
import { judge, type MeasuredDamage, TOLERANCE } from '../check/verdict.ts'
import { tokenizeText } from '../evaluate/loss.ts'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseFormat, printFormat } from '../formats/index.ts'
import { loadModel } from '../model/load.ts'
import { MODELS } from '../plan/index.ts'
import { calibrationOf } from '../quantize/calibration-text.ts'
import { expandFormats } from '../quantize/formats.ts'
import type { Method } from '../quantize/quantize.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { createKernels } from '../tensor/index.ts'
import { lawFits } from './law-fits.ts'
import { checkOutputFile, readText, threadsOf, wholeNumber } from './options.ts'
import { printJson, printText, table } from './output.ts'
import { startProgress } from './progress.ts'

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<model>', 'checkpoint (folder, .gguf, .bin, hub name), or the name of a known model to predict for')
    .option('--d <tokens>', 'training tokens, where the card does not say')
    .option('--measure <file>', 'measure the damage on this text, RTN and GPTQ at 3 to 8 bits')
    .option('--calibration <file>', 'text for GPTQ (the first part of the measured one unless given)')
    .option('--formats <list>', 'formats to measure', `int{${WIDTHS.join(',')}}@64`)
    .option('--methods <list>', 'methods to measure', 'rtn,gptq')
    .option('--tolerance <nats>', 'damage that can be lived with', String(TOLERANCE))
    .option('--law <names>', 'laws to ask', 'all')
    .option('--fit <files...>', "fits of one's own (bitlaw fit --out)")
    .option('--context <tokens>', 'window of the measurement')
    .option('--limit <windows>', 'the first windows of the text only', '40')
    .option('--out <file>', 'keep measured rows here (JSON lines); those that are there already are not measured again')
    .option('--threads <n>', 'threads of the kernels')
    .option('--json', 'print one JSON document')
    .action(checkAction)
}

interface CheckOptions {
  d?: string
  measure?: string
  calibration?: string
  formats: string
  methods: string
  tolerance: string
  law: string
  fit?: string[]
  context?: string
  limit: string
  out?: string
  threads?: string
  json?: boolean
}

function positive(text: string, name: string): number {
  const value = parseQuantity(text, 'count', name)
  if (!(value > 0)) throw new RequestError(`${name} '${text}' is not above 0`)
  return value
}

const METHODS: readonly string[] = ['rtn', 'gptq']

/** What to measure: every method at every format. */
function choicesOf({ formats, methods }: CheckOptions): { method: Method; format: string }[] {
  const chosen = methods.split(',').map(name => name.trim())
  for (const name of chosen)
    if (!METHODS.includes(name)) throw new RequestError(`unknown method '${name}', expected ${METHODS.join(' or ')}`)
  return expandFormats(formats).flatMap(format =>
    chosen.map(method => ({ method: method as Method, format: printFormat(parseFormat(format)) })),
  )
}

/** Rows of an earlier run with the same settings, by their choice. */
function earlierRows(path: string | undefined, settings: string): Map<string, MeasuredDamage> {
  const rows = new Map<string, MeasuredDamage>()
  if (path === undefined || !existsSync(path)) return rows
  const lines = readFileSync(path, 'utf8').split('\n')
  if (lines.length > 1 && !lines[0].startsWith('{"settings":'))
    throw new RequestError(`--out '${path}' holds something else, expected rows of bitlaw check or a new file`)
  for (const line of lines) {
    try {
      const { settings: own, ...row } = JSON.parse(line) as MeasuredDamage & { settings: string }
      if (own === settings) rows.set(keyOfChoice(row as Parameters<typeof keyOfChoice>[0]), row)
    } catch {
      // A line that was cut off is measured again.
    }
  }
  return rows
}

/** Calibration takes this many sequences. */
const CALIBRATION_SEQUENCES = 32

async function measure(reference: string, options: CheckOptions): Promise<MeasuredDamage[]> {
  const choices = choicesOf(options)
  const whole = readText(options.measure as string)
  const other = options.calibration === undefined ? null : readText(options.calibration)
  const limit = wholeNumber(options.limit, '--limit')
  const asked = options.context === undefined ? 256 : wholeNumber(options.context, '--context')
  const model = await loadModel(reference)
  if (!model.tokenizer) throw new RequestError(`model '${reference}' has no tokenizer, so no text can be measured`)
  const kernels = createKernels({
    threads: threadsOf(options.threads),
  })
  const context = Math.min(asked, model.config.context)
  // Without a text of its own, calibration takes the first tenth of the measured text, which is then not scored.
  const cut = other === null && choices.some(({ method }) => method === 'gptq') ? Math.floor(whole.length / 10) : 0
  const scored = whole.slice(cut)
  const sequences = { sequences: CALIBRATION_SEQUENCES, length: context }
  const calibration = choices.some(({ method }) => method === 'gptq')
    ? await calibrationOf(other ?? whole.slice(0, cut), model.tokenizer, sequences)
    : undefined
  const text = await tokenizeText(model.tokenizer, scored)
  const settings = createHash('sha256')
    .update(JSON.stringify([reference, context, limit, scored, other, model.precision]))
    .digest('hex')
    .slice(0, 16)
  const progress = startProgress('check', choices.length, 'formats', { quiet: options.json })
  const measured = measureDamage(model, kernels, text, choices, {
    calibration,
    scoring: { context, limit, compute: 'float' },
    precision: model.precision,
    done: earlierRows(options.out, settings),
    onRow: row => {
      if (options.out !== undefined) appendFileSync(options.out, `${JSON.stringify({ settings, ...row })}\n`)
    },
    onProgress: (done, note) => progress.update(done, note),
  })
  progress.stop()
  return measured
}

/** The known model of a name that is no path, else the checkpoint. */
async function subjectOf(name: string, options: CheckOptions): Promise<Subject> {
  const given = options.d === undefined ? null : positive(options.d, '--d')
  const known = findKnown(name)
  if (known && !existsSync(name) && options.measure === undefined) return knownSubject(known, given)
  // A bare word that is no file can only have been meant as a known model.
  if (!existsSync(name) && !known && /^[\w.-]+$/.test(name)) {
    const near = didYouMean(
      name,
      MODELS.map(model => model.name),
    )
    if (near) throw new RequestError(`no model '${name}'${near}`)
  }
  return openSubject(known && !existsSync(name) ? known.hub : name, given)
}

async function checkAction(name: string, options: CheckOptions): Promise<void> {
  const tolerance = positive(options.tolerance, '--tolerance')
  const fits = lawFits(options.law, options.fit, { delta: true })
  if (options.measure !== undefined) readText(options.measure)
  checkOutputFile(options.out, '--out')
  for (const [option, value] of Object.entries({ '--out': options.out, '--calibration': options.calibration }))
    if (value !== undefined && options.measure === undefined)
      throw new RequestError(`${option} '${value}' is of a measurement, expected --measure FILE with it`)
  earlierRows(options.out, '')
  choicesOf(options)
  const subject = await subjectOf(name, options)
  const predicted = subject.d === null ? [] : predictDamage(fits, subject.n, subject.d, { trained: subject.trained })
  const records = lawRecords(fits)
  const measured = options.measure === undefined ? [] : await measure(findKnown(name)?.hub ?? name, options)
  const { verdict, recommended } = judge(predicted, measured, records, subject, tolerance)
  const criticals = predicted.filter(one => one.k === 4 && one.dCrit !== null)
  const document = {
    model: name,
    n: subject.n,
    d: subject.d,
    dSource: subject.dSource,
    trained: subject.trained,
    predicted,
    dCrit: Object.fromEntries(criticals.map(one => [`${one.law}/${one.fit}`, one.dCrit])),
    measured,
    elsewhere: records.map(({ law, fit, ratio, error, unreliable, rows }) => ({
      law,
      fit,
      ratio,
      error,
      unreliable,
      applies: recordApplies({ law, fit, ratio, error, unreliable, rows }, subject.n),
      rows,
    })),
    verdict,
    recommended,
  }
  if (options.json) printJson(document)
  else printText(describe(subject, predicted, measured, records, { verdict, recommended }))
}

function describe(
  subject: Subject,
  predicted: readonly PredictedDamage[],
  measured: readonly MeasuredDamage[],
  records: readonly LawRecord[],
  { verdict, recommended }: ReturnType<typeof judge>,
): string {
  const { pw, pa, pkv } = subject.trained
  const tokens =
    subject.d === null
      ? 'training tokens unknown (give --d)'
      : `${printQuantity(subject.d)} training tokens (${subject.dSource})`
  const bits = Math.min(pw, pa, pkv) < 16 ? `, trained at ${pw} bits (activations ${pa}, KV ${pkv})` : ''
  const parts = [`${subject.name}: ${printQuantity(subject.n)} parameters without embeddings, ${tokens}${bits}`]
  if (predicted.length > 0) parts.push(predictedTable(subject, predicted, records), elsewhereTable(records))
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
  const lines = verdict.split('; ').map(line => `- ${line}`)
  parts.push(lines.join('\n'))
  if (recommended) parts.push(`recommended: ${recommended.format} by ${recommended.method} (${recommended.why})`)
  return parts.join('\n\n')
}

/** Predicted damage, a law a line. */
function predictedTable(
  subject: Subject,
  predicted: readonly PredictedDamage[],
  records: readonly LawRecord[],
): string {
  const cell = (one: PredictedDamage | undefined) =>
    one === undefined
      ? '-'
      : `${one.deltaPtq.toPrecision(3)}${one.interval ? ` (${one.interval.map(end => end.toPrecision(2)).join(' to ')})` : ''}${one.insideRange ? '' : '*'}`
  return [
    'predicted damage, nats a token (*: outside the range that the law was validated on)',
    table(
      ['law', 'fit', ...WIDTHS.map(k => `${k} bits`), 'D_crit at 4', 'typically off elsewhere'],
      records.map(record => {
        const own = predicted.filter(one => one.law === record.law && one.fit === record.fit)
        const critical = own.find(one => one.k === 4)?.dCrit
        return [
          record.law,
          record.fit,
          ...WIDTHS.map(k => cell(own.find(one => one.k === k))),
          critical == null ? '-' : printQuantity(critical),
          `${record.error.toPrecision(2)} times${record.unreliable && recordApplies(record, subject.n) ? ' (!)' : ''}`,
        ]
      }),
    ),
  ].join('\n')
}

/** What others measured on real models, and every law's word on it. */
function elsewhereTable(records: readonly LawRecord[]): string {
  const [first] = records
  if (!first) return ''
  return [
    'measured by others (llama.cpp, Wikitext-2), and predicted by each law in the order above',
    table(
      ['model', 'format', 'measured', ...records.map(record => record.law)],
      first.rows.map((row, i) => [
        row.model,
        row.format,
        row.deltaPtq.toFixed(4),
        ...records.map(record => record.rows[i].predicted.toPrecision(2)),
      ]),
    ),
  ].join('\n')
}
