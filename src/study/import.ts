// Runs that were measured elsewhere become rows of the ledger: CSV, JSON lines, Parquet, or an export of Weights & Biases.
// A result file holds them too, so that repair, which rebuilds the ledger from those, finds them again.
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { type Row, readRows, type Table } from '../table/index.ts'
import { writeWhole } from './files.ts'
import { keyOf, shortKey } from './key.ts'
import type { Ledger } from './ledger/open.ts'
import { saveRuns } from './ledger/queries.ts'
import type { ResultFile, RunOutcome } from './work.ts'

/** Names under which other tools keep a column; the first that a table has counts. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  N: ['N', 'n', 'params', 'parameters', 'n_params', 'num_params', 'non_embedding_params', 'model_size'],
  D: ['D', 'd', 'tokens', 'n_tokens', 'num_tokens', 'train_tokens', 'tokens_seen', 'training_tokens'],
  loss: [
    'loss',
    'val_loss',
    'valid_loss',
    'validation_loss',
    'eval_loss',
    'eval/loss',
    'val/loss',
    'final_loss',
    'test_loss',
  ],
  loss_before_ptq: ['loss_before_ptq', 'loss_fp16', 'loss_bf16', 'baseline_loss'],
  P_w: ['P_w', 'weight_bits', 'w_bits', 'wbits'],
  P_a: ['P_a', 'activation_bits', 'a_bits', 'abits'],
  P_kv: ['P_kv', 'kv_bits'],
  P_post: ['P_post', 'ptq_bits', 'post_bits'],
  run: ['run', 'run_id', 'id', 'ID', 'Name', 'name', 'run_name'],
  seed: ['seed', 'random_seed'],
  family: ['family', 'model_family'],
  corpus: ['corpus', 'dataset'],
  schedule: ['schedule', 'lr_schedule', 'lr_scheduler_type'],
  lr_fraction: ['lr_fraction'],
  N_total: ['N_total', 'total_params'],
  loss_standard_error: ['loss_standard_error', 'loss_se'],
  format_w: ['format_w'],
  format_a: ['format_a'],
  format_kv: ['format_kv'],
  format_post: ['format_post', 'format'],
  method: ['method'],
}

/** `config.n_params` and `config/n_params` of a W&B export are n_params; so are `summary.…`. */
function plainName(column: string): string {
  return column.replace(/^(config|summary|_wandb)[./]/, '').replace(/\.value$/, '')
}

/** Which column of a table holds each of ours. */
export function findColumns(table: Table, mapping: Readonly<Record<string, string>> = {}): Record<string, string> {
  const plain = new Map(table.columns.map(column => [plainName(column), column]))
  const found: Record<string, string> = {}
  for (const [name, aliases] of Object.entries(ALIASES)) {
    const wanted = mapping[name]
    if (wanted !== undefined && !table.columns.includes(wanted))
      throw new RequestError(`${table.name} has no column '${wanted}', it has ${table.columns.join(', ')}`)
    const column = wanted ?? aliases.map(alias => plain.get(alias)).find(Boolean)
    if (column !== undefined) found[name] = column
  }
  for (const name of ['N', 'D', 'loss'])
    if (!found[name])
      throw new RequestError(
        `${table.name} has no column '${name}', it has ${table.columns.join(', ')} (map one with --columns ${name}=<column>)`,
      )
  return found
}

/** The run of one row; null with a reason where its numbers are none. */
function outcomeOf(row: Row, columns: Record<string, string>, file: string): RunOutcome | string {
  const cell = (name: string) => (columns[name] === undefined ? null : (row[columns[name]] ?? null))
  const number = (name: string) => {
    const value = cell(name)
    return value === null ? null : Number(value)
  }
  const text = (name: string) => {
    const value = cell(name)
    return value === null ? null : String(value)
  }
  for (const name of ['N', 'D', 'loss']) {
    const value = number(name)
    if (value === null || !(value > 0))
      return `${name} is ${cell(name) === null ? 'missing' : `'${cell(name)}'`}, expected a number above 0`
  }
  const config = Object.fromEntries(Object.keys(columns).map(name => [name, cell(name)]))
  const key = keyOf({ imported: config, file })
  const run = text('run')
  return {
    key,
    kind: 'imported',
    cluster: run === null ? key : keyOf({ run, file }),
    config,
    state: 'done',
    n: number('N'),
    nTotal: number('N_total'),
    d: number('D'),
    loss: number('loss'),
    lossStandardError: number('loss_standard_error'),
    pW: number('P_w') ?? 16,
    pA: number('P_a') ?? 16,
    pKv: number('P_kv') ?? 16,
    formatW: text('format_w'),
    formatA: text('format_a'),
    formatKv: text('format_kv'),
    schedule: text('schedule'),
    lrFraction: number('lr_fraction'),
    corpus: text('corpus'),
    family: text('family'),
    seed: Number.isSafeInteger(number('seed')) ? number('seed') : null,
    diverged: false,
  }
}

/** Adds the rows of a file to the ledger of the study in `folder`; the same row again changes nothing. */
export async function importRows(
  folder: string,
  ledger: Ledger,
  study: string,
  name: string,
  bytes: Uint8Array,
  mapping: Readonly<Record<string, string>> = {},
): Promise<{ rows: number; columns: Record<string, string>; leftOut: string[] }> {
  const table = await readRows(name, bytes)
  const columns = findColumns(table, mapping)
  const outcomes: RunOutcome[] = []
  const leftOut: string[] = []
  for (const [i, row] of table.rows.entries()) {
    const outcome = outcomeOf(row, columns, name)
    if (typeof outcome === 'string') leftOut.push(`${table.unit} ${table.lines[i]}: ${outcome}`)
    else outcomes.push(outcome)
  }
  if (!outcomes.length)
    throw new RequestError(`${name} has no row that can be imported: ${leftOut.slice(0, 5).join('; ')}`)
  const key = keyOf({ imported: outcomes.map(outcome => outcome.key) })
  const result: ResultFile = {
    version: 1,
    kind: 'import',
    key,
    seconds: 0,
    outcome: { runs: outcomes, measurements: [] },
  }
  writeWhole(join(folder, 'runs', `import-${shortKey(key)}`, 'result.json'), `${JSON.stringify(result, null, 1)}\n`)
  await ledger.transaction(connection => saveRuns(connection, study, outcomes, 'import'))
  return { rows: outcomes.length, columns, leftOut }
}
