// bitlaw predict: what one law, or all, say about one configuration.
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { recordWarnings } from '../check/predict.ts'
import { RequestError } from '../formats/error.ts'
import {
  type Cell,
  type Fit,
  findLaw,
  LAWS,
  type PredictionDocument,
  predictFit,
  predictPublished,
  readFits,
} from '../laws/index.ts'
import { parseQuantity, printQuantity } from '../table/quantity.ts'
import { cellOf } from '../table/table.ts'
import { lawFits } from './law-fits.ts'
import { printJson, printText, table } from './output.ts'

interface Options {
  law?: string
  fit?: string
  constants?: string
  n: string
  d: string
  pw?: string
  pa?: string
  pkv?: string
  ppost?: string
  formatW?: string
  formatA?: string
  forward?: string
  backward?: string
  group?: string
  set: string[]
  level: string
  json?: boolean
}

function bits(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value >= 1 && value <= 32))
    throw new RequestError(`${name} '${text}' is not a number of bits, expected 1 to 32`)
  return value
}

/** The configuration that options describe; what is not given stays absent. */
export function configurationOf(options: Omit<Options, 'json' | 'level'>): Record<string, Cell> {
  const row: Record<string, Cell> = {
    N: parseQuantity(options.n, 'count', '--n'),
    D: parseQuantity(options.d, 'count', '--d'),
    P_w: bits(options.pw, '--pw'),
    P_a: bits(options.pa, '--pa'),
    P_kv: bits(options.pkv, '--pkv'),
    P_post: bits(options.ppost, '--ppost'),
    format_w: options.formatW,
    format_a: options.formatA,
    forward: options.forward,
    backward: options.backward,
    group: options.group === undefined ? undefined : parseQuantity(options.group, 'count', '--group'),
  }
  for (const pair of options.set) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(pair) ?? []
    if (name === undefined) throw new RequestError(`--set '${pair}' is not column=value`)
    const cell = cellOf(value)
    row[name] = typeof cell === 'string' && /^[\d.]+[kmbgt]$/i.test(cell) ? parseQuantity(cell) : cell
  }
  for (const name of ['N', 'D'])
    if (!(Number(row[name]) > 0)) throw new RequestError(`${name} is '${row[name]}', expected a number above 0`)
  return Object.fromEntries(Object.entries(row).filter(([, cell]) => cell !== undefined))
}

async function fitsIn(path: string): Promise<Fit[]> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new RequestError(`cannot read the fit ${path}`)
  })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new RequestError(`${path} is not JSON, expected a file written by bitlaw fit --out`)
  }
  return readFits(value, path)
}

function print(documents: readonly PredictionDocument[], level: number): string {
  const share = `${Number((100 * level).toPrecision(6))}%`
  const digits = (v: number | null, n = 4) => (v === null ? '-' : v.toFixed(n))
  const rows = documents.map(p => [
    p.law,
    p.fit,
    digits(p.loss),
    p.interval ? `${digits(p.interval[0])}..${digits(p.interval[1])}` : '-',
    p.nEff === null ? '-' : printQuantity(p.nEff),
    digits(p.deltaPtq),
    p.dCrit === null ? '-' : printQuantity(p.dCrit),
    digits(p.optimalBits, 1),
    p.insideRange ? 'yes' : 'no',
  ])
  const notes = documents.flatMap(p => p.notes.map(note => `${p.law} (${p.fit}): ${note}`))
  const extra = documents.flatMap(p =>
    Object.entries(p.extra ?? {}).map(([name, v]) => `${p.law} (${p.fit}): ${name} ${Number(v.toPrecision(4))}`),
  )
  return [
    table(['law', 'fit', 'loss', share, 'N_eff', 'delta PTQ', 'D_crit', 'best bits', 'in range'], rows),
    ...extra,
    ...notes,
  ].join('\n')
}

/** Adds to predictions of damage what others measured on models of that size, where the law is far off there. */
function warnOfRecords(documents: readonly PredictionDocument[], n: number, file: string | undefined): void {
  for (const one of documents) {
    if (one.deltaPtq === null) continue
    const fits = lawFits(one.law, file === undefined ? [] : [file], { delta: true })
    const used = fits.filter(fit => (file === undefined ? fit.fit === one.fit : fit.own && fit.law.name === one.law))
    one.notes.push(...recordWarnings(used, n))
  }
}

/** Adds `bitlaw predict`. */
export function register(command: Command): void {
  command
    .option('--law <law>', 'a law, or all (with --fit: default all that the file holds)')
    .option('--fit <file>', 'constants from a file written by bitlaw fit --out')
    .option('--constants <name>', 'one published fit of the law, such as besiroglu2024')
    .requiredOption('--n <count>', 'non-embedding parameters, such as 1b')
    .requiredOption('--d <tokens>', 'training tokens, such as 100b')
    .option('--pw <bits>', 'bits of weights in training (16: not quantized)')
    .option('--pa <bits>', 'bits of activations in training')
    .option('--pkv <bits>', 'bits of the KV cache in training')
    .option('--ppost <bits>', 'bits of weights after PTQ')
    .option('--format-w <format>', 'format of weights, for laws by format')
    .option('--format-a <format>', 'format of activations')
    .option('--forward <format>', 'format of the forward pass (quartet)')
    .option('--backward <format>', 'format of the backward pass (quartet)')
    .option('--group <size>', 'numbers that share a scale (chen, sun)')
    .option(
      '--set <column=value>',
      'any other column of a law, repeatable',
      (value: string, all: string[]) => [...all, value],
      [] as string[],
    )
    .option('--level <share>', 'of the prediction interval', '0.9')
    .option('--json', 'print one JSON document')
    .action(async (options: Options) => {
      const row = configurationOf(options)
      const level = Number(options.level)
      if (!(level > 0 && level < 1)) throw new RequestError(`--level '${options.level}' is not a share between 0 and 1`)
      const named = options.law === undefined || options.law === 'all' ? undefined : findLaw(options.law)
      let documents: PredictionDocument[]
      if (options.fit !== undefined) {
        const fits = await fitsIn(options.fit)
        const chosen = fits.filter(fit => named === undefined || fit.law === named.name)
        if (chosen.length === 0)
          throw new RequestError(
            `${options.fit} holds no fit of ${named?.name}, it holds ${fits.map(f => f.law).join(', ')}`,
          )
        documents = chosen.map(fit => predictFit(fit, row, level))
      } else {
        if (options.law === undefined)
          throw new RequestError(`--law is missing, expected all or one of ${LAWS.map(l => l.name).join(', ')}`)
        const laws = named ? [named] : LAWS
        documents = laws.flatMap(law => predictPublished(law, row, options.constants))
        if (documents.length === 0)
          throw new RequestError(
            `law ${named?.name} has no published constants: fit it to your runs with bitlaw fit and pass --fit`,
          )
      }
      warnOfRecords(documents, Number(row['N']), options.fit)
      if (options.json) printJson(documents)
      else printText(print(documents, level))
    })
}
