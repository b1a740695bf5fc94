import { expect, test } from 'vitest'
import { expandBraces, gridPoints, zipPoints } from './axes.ts'
import { countQuantizations, expandRuns, itemsOf, plannedColumns } from './expand.ts'
import { parseSpec } from './spec.ts'

const data = 'data: { train: a/train, valid: a/valid, tokenizer: { kind: bytes } }'
const model = '{ family: llama, width: 64, layers: 2, heads: 4, hidden: 192, context: 128 }'
const spec = (rest: string) => parseSpec(`name: x\n${data}\nmodels: [ ${model} ]\ntokens: [1e6]\n${rest}`)

test('precision is the union of grid, sweeps and list, duplicates once', () => {
  const runs = expandRuns(
    spec(`precision:
  grid: { weights: [16, 8, 6, 4, 3] }
  sweeps: { activations: [8, 6, 4], kv: [8, 5, 4, 3] }
  list: [ { weights: 8, activations: 8, kv: 8 }, { weights: "int4@channel/exact" }, {} ]`),
  )
  expect(runs.length).toBe(13)
  expect(new Set(runs.map(run => run.key)).size).toBe(13)
  const [, eight] = runs.map(plannedColumns)
  expect([eight.pW, eight.pA, eight.pKv, eight.formatW]).toEqual([8, 16, 16, null])
})

test('grids, zips, tokens a parameter, exclusions and corpora multiply as they should', () => {
  const text = `name: x
data:
  - { name: clean, train: a, valid: v }
  - { name: noisy, train: b, valid: v }
models:
  - { family: llama, layers: 2, heads: 4, context: 64, zip: { width: [32, 64], hidden: [96, 192] }, grid: { qkNorm: [false, true] } }
tokens: [100e3]
tokensPerParameter: [20]
seeds: [0, 1]
precision: { grid: { weights: [16, 4], activations: [16, 4] } }
exclude: [ { precision.weights: 4, precision.activations: { lt: 16 } }, { corpus: noisy, seed: { gte: 1 } } ]`
  const runs = expandRuns(parseSpec(text))
  expect(runs.length).toBe(4 * 2 * 3 * (2 + 1)) // models, tokens, precisions, seeds of both corpora
  const widths = new Set(runs.map(run => `${run.point?.model.width}/${run.point?.model.hidden}`))
  expect([...widths]).toEqual(['32/96', '64/192'])
  const n = runs[0].point?.n ?? 0
  expect(runs.some(run => run.d === Math.round((20 * n) / 8192) * 8192)).toBe(true)
})

test('a trunk serves several token counts of wsd and constant schedules; each run stays what it would be alone', () => {
  const runs = expandRuns(
    parseSpec(`name: x\n${data}\nmodels: [ ${model} ]\ntokens: [1e6, 4e6, 16e6]\ntrunks: true
schedules: [ { kind: wsd, warmup: 0.05, decay: 0.2 }, cosine, { kind: constant, warmup: 0.1 } ]`),
  )
  const cluster = (kind: string) =>
    new Set(runs.filter(run => (run.config['schedule'] as { kind: string }).kind === kind).map(run => run.cluster)).size
  expect(runs.length).toBe(9)
  expect(cluster('wsd')).toBe(1)
  expect(cluster('cosine')).toBe(3)
  expect(cluster('constant')).toBe(2) // 1.6M tokens of warm-up do not fit into 1M
  expect(runs[0].config['schedule']).toEqual({ kind: 'wsd', warmup: 0.8, decay: 0.2, final: 0.1 })
})

test('what is scored has a key of its run, method, format, options and text', () => {
  const one = spec('quantize: { methods: [rtn, gptq], formats: ["int{3,4}@64", int8, q4_k], blocks: [32, channel] }')
  const [run] = expandRuns(one)
  const { items } = itemsOf(one, run)
  expect(items.map(item => `${item.method} ${item.format}`).slice(0, 6)).toEqual([
    'none null',
    'rtn int3@64',
    'rtn int4@64',
    'rtn int8@32',
    'rtn int8@channel',
    'rtn q4_k',
  ])
  expect(items.length).toBe(1 + countQuantizations(one, run))
  const other = spec('quantize: { formats: ["int3@64"] }\nevaluate: { tokens: 50e3 }')
  const [shorter] = expandRuns(other)
  expect(shorter.key).not.toBe(run.key)
  const where = spec('quantize: { formats: ["int3@64"], where: { precision.weights: 4 } }')
  expect(countQuantizations(where, run)).toBe(0)
})

test('checkpoints that exist take part without being trained', () => {
  const runs = expandRuns(parseSpec(`name: x\n${data}\ncheckpoints: [ owner/name@main, { model: folder, d: 300B } ]`))
  expect(runs.map(run => [run.kind, run.d])).toEqual([
    ['checkpoint', null],
    ['checkpoint', 300e9],
  ])
})

test('braces, grids and zips', () => {
  expect(expandBraces('int{3,4}@{32,64}+x')).toEqual(['int3@32+x', 'int3@64+x', 'int4@32+x', 'int4@64+x'])
  expect(expandBraces('int{3..5}@64')).toEqual(['int3@64', 'int4@64', 'int5@64'])
  expect(gridPoints({ a: [1, 2], b: [3] })).toEqual([
    { a: 1, b: 3 },
    { a: 2, b: 3 },
  ])
  expect(zipPoints({ a: [1, 2], b: [3, 4] })).toEqual([
    { a: 1, b: 3 },
    { a: 2, b: 4 },
  ])
})

test('an error names the line, the key, the value and what was expected', () => {
  const wrong: [string, string][] = [
    ['name: x\nmodel: []', `s.yaml:2: unknown key 'model' (did you mean models?)`],
    [
      `name: x\n${data}\nmodels:\n  - { family: llama, wdth: 64 }`,
      `s.yaml:4: unknown key 'models[0].wdth' (did you mean width?)`,
    ],
    [
      `name: x\n${data}\ntokens: [1e6, many]`,
      `s.yaml:3: tokens[1] is 'many', expected a number of tokens like 20e6 or 20M`,
    ],
    [`name: x\n${data}\nmodels: [ ${model} ]`, 's.yaml:1: tokens is missing, expected a list of tokens like [1e6, 4M]'],
    ['name: x\ndata: {', 's.yaml:2: '],
    [
      `name: x\n${data}\nmodels: [ ${model} ]\ntokens: [1e6]\nbudget:\n  hours: -1`,
      's.yaml:6: budget.hours is -1, expected hours like 6, or a time like 45m',
    ],
  ]
  const all = `name: x\n${data}\nmodels:\n  - ${model}\ntokens: [1e6]\n`
  wrong.push(
    [
      all.replace('heads: 4', 'heads: 5'),
      `s.yaml:4: models[0].heads '5' does not divide model.width '64', expected it to, or a model.headSize`,
    ],
    [all.replace('width: 64, ', ''), 's.yaml:4: models[0]: width is missing, expected a whole number from 1'],
    [
      all.replace('[1e6]', '[1e6, 100]'),
      `s.yaml:5: tokens[1] is 100, less than one step, expected at least batch '8192'`,
    ],
    [
      `${all}batch: 1000`,
      `s.yaml:4: models[0]: batch '1000' is not a multiple of context '128', expected whole sequences a step`,
    ],
    [
      `${all}exclude:\n  - { seed: 1 }\n  - { precision.activation: 4 }`,
      `s.yaml:8: exclude[1] names 'precision.activation', which no run has, expected a field like n, corpus, tokens, seed, model.width or precision.weights (did you mean precision.activations?)`,
    ],
    [`${all}quantize: { formats: [int4@64], where: { n: 4 } }`, `s.yaml:6: quantize.where names 'n', which no run has`],
    [`${all}quantize: { formats: [int99] }`, 's.yaml:6: quantize.formats[0] is '],
    [`${all}evaluate: { tasks: [lastword] }`, `s.yaml:6: evaluate.tasks[0] is 'lastword', expected one of `],
    [`${all}evaluate: { tasks: [piqa] }`, `s.yaml:6: evaluate.tasks[0] is 'piqa', which needs its set`],
    [
      all.replace('kind: bytes', 'kind: byte'),
      "s.yaml:2: data.tokenizer.kind is 'byte', expected one of bytes, bpe (did you mean bytes?)",
    ],
    [
      all.replace('kind: bytes', 'kind: bpe, vocab: 10'),
      's.yaml:2: data.tokenizer.vocab is 10, expected a whole number from 257',
    ],
  )
  for (const [text, message] of wrong) expect(() => parseSpec(text, 's.yaml')).toThrow(message)
})

test('100,000 runs expand in seconds', () => {
  const many = parseSpec(`name: x\n${data}
models: [ { family: llama, layers: 2, heads: 4, context: 64, grid: { width: [32, 64, 96, 128, 160, 192, 224, 256, 288, 320] } } ]
tokens: [1e5, 2e5, 3e5, 4e5, 5e5, 6e5, 7e5, 8e5, 9e5, 1e6]
precision: { grid: { weights: [16, 8, 6, 4, 3], activations: [16, 8, 6, 4, 3], kv: [16, 8, 5, 4] } }
seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]`)
  const runs = expandRuns(many)
  expect(runs.length).toBe(100_000)
  expect(new Set(runs.map(run => run.key)).size).toBe(100_000)
})
