// bitlaw fit: laws fitted to a table of runs, with intervals, what the runs cannot tell, and a held-out comparison.
import { readFile, rename, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Command } from 'commander'
import { didYouMean, RequestError } from '../formats/error.ts'
import {
  type Fit,
  type FitDocument,
  type FitOptions,
  findLaw,
  fitFigure,
  fitLaws,
  type HoldOut,
} from '../laws/index.ts'
import { filterRows, mapColumns, parseWhere, readRows } from '../table/index.ts'
import { checkOutputFile, wholeNumber } from './options.ts'
import { printJson, printText, table } from './output.ts'

interface Options {
  law: string
  columns: string[]
  where: string[]
  holdOut?: string
  bootstrap: string
  objective: string
  delta: string
  fix: string[]
  tie: string[]
  bound: string[]
  cluster?: string
  weights?: string
  starts: string
  seed: string
  skipBadRows?: boolean
  out?: string
  svg?: string
  json?: boolean
}

const OBJECTIVES = ['huber', 'squares', 'log-squares'] as const
const HOLD_OUTS = ['largest-n', 'largest-d', 'precision', 'sizes', 'folds']

/** `a=1,b=2` given once or often, as pairs. */
function pairs(texts: readonly string[], option: string): [string, string][] {
  return texts
    .flatMap(text => text.split(','))
    .map(text => {
      const match = /^\s*([^=]+?)\s*=\s*(.+?)\s*$/.exec(text)
      if (!match) throw new RequestError(`${option} '${text}' is not name=value`)
      return [match[1], match[2]]
    })
}

function numberFrom(text: string, option: string): number {
  const value = Number(text)
  if (!Number.isFinite(value)) throw new RequestError(`${option} '${text}' is not a number`)
  return value
}

/** Options of the library from those of the command. */
function fitOptionsOf(options: Options): FitOptions {
  const objective = OBJECTIVES.find(kind => kind === options.objective)
  if (!objective)
    throw new RequestError(
      `unknown objective '${options.objective}'${didYouMean(options.objective, OBJECTIVES)}, expected ${OBJECTIVES.join(', ')}`,
    )
  if (options.holdOut !== undefined && !/^folds:\d+$/.test(options.holdOut) && !HOLD_OUTS.includes(options.holdOut))
    throw new RequestError(
      `unknown hold-out '${options.holdOut}'${didYouMean(options.holdOut, HOLD_OUTS)}, expected ${HOLD_OUTS.join(', ')} or folds:<k>`,
    )
  const bounds = pairs(options.bound, '--bound').map(([name, text]): [string, [number, number]] => {
    const [low, high] = text.split('..').map(part => numberFrom(part, `--bound ${name}`))
    if (!(low < high)) throw new RequestError(`--bound ${name}=${text} is not low..high`)
    return [name, [low, high]]
  })
  return {
    objective,
    delta: numberFrom(options.delta, '--delta'),
    holdOut: options.holdOut as HoldOut | undefined,
    bootstrap: wholeNumber(options.bootstrap, '--bootstrap', 0),
    starts: wholeNumber(options.starts, '--starts'),
    seed: wholeNumber(options.seed, '--seed', 0),
    fix: Object.fromEntries(
      pairs(options.fix, '--fix').map(([name, text]) => [name, numberFrom(text, `--fix ${name}`)]),
    ),
    tie: Object.fromEntries(pairs(options.tie, '--tie')),
    bounds: Object.fromEntries(bounds),
    cluster: options.cluster === 'none' ? null : options.cluster,
    weights: options.weights,
    skipBad: options.skipBadRows,
  }
}

/** A number at a sensible precision. */
const digits = (v: number | undefined, n = 5) =>
  v === undefined || !Number.isFinite(v) ? '-' : Number(v.toPrecision(n)).toString()

function describe(fit: Fit): string {
  const parameters = Object.entries(fit.parameters).map(([name, value]) => {
    const interval = fit.intervals[name]
    const profile = fit.profiles[name]
    return [
      name,
      digits(value),
      interval ? `${digits(interval[0], 4)}..${digits(interval[1], 4)}` : '-',
      profile ? `${digits(profile[0], 4)}..${digits(profile[1], 4)}` : '-',
      fit.unidentified.includes(name) ? 'not identified' : '',
    ]
  })
  const { starts, agreed, finished, converged } = fit.convergence
  const held = fit.heldOut
  return [
    `${fit.law}: ${fit.rows} rows, objective ${fit.objective.toPrecision(7)} (sum, ${fit.objectiveKind}), RMSE ${digits(fit.rmse, 4)} nats, R² ${fit.rSquared.toFixed(5)}`,
    table(['parameter', 'value', '95%', 'within 1%', ''], parameters),
    `${converged ? 'converged' : 'not converged'}; ${agreed} of ${finished} finished descents from ${starts} starts agree`,
    ...(fit.bootstrap.resamples > 0
      ? [
          `intervals: ${fit.bootstrap.resamples} resamples of ${fit.bootstrap.clusters} ${fit.bootstrap.by ? `clusters by ${fit.bootstrap.by}` : 'rows'}`,
        ]
      : []),
    ...(held ? [`held out (${held.split}, ${held.left}): RMSE ${digits(held.rmse, 4)} nats on ${held.rows} rows`] : []),
    ...fit.warnings.map(warning => `note: ${warning}`),
    ...(held?.warnings ?? []).map(warning => `note: ${warning}`),
  ].join('\n')
}

function print({ fits, best, comparison, warnings }: FitDocument): string {
  const compared = comparison.map(c => [
    c.a,
    c.b,
    digits(c.difference, 3),
    `${digits(c.interval[0], 3)}..${digits(c.interval[1], 3)}`,
    c.verdict,
  ])
  return [
    ...fits.map(describe),
    ...(compared.length > 0
      ? [table(['a', 'b', 'RMSE a − b', '95%', ''], compared), `least held-out error: ${best}`]
      : []),
    ...warnings.map(warning => `note: ${warning}`),
  ].join('\n\n')
}

async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.part`, text)
  await rename(`${path}.part`, path)
}

const collect = (value: string, all: string[]) => [...all, value]

/** Adds `bitlaw fit`. */
export function register(command: Command): void {
  command
    .argument('<file>', 'a table of runs: CSV, JSON lines or Parquet')
    .requiredOption('--law <law,…>', 'laws to fit to the same rows')
    .option('--columns <N=params,…>', 'names of the columns in the file', collect, [] as string[])
    .option('--where <filter>', 'rows to keep, such as "w_bits >= 3 and P_post is empty"', collect, [] as string[])
    .option('--hold-out <what>', `${HOLD_OUTS.join(', ')} or folds:<k> (folds where several laws are compared)`)
    .option('--bootstrap <count>', 'resamples for the 95% intervals; 0: none', '200')
    .option('--objective <kind>', `${OBJECTIVES.join(', ')}: of ln loss, loss, ln loss`, 'huber')
    .option('--delta <delta>', 'where the Huber loss turns linear', '1e-3')
    .option('--fix <name=value>', 'hold a parameter', collect, [] as string[])
    .option('--tie <name=other>', 'make a parameter equal another', collect, [] as string[])
    .option('--bound <name=low..high>', 'keep a parameter inside bounds', collect, [] as string[])
    .option('--cluster <column>', 'rows that are resampled together (run where there is such a column); none')
    .option('--weights <column>', 'weight of each row; loss_standard_error: one over its square')
    .option('--starts <count>', 'random starts of the search', '200')
    .option('--seed <seed>', 'of starts, resamples and folds', '0')
    .option('--skip-bad-rows', 'leave bad rows out and name them, instead of stopping')
    .option('--out <fit.json>', 'write the fits, for predict, plan and report')
    .option('--svg <fit.svg>', 'draw measured against predicted, and residuals by precision')
    .option('--json', 'print one JSON document')
    .action(async (file: string, options: Options) => {
      const fitOptions = fitOptionsOf(options)
      checkOutputFile(options.out, '--out')
      checkOutputFile(options.svg, '--svg')
      const laws = options.law.split(',').map(name => findLaw(name.trim()))
      const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'EISDIR') throw new RequestError(`'${file}' is a folder, expected a table of runs`)
        throw new RequestError(error.code === 'ENOENT' ? `no file ${file}` : `cannot read ${file}: ${error.message}`)
      })
      let rows = mapColumns(
        await readRows(basename(file), bytes),
        Object.fromEntries(pairs(options.columns, '--columns')),
      )
      for (const text of options.where) {
        rows = filterRows(rows, parseWhere(text, rows.columns))
        if (rows.rows.length === 0) throw new RequestError(`no row of ${file} is left by --where '${text}'`)
      }
      const { solved, ...document } = fitLaws(rows.rows, laws, { ...fitOptions, lines: rows.lines, unit: rows.unit })
      if (options.out !== undefined) await writeWhole(options.out, `${JSON.stringify(document)}\n`)
      if (options.svg !== undefined)
        for (const one of solved)
          await writeWhole(
            solved.length === 1 ? options.svg : options.svg.replace(/(\.svg)?$/, `-${one.law.name}.svg`),
            fitFigure(one),
          )
      if (options.json) printJson({ ...document, fits: document.fits.map(brief) })
      else printText(print(document))
    })
}

/** A fit without its sample, which only the file of --out holds. */
function brief({ sample: _, heldOut, ...fit }: Fit) {
  if (heldOut === null) return { ...fit, heldOut }
  const { residuals: __, ...held } = heldOut
  return { ...fit, heldOut: held }
}
