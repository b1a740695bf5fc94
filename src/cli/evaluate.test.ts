import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { createInference } from '../model/inference.ts'
import { loadModel } from '../model/load.ts'
import { createReference } from '../tensor/reference.ts'

const root = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-evaluate-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const text = join(folder, 'text.txt')
writeFileSync(
  text,
  'Once upon a time there was a little dog. The dog liked to play in the park with a big red ball. '.repeat(12),
)

/** Runs the command; gives its status and what it printed. */
function bitlaw(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  return new Promise(done => {
    execFile(
      process.execPath,
      [join(root, 'bin/bitlaw'), ...args],
      { cwd: root, maxBuffer: 1e8 },
      (error, out, err) => {
        done({ status: error ? Number(error.code) : 0, out, err })
      },
    )
  })
}

const model = shared('models', 'tinystories-656k')

test('wrong requests are named and exit with 2', async () => {
  for (const [args, message] of [
    [['nowhere'], /^bitlaw: nothing to evaluate, give --text FILE or --tasks NAMES\n$/],
    [['nowhere', '--text', 'no-such.txt'], /^bitlaw: no text at 'no-such.txt'\n$/],
    [['nowhere', '--tasks', 'pika'], /unknown task 'pika'.*did you mean piqa\?/],
    [['nowhere', '--tasks', 'last_word'], /task 'last_word' is not on the hub, expected a folder/],
    [['nowhere', '--tasks', 'piqa', '--data', 'src'], /no set of 'piqa' in 'src', expected piqa.jsonl/],
    [['nowhere', '--text', text, '--windows', 'roling'], /unknown windows convention 'roling'.*did you mean rolling\?/],
    [['nowhere', '--text', text, '--gate', 'kl less'], /gate 'kl less' is not understood/],
    [['nowhere', '--text', text, '--stride', '0'], /stride '0' is not a positive whole number/],
  ] as const) {
    const { status, err } = await bitlaw('evaluate', ...args)
    expect(err).toMatch(message)
    expect(status).toBe(2)
  }
})

test.skipIf(!model)('loss, divergence from a reference, its file, and gates', async () => {
  const same = await bitlaw('evaluate', model!, '--text', text, '--reference', model!, '--context', '64', '--json')
  expect(same.err).toBe('')
  const report = JSON.parse(same.out)
  expect(report.kl.mean).toBeCloseTo(0, 6)
  expect(report.lossChange.mean).toBeCloseTo(0, 6)
  expect(report.topAgreement).toBe(1)
  expect(Math.exp(report.loss)).toBeCloseTo(report.perplexity, 6)

  const logits = join(folder, 'reference.logits')
  const rounded = [
    '--activations',
    'int4@token',
    '--text',
    text,
    '--context',
    '64',
    '--reference-logits',
    logits,
    '--json',
  ]
  const written = JSON.parse((await bitlaw('evaluate', model!, ...rounded, '--reference', model!)).out)
  const read = await bitlaw('evaluate', model!, ...rounded)
  expect(JSON.parse(read.out)).toEqual(written)
  expect(written.kl.mean).toBeGreaterThan(0.01)
  const other = await bitlaw('evaluate', model!, '--text', text, '--context', '32', '--reference-logits', logits)
  expect(other.err).toMatch(/written for another text, context, stride or limit/)
  expect(other.status).toBe(2)

  const gated = await bitlaw('evaluate', model!, ...rounded, '--gate', 'kl < 0.001, loss < 100')
  expect(gated.status).toBe(1)
  expect(gated.err).toMatch(/gate not passed: .*'kl < 0.001' fails: kl is .*95% interval/)
  const passed = await bitlaw('evaluate', model!, ...rounded, '--gate', 'loss < +400%')
  expect(passed.status).toBe(0)
})

test.skipIf(!model || !shared('evals'))('tasks with their samples, two models paired', async () => {
  const samples = join(folder, 'samples.jsonl')
  const { out, err } = await bitlaw(
    'evaluate',
    model!,
    model!,
    '--tasks',
    'piqa',
    '--data',
    shared('evals')!,
    '--limit',
    '12',
    '--log-samples',
    samples,
  )
  expect(err).toBe('')
  expect(out).toMatch(/0\.0000 \[0\.0000, 0\.0000\] \(tie\)/)
  const lines = readFileSync(samples, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(lines.length).toBe(24)
  expect(lines[0]).toMatchObject({ task: 'piqa', index: 0, gold: 0 })
  expect(lines[0].logLikelihood.length).toBe(2)
})

test.skipIf(!model)('a server with prompt log-probabilities gives what the own engine gives', async () => {
  const loaded = await loadModel(model!, { dtype: 'float32' })
  const kernels = createReference({ float: 'float32' })
  const inference = createInference(loaded, kernels, { compute: 'float' })
  const { vocab } = loaded.config
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    response.setHeader('content-type', 'application/json')
    if (request.url === '/v1/models') return response.end(JSON.stringify({ data: [{ id: 'tiny' }] }))
    const { prompt } = JSON.parse(Buffer.concat(chunks).toString())
    const choices = (prompt as number[][]).map(ids => {
      const rows = Int32Array.from(ids, (_, i) => i)
      const logits = inference.logits(Int32Array.from(ids), 1, ids.length, rows)
      kernels.logSoftmax(logits, ids.length, vocab)
      const row = (i: number) => Float32Array.from(logits).subarray(i * vocab, (i + 1) * vocab)
      const best = ids.map((_, i) => row(i).reduce((a, b) => Math.max(a, b), -Infinity))
      return {
        logprobs: {
          token_logprobs: [null, ...ids.slice(1).map((id, i) => row(i)[id]), best[ids.length - 1]],
          top_logprobs: [null, ...ids.slice(1).map((_, i) => ({ best: best[i] })), null],
        },
      }
    })
    response.end(JSON.stringify({ choices }))
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const common = [
      '--text',
      text,
      '--context',
      '32',
      '--limit',
      '3',
      '--json',
      '--tasks',
      'piqa',
      '--data',
      join(folder, 'sets'),
    ]
    mkdirSync(join(folder, 'sets'), { recursive: true })
    writeFileSync(
      join(folder, 'sets', 'piqa.jsonl'),
      '{"query":"Question: The dog\\n","choices":["likes a ball","was so small"],"gold":0}\n{"query":"Question: A girl\\n","choices":["went home","slept"],"gold":1}\n',
    )
    const own = JSON.parse((await bitlaw('evaluate', model!, ...common, '--dtype', 'float32')).out)
    const remote = await bitlaw('evaluate', model!, ...common, '--evaluator', url)
    expect(remote.err).toBe('')
    const report = JSON.parse(remote.out)
    expect(report.model).toBe('tiny')
    expect(report.tokens).toBe(own.tokens)
    expect(report.loss).toBeCloseTo(own.loss, 4)
    expect(report.tasks.piqa.acc).toBe(own.tasks.piqa.acc)
    expect(report.tasks.piqa.meanLogLikelihood).toBeCloseTo(own.tasks.piqa.meanLogLikelihood, 3)
    const gone = await bitlaw('evaluate', model!, ...common, '--evaluator', 'http://127.0.0.1:9')
    expect(gone.err).toMatch(/the evaluator at .* does not answer/)
  } finally {
    server.close()
  }
})
