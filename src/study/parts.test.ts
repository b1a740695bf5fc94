// The parts of a specification that the main job's test leaves out, each once, end to end: models that exist already,
// zero-shot tasks, every PTQ method, zips, exclusions and a budget, tables of other formats.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { readStudy } from './read.ts'
import { runCommand, writeTexts } from './testing.ts'

let root: string
const command = (words: string[], options?: Parameters<typeof runCommand>[2]) => runCommand(root, words, options)
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'bitlaw-parts-'))
  writeTexts(root, { sentence: 45 })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const write = (name: string, text: string) => {
  writeFileSync(join(root, name), text)
  return name
}

const base = (name: string) => `name: ${name}
data: { train: texts/train, valid: texts/valid, tokenizer: { kind: bytes } }
batch: 512
tokens: [8192]
`

test('zips, exclusions, tasks and all methods: what is asked for is trained, quantized and scored', async () => {
  const spec = write(
    'methods.yaml',
    `${base('methods')}models:
  - { family: llama, layers: 1, heads: 2, context: 32, zip: { width: [16, 32], hidden: [32, 64] } }
precision: { list: [ {}, { weights: 4 }, { kv: 4 } ] }
exclude: [ { model.width: 32, precision.weights: 4 }, { precision.kv: { lt: 16 } } ]
quantize:
  - { methods: [gptq, awq], formats: [int4@16], calibration: { tokens: 1024 }, actOrder: true, where: { precision.weights: 16 } }
  - { methods: [rtn], formats: [nf4@16, "int{3,8}@channel"] }
evaluate: { tokens: 1000, tasks: [last_word] }
`,
  )
  const { status, stdout, stderr } = await command(['study', 'run', spec, '--json'])
  expect([status, stderr]).toEqual([0, ''])
  expect(JSON.parse(stdout)).toMatchObject({ runs: 3, measurements: 3 + 3 * 3 + 2 * 2, failed: 0 })
  const { runs, measurements } = await readStudy(join(root, 'out', 'methods'))
  const sizes = runs.map(({ config }) => (config as { model: { width: number; hidden: number } }).model)
  expect(sizes.map(({ width, hidden }) => `${width}/${hidden}`).sort()).toEqual(['16/32', '16/32', '32/64'])
  for (const row of measurements) {
    const { last_word: task } = row.tasks as { last_word: { acc: number; examples: number } }
    expect(task.examples).toBeGreaterThan(10)
    expect(task.acc >= 0 && task.acc <= 1).toBe(true)
    // Without KL the change of the loss is there all the same.
    if (row.method === 'none') continue
    expect(row.klMean).toBeNull()
    expect(row.lossChangeLow).toBeLessThanOrEqual(row.lossChange ?? Number.NaN)
    expect(row.lossChangeHigh).toBeGreaterThanOrEqual(row.lossChange ?? Number.NaN)
  }
  const methods = measurements.filter(({ method }) => method === 'gptq' || method === 'awq')
  expect(methods.every(({ format, pPost }) => format === 'int4@16' && pPost === 4)).toBe(true)
})

test('a model that exists is scored and quantized beside those that are trained; its size is read from its files', async () => {
  const model = shared('models', 'tinystories-656k')
  if (!model) return
  const spec = write(
    'brought.yaml',
    `${base('brought')}models: [ { family: llama, width: 16, layers: 1, heads: 2, hidden: 32, context: 32 } ]
checkpoints: [ { model: "${model}", d: 300e6, corpus: stories } ]
quantize: { methods: [rtn, gptq], formats: [int4@16], calibration: { tokens: 2048 } }
evaluate: { tokens: 600, kl: true }
`,
  )
  const dry = JSON.parse((await command(['study', 'run', spec, '--dry-run', '--json'])).stdout) as object
  expect(dry).toMatchObject({ runs: 2, quantizations: 4, evaluations: 6, byKind: { checkpoint: { runs: 1 } } })
  const { status, stderr } = await command(['study', 'run', spec, '--json'])
  expect([status, stderr]).toEqual([0, ''])
  const { runs, measurements } = await readStudy(join(root, 'out', 'brought'))
  const brought = runs.find(({ kind }) => kind === 'checkpoint')
  expect(brought).toMatchObject({ state: 'done', d: 300e6, corpus: 'stories', family: 'llama' })
  expect(brought?.n).toBeGreaterThan(300e3)
  const rows = measurements.filter(({ run }) => run === brought?.key)
  expect(rows.map(({ method, state }) => `${method} ${state}`).sort()).toEqual(['gptq done', 'none done', 'rtn done'])
  for (const row of rows.filter(({ method }) => method !== 'none')) expect(row.klMean).toBeGreaterThan(0)
  const absent = write('absent.yaml', readFileSync(join(root, spec), 'utf8').replace(model, 'no/such/folder'))
  const missing = await command(['study', 'run', absent, '--out', 'absent', '--json'])
  expect(JSON.parse(missing.stdout)).toMatchObject({ runs: 2, failed: 4 })
  const { runs: tried } = await readStudy(join(root, 'absent'))
  expect(tried.find(({ kind }) => kind === 'checkpoint')).toMatchObject({ state: 'failed' })
  expect(tried.find(({ kind }) => kind === 'checkpoint')?.reason).toContain('no/such/folder')
})

test('a budget leaves out runs, never all of one setting, and says how many', async () => {
  const spec = write(
    'budget.yaml',
    `${base('budget').replace('[8192]', '[8192, 16384, 32768]')}models: [ { family: llama, width: 16, layers: 1, heads: 2, context: 32 } ]
precision: { sweeps: { weights: [16, 8, 4], kv: [8, 4] } }
seeds: [0, 1]
`,
  )
  const dry = async (...words: string[]) =>
    JSON.parse((await command(['study', 'run', spec, '--dry-run', '--json', ...words])).stdout) as {
      runs: number
      leftOut: number
      seconds: number
    }
  const all = await dry()
  expect(all).toMatchObject({ runs: 30, leftOut: 0 })
  const less = await dry('--budget', `${(0.5 * all.seconds).toFixed(3)}s`)
  expect(less.seconds).toBeLessThanOrEqual(0.5 * all.seconds)
  expect(less.runs).toBeGreaterThan(5)
  expect(less.runs + less.leftOut).toBe(30)
  const wrong = await command(['study', 'run', spec, '--budget', 'soon'])
  expect(wrong.status).toBe(2)
  expect(wrong.stderr).toContain('soon')
})

test('tables of runs come in as JSON lines and Parquet too', async () => {
  const spec = write(
    'tables.yaml',
    `${base('tables')}models: [ { family: llama, width: 16, layers: 1, heads: 2, context: 32 } ]\n`,
  )
  const lines = [
    { run_id: 'a', params: 1e6, tokens: 2e7, val_loss: 3.5, weight_bits: 4 },
    { run_id: 'b', params: 2e6, tokens: 2e7, val_loss: 3.25 },
  ]
  write('runs.jsonl', lines.map(line => `${JSON.stringify(line)}\n`).join(''))
  const columnData = [
    { name: 'N', data: [3e6, 4e6], type: 'DOUBLE' as const },
    { name: 'D', data: [5e7, 5e7], type: 'DOUBLE' as const },
    { name: 'loss', data: [3.1, 3.05], type: 'DOUBLE' as const },
    { name: 'P_post', data: [4, 3], type: 'DOUBLE' as const },
    { name: 'loss_before_ptq', data: [3, 2.9], type: 'DOUBLE' as const },
  ]
  writeFileSync(join(root, 'runs.parquet'), new Uint8Array(parquetWriteBuffer({ columnData })))
  const { status, stdout } = await command(['study', 'import', spec, 'runs.jsonl', 'runs.parquet', '--json'])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ imported: [{ rows: 2 }, { rows: 2, columns: { P_post: 'P_post' } }] })
  const { runs } = await readStudy(join(root, 'out', 'tables'))
  expect(runs.map(({ n, loss, pW }) => [n, loss, pW]).sort()).toEqual([
    [1e6, 3.5, 4],
    [2e6, 3.25, 16],
    [3e6, 3.1, 16],
    [4e6, 3.05, 16],
  ])
  const wrong = await command(['study', 'import', spec, 'none.csv'])
  expect([wrong.status, wrong.stderr]).toEqual([2, "bitlaw: no table at 'none.csv', expected a file\n"])
})
