// The main job on a very small study: real training, rounding, scoring and fitting, through the command as users call it.
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readRows } from '../table/index.ts'
import { EXPORT_FORMATS } from './export.ts'
import { takeLock } from './lock.ts'
import type { StudyProfile } from './profile.ts'
import { readStudy, type StudyData } from './read.ts'
import { parseSpec, specJsonSchema } from './spec.ts'
import { runCommand, settled, writeTexts } from './testing.ts'

let root: string
let spec: string
let out: string

const command = (words: string[], options?: Parameters<typeof runCommand>[2]) => runCommand(root, words, options)

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'bitlaw-study-'))
  writeTexts(root)
  spec = join(root, 'small.yaml')
  out = join(root, 'out', 'small')
  writeFileSync(
    spec,
    `name: small
data: { train: texts/train, valid: texts/valid, tokenizer: { kind: bytes } }
models:
  - { family: llama, width: 16, layers: 1, heads: 2, hidden: 32, context: 32, grid: { kvHeads: [1, 2] } }
batch: 512
tokens: [8192, 16384]
precision: { list: [{}, { weights: 4, activations: 8 }] }
optimizer: { lr: 1e-2 }
schedules: [ { kind: wsd, warmup: 0.1, decay: 0.25 } ]
trunks: true
quantize: [ { methods: [rtn, gptq], formats: ["int{3,4}@16"], calibration: { tokens: 1024 } }, { formats: [int4@channel], where: { precision.weights: 16 } } ]
evaluate: { tokens: 2000, kl: true }
fit: { laws: [kumar_unified_train, kumar_delta] }
`,
  )
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const settledRows = ({ runs, measurements }: StudyData) => settled([...runs, ...measurements])

test('a study runs through the command: trained, rounded, scored, fitted; killed on the way, it ends the same', async () => {
  const dry = await command(['study', 'run', spec, '--dry-run', '--json'])
  expect(dry.stderr).toBe('')
  expect(JSON.parse(dry.stdout)).toMatchObject({
    runs: 8,
    quantizations: 36,
    evaluations: 44,
    byKind: { 'llama 16x1': { runs: 8 } },
  })
  const [run, killed] = await Promise.all([
    command(['study', 'run', spec, '--threads', '1', '--json']),
    command(['study', 'run', spec, '--out', 'killed', '--threads', '1'], { kill: 9000 }),
  ])
  expect(run.stderr).toBe('')
  const document = JSON.parse(run.stdout) as {
    rows: Record<string, unknown>[]
    failed: number
    fits: { law: string }[]
  }
  expect(document.failed).toBe(0)
  expect(document.rows.length).toBe(8 + 36)
  expect(document.fits.map(fit => fit.law)).toEqual(['kumar_unified_train', 'kumar_delta'])
  expect(killed.status === null || killed.status === 0).toBe(true)
  expect((await command(['study', 'run', spec, '--out', 'killed', '--threads', '2'])).status).toBe(0)

  const study = await readStudy(out)
  expect(study.runs.every(({ state, loss, isa }) => state === 'done' && loss !== null && isa !== null)).toBe(true)
  for (const row of study.measurements.filter(({ method }) => method !== 'none')) {
    expect(row.klMean).toBeGreaterThan(0)
    expect((row.lossBeforePtq ?? 0) + (row.lossChange ?? 0)).toBeCloseTo(row.loss ?? 0, 6)
  }
  expect(settledRows(study)).toEqual(settledRows(await readStudy(join(root, 'killed'))))
  expect(study.runs.filter(({ key, cluster }) => key === cluster).length).toBe(4)
}, 600_000)

test('a run of a trunk is the run that it would be alone', async () => {
  const study = await readStudy(out)
  const short = study.runs.find(({ key, cluster, pW }) => key !== cluster && pW === 16)
  const config = join(root, 'alone.json')
  writeFileSync(config, JSON.stringify(short?.config))
  const alone = await command(['train', config, '--out', 'alone', '--threads', '1', '--json'])
  expect(alone.stderr).toBe('')
  expect((JSON.parse(alone.stdout) as { loss: number }).loss).toBe(short?.loss)
})

test('again, nothing is left to do; status says so; with one more format only that is done', async () => {
  const before = await readStudy(out)
  expect((await command(['study', 'run', spec])).status).toBe(0)
  const status = JSON.parse((await command(['study', 'status', spec, '--json'])).stdout) as {
    runs: object
    secondsLeft: number
  }
  expect(status).toMatchObject({ runs: { done: 8, running: 0, failed: 0, waiting: 0 }, secondsLeft: 0 })
  const more = join(root, 'more.yaml')
  writeFileSync(more, readFileSync(spec, 'utf8').replace('int4@channel', 'int4@channel, int8@32'))
  expect((await command(['study', 'run', more])).status).toBe(0)
  const after = await readStudy(out)
  expect(after.measurements.length).toBe(before.measurements.length + 4)
  expect(after.runs).toEqual(before.runs)
}, 600_000)

test('a random sample is run before the whole, and what was predicted stands beside what it took', async () => {
  const words = ['study', 'run', spec, '--out', 'sampled', '--threads', '2', '--sample']
  const sampled = await command([...words, '40%', '--seed', '3', '--json'])
  expect(sampled.stderr).toBe('')
  const part = (await readStudy(join(root, 'sampled'))).runs
  expect(part.length).toBeGreaterThan(0)
  expect(part.length).toBeLessThan(8)
  const profile = async () =>
    JSON.parse((await command(['study', 'profile', join(root, 'sampled'), '--json'])).stdout) as StudyProfile
  const before = await profile()
  expect(before).toMatchObject({ sample: { share: 0.4, seed: 3 }, finished: part.length, planned: part.length })
  for (const kind of ['training', 'quantizing', 'evaluating'] as const) {
    const { predicted, measured, clock } = before.work[kind]
    expect(Math.min(predicted, measured, clock)).toBeGreaterThan(0)
    const sum = before.runs.reduce((all, run) => all + run.work[kind].predicted, 0)
    expect(sum).toBeCloseTo(predicted, 9)
  }
  expect(before.whole.predicted).toBeGreaterThan(before.total.predicted / before.processes)
  expect((await command(['study', 'run', spec, '--out', 'sampled'])).status).toBe(0)
  const whole = await readStudy(join(root, 'sampled'))
  expect(settledRows(whole)).toEqual(settledRows(await readStudy(join(root, 'killed'))))
  for (const run of part) expect(whole.runs).toContainEqual(run)
  expect(await profile()).toMatchObject({ sample: null, finished: 8 })
  const wrong = await command([...words, '2'])
  expect([wrong.status, wrong.stderr]).toEqual([
    2,
    "bitlaw: --sample '2' is not a share above 0, at most 1, like 0.05\n",
  ])
}, 600_000)

test('exports are tables with every column described, in three formats', async () => {
  const scored = (await readStudy(out)).measurements.filter(({ method }) => method !== 'none').length
  for (const format of EXPORT_FORMATS) {
    const { stdout, status } = await command([
      'study',
      'export',
      out,
      '--format',
      format,
      '--out',
      `export-${format}`,
      '--json',
    ])
    expect(status).toBe(0)
    const [rows, runs, measurements] = await Promise.all(
      (JSON.parse(stdout) as { files: string[] }).files
        .slice(0, 3)
        .map(file => readRows(file, readFileSync(join(root, file)))),
    )
    expect([rows.rows.length, runs.rows.length, measurements.rows.length]).toEqual([8 + scored, 8, 8 + scored])
    expect(rows.rows[0]['P_w']).toBe(16)
    const dictionary = readFileSync(join(root, `export-${format}`, 'dictionary.csv'), 'utf8')
    for (const column of runs.columns) expect(dictionary).toContain(`runs,${column.split('.')[0]},`)
    for (const column of measurements.columns) expect(dictionary).toContain(`measurements,${column.split('.')[0]},`)
  }
})

test('rows that were measured elsewhere take part, whatever their columns are called', async () => {
  const file = join(root, 'wandb.csv')
  writeFileSync(file, 'Name,config.n_params,config.tokens,summary.val_loss\na,1e6,2e7,3.5\nb,2e6,2e7,3.25\nc,,2e7,3\n')
  const { stdout, status } = await command(['study', 'import', out, file, '--json'])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    imported: [
      {
        rows: 2,
        columns: { N: 'config.n_params', loss: 'summary.val_loss' },
        leftOut: ['line 4: N is missing, expected a number above 0'],
      },
    ],
  })
  await command(['study', 'import', out, file])
  const imported = (await readStudy(out)).runs.filter(({ kind }) => kind === 'imported')
  expect(imported.map(({ n, d, loss }) => [n, d, loss]).sort()).toEqual([
    [1e6, 2e7, 3.5],
    [2e6, 2e7, 3.25],
  ])
  const bad = await command(['study', 'import', out, file, '--columns', 'N=nothing'])
  expect(bad.status).toBe(2)
  expect(bad.stderr).toBe(
    "bitlaw: wandb.csv has no column 'nothing', it has Name, config.n_params, config.tokens, summary.val_loss\n",
  )
})

test('a ledger that is lost is rebuilt from the runs’ folders, with the rows that were measured elsewhere', async () => {
  const copy = join(root, 'copy')
  cpSync(join(root, 'killed'), copy, { recursive: true })
  const file = join(root, 'elsewhere.csv')
  writeFileSync(file, 'run,N,D,loss\na,1e6,2e7,3.5\nb,2e6,2e7,3.25\n')
  expect((await command(['study', 'import', copy, file])).status).toBe(0)
  const before = await readStudy(copy)
  rmSync(join(copy, 'ledger'), { recursive: true })
  const { stdout, status } = await command(['study', 'repair', copy, '--json'])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ runs: 10, measurements: 44, broken: [], before: null })
  const after = await readStudy(copy)
  expect(settledRows(after)).toEqual(settledRows(before))
  const sums = ({ planned }: StudyData) => [planned?.runs, planned?.measurements, planned?.jobs]
  expect(sums(after)).toEqual(sums(before))
})

test('a second owner is refused with a sentence, and a wrong specification with its line', async () => {
  const lock = takeLock(out)
  const second = await command(['study', 'run', spec])
  lock.release()
  expect(second.status).toBe(2)
  expect(second.stderr).toContain(`bitlaw: the study in '${out}' is in use by process ${process.pid}`)
  const wrong = join(root, 'wrong.yaml')
  writeFileSync(wrong, readFileSync(spec, 'utf8').replace('schedules: [ { kind: wsd', 'schedules: [ { kind: wsdd'))
  const refused = await command(['study', 'run', wrong])
  expect(refused.status).toBe(2)
  expect(refused.stderr).toBe(
    `bitlaw: ${wrong}:9: schedules[0].kind is 'wsdd', expected one of cosine, linear, wsd, constant (did you mean wsd?)\n`,
  )
  const absent = join(root, 'absent.yaml')
  writeFileSync(
    absent,
    readFileSync(spec, 'utf8').replace('texts/train', 'nowhere').replace('name: small', 'name: absent'),
  )
  const missing = await command(['study', 'run', absent])
  expect(missing.status).toBe(2)
  expect(missing.stderr).toContain('nowhere')
})

test('someone else’s trainer gets the configuration and its results are runs; one that fails is a result with a reason', async () => {
  const script = join(root, 'trainer.mjs')
  writeFileSync(
    script,
    `import { readFileSync, writeFileSync } from 'node:fs'
const [config, out] = process.argv.slice(2)
const { tokens, seed, model } = JSON.parse(readFileSync(config, 'utf8'))
if (seed === 1 && !process.env.DEVICE) { console.error('no such device'); process.exit(3) }
const n = process.env.MANY ? 'many' : 1234
writeFileSync(out + '/result.json', JSON.stringify({ loss: 2 + 1 / model.layers, d: tokens, n }))`,
  )
  const file = join(root, 'external.yaml')
  const text = readFileSync(spec, 'utf8')
    .replace('name: small', 'name: external')
    .replace('trunks: true', 'seeds: [0, 1]')
    .replace(/fit:.*\n/, '')
    .replace(/precision: \{ list.*\n/, '')
  writeFileSync(file, `${text}trainer: { command: "node ${script} {config} {out}" }\n`)
  const { status, stdout } = await command(['study', 'run', file, '--json'])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ runs: 8, failed: 4 })
  const { runs } = await readStudy(join(root, 'out', 'external'))
  expect(runs.filter(({ state }) => state === 'done').map(({ n, loss, d }) => [n, loss, (d ?? 0) % 8192])).toEqual(
    Array(4).fill([1234, 3, 0]),
  )
  expect(new Set(runs.filter(({ state }) => state === 'failed').map(({ reason }) => reason))).toEqual(
    new Set(['the trainer ended with status 3: no such device']),
  )
  const again = await command(['study', 'run', file, '--retry-failed', '--json'], { env: { DEVICE: '1' } })
  expect(JSON.parse(again.stdout)).toMatchObject({ runs: 8, failed: 0 })
  const env = { DEVICE: '1', MANY: '1' }
  const odd = await command(['study', 'run', file, '--out', 'odd', '--json'], { env })
  expect(JSON.parse(odd.stdout)).toMatchObject({ runs: 8, failed: 8 })
  expect((await readStudy(join(root, 'odd'))).runs[0].reason).toBe(
    `the trainer's result.json has 'n' "many", expected a number`,
  )
})

test('the published JSON Schema is that of the reader, and the studies here fit it', () => {
  const published = JSON.parse(readFileSync('studies/study.schema.json', 'utf8')) as object
  expect(published).toEqual(JSON.parse(JSON.stringify(specJsonSchema())))
  const check = new Ajv2020({ strict: false }).compile(published)
  for (const name of readdirSync('studies').filter(file => file.endsWith('.yaml'))) {
    const text = readFileSync(join('studies', name), 'utf8')
    if (!text.includes('study.schema.json')) continue
    expect([name, check(parse(text)), check.errors]).toEqual([name, true, null])
    expect(parseSpec(text, name).name).not.toBe('')
  }
  expect(check({ name: 'x', wrong: 1 })).toBe(false)
  expect(existsSync('deploy/slurm.sh')).toBe(true)
})
