import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadModel } from '../model/load.ts'
import type { Floats, Kernels } from '../tensor/kernels.ts'
import { createReference } from '../tensor/reference.ts'
import { parseRunConfig, type RunConfig, type RunConfigInput } from './config.ts'
import { readResult } from './result.ts'
import { TrainingInterrupted, type TrainOptions, train } from './trainer.ts'

const root = mkdtempSync(join(tmpdir(), 'bitlaw-train-'))
afterAll(() => rmSync(root, { recursive: true }))
mkdirSync(join(root, 'text'))
for (let i = 0; i < 12; i++)
  writeFileSync(
    join(root, 'text', `${i}.txt`),
    `Text ${i}: the cat sat on the mat, and the dog sat on the log. `.repeat(8),
  )

function configure(changes: Partial<RunConfigInput> = {}): RunConfig {
  return parseRunConfig({
    data: { train: join(root, 'text'), valid: { share: 0.2 }, tokenizer: { kind: 'bytes' } },
    model: { family: 'llama', width: 16, layers: 1, heads: 2, hidden: 16, context: 16 },
    precision: { weights: 4, activations: 8, kv: 8 },
    optimizer: { lr: 1e-2 },
    batch: 64,
    tokens: 64 * 40,
    evaluate: { every: 64 * 10, tokens: 160 },
    save: { every: 64 * 7 },
    ...changes,
  })
}

let runs = 0
function start(run: RunConfig, options: Partial<TrainOptions> = {}) {
  const out = options.out ?? join(root, `run-${runs++}`)
  const kernels = createReference({ float: 'float32' })
  return { out, result: train(run, { out, cache: join(root, 'cache'), kernels, ...options }) }
}

/** Files of a folder and what they hold. */
function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map(name => [name, readFileSync(join(folder, name), 'base64')]),
  )
}

const lines = (out: string) =>
  readFileSync(join(out, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))

test('a run learns, writes a log, checkpoints and a result', async () => {
  const reports: number[] = []
  const { out, result } = start(configure({ name: 'first', checkpoints: [64 * 20, 64 * 40] }), {
    onStep: ({ step }) => reports.push(step),
  })
  const found = await result
  expect(readResult(out)).toEqual(found)
  expect(found).toMatchObject({
    run: 'first',
    d: 2560,
    family: 'llama',
    corpus: 'text',
    vocab: 257,
    diverged: false,
    verdict: null,
    threads: 1,
    isa: 'typescript',
    precision: { weights: 4, activations: 8, kv: 8, gradients: 16 },
    n: 4 * 256 + 3 * 256 + 2 * 16 + 16,
    nTotal: 2 * 257 * 16 + 4 * 256 + 3 * 256 + 3 * 16,
  })
  expect(found.epochs).toBeCloseTo(2560 / found.uniqueTokens, 12)
  expect(found.loss).toBeLessThan(4)
  expect(found.trainLoss).toBeLessThan(4)
  expect(found.lossStandardError).toBeGreaterThan(0)
  const log = lines(out)
  expect(log.map(line => line.step)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1))
  expect(reports).toEqual(log.map(line => line.step))
  expect(log[0].loss).toBeGreaterThan(5)
  for (const line of log)
    expect(Object.keys(line)).toEqual(
      expect.arrayContaining(['step', 'tokens', 'loss', 'lr', 'gradNorm', 'tokensPerSecond']),
    )
  expect(log.filter(line => line.validLoss !== undefined).map(line => line.step)).toEqual([10, 20, 30])
  expect(readdirSync(out).sort()).toEqual([
    'log.jsonl',
    'result.json',
    'step-0000020',
    'step-0000040',
    'validation.json',
  ])
  expect(found.checkpoints.map(({ d, lrFraction }) => [d, lrFraction > 0.1])).toEqual([
    [1280, true],
    [2560, false],
  ])
  expect(found.checkpoint).toBe(join(out, 'step-0000040'))
  const loaded = await loadModel(found.checkpoint)
  expect(loaded.d).toBe(2560)
  expect(loaded.precision).toMatchObject({
    weights: 'int4@channel/exact',
    activations: 'int8@tensor/exact',
    kv: 'int8@tensor/exact',
  })
  expect(loaded.bitlaw).toMatchObject({ run: 'first', isa: 'typescript', lrFraction: expect.closeTo(0.1, 12) })
  expect(loaded.tokenizer?.vocab).toBe(257)
  const windows = JSON.parse(readFileSync(join(out, 'validation.json'), 'utf8')).losses as number[]
  expect(windows.reduce((a, b) => a + b, 0) / windows.length).toBeCloseTo(found.loss!, 12)
})

const BY_CHANCE = { weights: 'int4@channel/exact+sr', activations: 'int8@tensor/exact+sr', kv: 'int6@tensor/exact+sr' }
test.each([
  ['rounded to nearest', {}],
  ['rounded by chance', { precision: BY_CHANCE }],
])('stopped at any step and resumed: the bytes of a run that was never stopped, %s', async (_, changes) => {
  const run = configure({ average: { last: 0.3 }, checkpoints: [64 * 20], ...changes })
  const whole = start(run)
  const expected = await whole.result
  for (const stops of [
    [1, 7, 8],
    [20, 35, 39],
  ]) {
    const out = join(root, `run-${runs++}`)
    for (const stop of stops) {
      const controller = new AbortController()
      const onStep = ({ step }: { step: number }) => step === stop && controller.abort()
      await expect(start(run, { out, resume: true, signal: controller.signal, onStep }).result).rejects.toThrow(
        TrainingInterrupted,
      )
      expect(existsSync(join(out, `step-${String(stop).padStart(7, '0')}`))).toBe(true)
    }
    const found = await start(run, { out, resume: true }).result
    expect(contents(found.checkpoint)).toEqual(contents(expected.checkpoint))
    expect(contents(join(out, 'step-0000020'))).toMatchObject({
      'model.safetensors': contents(join(whole.out, 'step-0000020'))['model.safetensors'],
    })
    const { seconds: _, tokensPerSecond: __, checkpoint: ___, checkpoints: ____, ...rest } = found
    expect(expected).toMatchObject(rest)
    const bare = (out: string) => lines(out).map(({ seconds: _, tokensPerSecond: __, ...line }) => line)
    expect(bare(out)).toEqual(bare(whole.out))
  }
})

test('killed between saved states: what came after the last one is computed again', async () => {
  const run = configure()
  const whole = await start(run).result
  // A folder as kill -9 leaves it: a state at step 14, log lines up to 17 and half of another, a half-written checkpoint.
  const out = join(root, `run-${runs++}`)
  const controller = new AbortController()
  const stopped = start(run, {
    out,
    signal: controller.signal,
    onStep: ({ step }) => step === 14 && controller.abort(),
  })
  await expect(stopped.result).rejects.toThrow(/stopped after 896 tokens, saved in .*step-0000014/)
  const text = readFileSync(join(out, 'log.jsonl'), 'utf8')
  const last = JSON.parse(text.trim().split('\n').at(-1)!)
  writeFileSync(join(out, 'log.jsonl'), `${text}${JSON.stringify({ ...last, step: 15, loss: 0 })}\n{"step":16,"lo`)
  mkdirSync(join(out, '.partial-step-0000021'))
  const found = await start(run, { out, resume: true }).result
  expect(contents(found.checkpoint)).toEqual(contents(whole.checkpoint))
  expect(lines(out)).toHaveLength(40)
  expect(readdirSync(out).filter(name => name.startsWith('.'))).toEqual([])
  // A finished run resumed is its result; without --resume a folder with a run is refused, as is another configuration.
  expect(await start(run, { out, resume: true }).result).toEqual(found)
  await expect(start(run, { out }).result).rejects.toThrow(/holds a run already/)
  await expect(start({ ...run, seed: 1 }, { out, resume: true }).result).rejects.toThrow(
    /holds another run: its (seed|data) is/,
  )
})

test('another instruction path resumes only when asked to, and the result says so', async () => {
  const run = configure()
  const controller = new AbortController()
  const { out, result } = start(run, {
    signal: controller.signal,
    onStep: ({ step }) => step === 5 && controller.abort(),
  })
  await expect(result).rejects.toThrow(TrainingInterrupted)
  const kernels: Kernels = { ...createReference({ float: 'float32' }), isa: 'other' }
  await expect(start(run, { out, resume: true, kernels }).result).rejects.toThrow(
    /computed on typescript .* not other .*--allow-other-isa/,
  )
  const found = await start(run, { out, resume: true, kernels, allowOtherIsa: true }).result
  expect(found.isa).toBe('typescript+other')
  expect(found.warnings).toEqual(['the run was resumed on another instruction path or build'])
  expect((await loadModel(found.checkpoint)).bitlaw).toMatchObject({ isa: 'typescript+other' })
})

test('divergence is a result', async () => {
  const sound = createReference({ float: 'float32' })
  /** Kernels whose twelfth step spoils the last weights it updates, the head's. */
  const spoiled = (spoil: (weight: Floats) => void): Kernels => ({
    ...sound,
    adamw(weight, gradient, m, v, options) {
      sound.adamw(weight, gradient, m, v, options)
      if (options.step === 12 && weight.length === 257 * 16) spoil(weight)
    },
  })
  const { out, result } = start(configure(), { kernels: spoiled(weight => weight.fill(Number.NaN)) })
  const found = await result
  expect(found).toMatchObject({
    diverged: true,
    verdict: 'loss is not a number',
    loss: null,
    trainLoss: null,
    d: 64 * 13,
  })
  expect(readResult(out)).toEqual(found)
  expect(lines(out).at(-1)).toMatchObject({ step: 13, loss: null })
  expect(await start(configure(), { out, resume: true }).result).toEqual(found)
  const slow = configure({ optimizer: { lr: 1e-5 }, tokens: 64 * 100 })
  const kernels = spoiled(weight => weight.set(weight.map((_, i) => 5 * Math.sin(i * i))))
  expect(await start(slow, { kernels }).result).toMatchObject({
    diverged: true,
    verdict: 'loss stayed above its start',
    d: 64 * (12 + 50),
  })
})

test('the averaged weights are the mean of the last steps’', async () => {
  const run = configure({
    tokens: 64 * 4,
    average: { last: 0.5 },
    checkpoints: [64 * 3],
    schedule: { kind: 'constant' },
  })
  const averaged = await start(run).result
  const plain = await start({ ...run, average: undefined }).result
  const [mean, third, fourth] = await Promise.all(
    [averaged.checkpoint, averaged.checkpoints[0].folder, plain.checkpoint].map(folder => loadModel(folder)),
  )
  for (const [name, weights] of mean.parameters)
    for (let i = 0; i < weights.length; i++)
      expect(weights[i]).toBeCloseTo((third.parameters.get(name)![i] + fourth.parameters.get(name)![i]) / 2, 6)
  expect(averaged.lossBeforeAverage).toBe(plain.loss)
  expect(averaged.loss).not.toBe(plain.loss)
})

test('requests that cannot be met', async () => {
  await expect(start(configure({ batch: 60 })).result).rejects.toThrow(
    /batch '60' is not a multiple of model\.context '16'/,
  )
  await expect(start(configure({ checkpoints: ['1M'] })).result).rejects.toThrow(
    /checkpoints holds '1000000', expected at most/,
  )
  const model = { family: 'llama', width: 16, layers: 1, heads: 2, context: 32768 }
  await expect(start(configure({ model, batch: 32768 })).result).rejects.toThrow(
    /data\.train has \d+ tokens, expected more than/,
  )
})

test('every family trains and is saved as a checkpoint of its own', async () => {
  for (const family of ['gpt2', 'opt', 'bloom', 'gpt_neox', 'qwen3']) {
    const model = {
      family,
      width: 16,
      layers: 1,
      heads: 2,
      hidden: family === 'bloom' ? 64 : 16,
      context: 16,
      ...(family === 'gpt_neox' ? { headSize: 8 } : {}),
    }
    const found = await start(configure({ model, tokens: 64 * 3 })).result
    expect(found.diverged).toBe(false)
    expect(JSON.parse(readFileSync(join(found.checkpoint, 'config.json'), 'utf8')).model_type).toBe(family)
  }
})
