import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { afterAll, expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { RequestError } from '../formats/error.ts'
import { findLaw, fitLaws } from '../laws/index.ts'
import { parseSpec } from '../study/spec.ts'
import { register } from './plan.ts'

const root = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-plan-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the command; gives its status and what it printed. */
function bitlaw(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  return new Promise(done => {
    execFile(process.execPath, [join(root, 'bin/bitlaw'), ...args], { cwd: root, maxBuffer: 1e8 }, (error, out, err) =>
      done({ status: error ? Number(error.code) : 0, out, err }),
    )
  })
}

const json = join(folder, 'no.json')
writeFileSync(json, '{ "fits": [')
const other = join(folder, 'other.json')
writeFileSync(other, '{ "rows": 3 }')

const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
  [['train'], /^nothing limits the plan, give --compute, --hours, --money, --loss, or both --n and --d$/],
  [
    ['train', '--compute', '1e21', '--device', 'h10'],
    /unknown device 'h10', see bitlaw plan devices \(did you mean \w+\?\)/,
  ],
  [['train', '--compute', 'lots'], /compute 'lots' is not a quantity, expected something like 1e21/],
  [['train', '--compute', '0'], /compute '0' is not positive/],
  [['train', '--money', '$5', '--device', 'm4-max'], /device 'm4-max' has no price to rent, give --price/],
  [
    ['train', '--compute', '1e21', '--bits', '20'],
    /bits '20' is not understood, expected a number from 1 to 16 or a range like 3\.\.16/,
  ],
  [['train', '--compute', '1e21', '--pa', '9..4'], /pa '9\.\.4' is not understood/],
  [['train', '--compute', '1e21', '--law', 'kumar_unifid'], /unknown law 'kumar_unifid' \(did you mean kumar_unified/],
  [['train', '--compute', '1e21', '--law', 'ouyang'], /law ouyang speaks of the damage by PTQ alone/],
  [['train', '--compute', '1e21', '--law', 'kumar_additive'], /law kumar_additive has no published constants.*--fit/],
  [['train', '--compute', '1e21', '--fit', 'nowhere.json'], /cannot read the fit 'nowhere\.json'/],
  [['train', '--compute', '1e21', '--fit', json], /no\.json' is not JSON, expected a file written by bitlaw fit --out/],
  [['train', '--compute', '1e21', '--fit', other], /other\.json holds no fit/],
  [['train', '--compute', '1e21', '--cost', 'time'], /unknown cost model 'time', expected bits or device/],
  [['train', '--compute', '1e21', '--utilization', '40'], /utilization '40' is above 1/],
  [['train', '--compute', '1e21', '--repeat'], /--repeat needs --data/],
  [['train', '--compute', '1e21', '--serve', 'int9x@64'], /unknown format 'int9x@64'|int9x/],
  [
    ['train', '--compute', '1e21', '--law', 'chinchilla', '--study', join(folder, 's.yaml')],
    /fewer than two of these laws tell bits apart/,
  ],
  [['serve', 'lama-3-8b'], /unknown model 'lama-3-8b' \(did you mean llama-3-8b\?\)/],
  [['serve', 'llama-3-8b', '--formats', 'int4'], /int4/],
  [['serve', 'llama-3-8b', '--context', '1.5'], /context '1\.5' is not a positive whole number/],
  [['serve', 'llama-3-8b', '--device', 'tpu-v99'], /unknown device 'tpu-v99'/],
]

test.each(WRONG)('plan %j is a wrong request, said in one sentence', async (args, message) => {
  const command = new Command('bitlaw plan')
  register(command)
  const error = await command.parseAsync([...args], { from: 'user' }).catch(thrown => thrown)
  expect(error).toBeInstanceOf(RequestError)
  expect(error.message).toMatch(message)
  expect(error.message).not.toMatch(/\n/)
})

test('a wrong request exits with 2 and prints nothing else', async () => {
  const { status, out, err } = await bitlaw('plan', 'train')
  expect([status, out, err]).toEqual([
    2,
    '',
    'bitlaw: nothing limits the plan, give --compute, --hours, --money, --loss, or both --n and --d\n',
  ])
})

test('what cannot be done says what to relax and by how much', async () => {
  const { status, err } = await bitlaw('plan', 'train', '--compute', '1e18', '--n', '1b', '--d', '10b')
  expect(err).toMatch(
    /^bitlaw: no plan fits; relax one of: compute: \d\.\d+e\+\d+ FLOP would do, [\d.]+ times the 1\.00e\+18 given\n$/,
  )
  expect(status).toBe(1)
})

test('plan train prints the document of its contract, and writes a figure, a study and a frontier', async () => {
  const [svg, study, frontier] = ['p.svg', 's.yaml', 'f.csv'].map(name => join(folder, name))
  const { status, out, err } = await bitlaw(
    'plan',
    'train',
    '--compute',
    '1e20',
    '--inference-tokens',
    '1T',
    '--svg',
    svg,
    '--study',
    study,
    '--frontier',
    frontier,
    '--json',
  )
  expect([status, err]).toEqual([0, ''])
  const document = JSON.parse(out)
  for (const name of ['n', 'd', 'pw', 'pa', 'pkv', 'loss', 'flops', 'cost', 'bytes', 'joules'])
    expect(document.plan[name]).toEqual(expect.any(Number))
  expect(document.plan).toHaveProperty('interval')
  for (const name of ['alternatives', 'laws', 'binding', 'warnings', 'guidelines'])
    expect(document[name]).toEqual(expect.any(Array))
  expect(document.laws[0]).toMatchObject({
    law: expect.any(String),
    fit: expect.any(String),
    insideRange: expect.any(Boolean),
  })
  expect(document.laws[0]).toHaveProperty('optimum')
  expect(document.binding).toEqual(['compute'])
  expect(readFileSync(svg, 'utf8')).toMatch(/<svg/)
  const spec = parseSpec(readFileSync(study, 'utf8'))
  expect(spec.models.length * spec.tokensPerParameter.length).toBeGreaterThan(0)
  expect(document.study.runs).toBe(
    spec.models.length * spec.tokensPerParameter.length * (spec.precision as { list: unknown[] }).list.length,
  )
  const lines = readFileSync(frontier, 'utf8').trim().split('\n')
  expect(lines[0]).toBe('N,D,P_w,P_a,P_kv,flops,serving_bytes,loss')
  expect(lines.length).toBeGreaterThan(10)
  // The study is one that the verb itself accepts.
  const dry = await bitlaw('study', 'run', study, '--dry-run', '--json')
  expect(dry.err).toBe('')
  expect(JSON.parse(dry.out).runs).toBe(document.study.runs)
}, 60_000)

test("one's own fit leads, with intervals, in words too", async () => {
  const law = findLaw('chinchilla')
  const { parameters } = law.fits.find(fit => fit.name === 'besiroglu2024')!
  const rows = [1e7, 5e7, 2e8, 1e9].flatMap((N, i) =>
    [2e8, 1e9, 5e9, 2e10].map((D, j) => ({
      N,
      D,
      loss: law.predict(parameters, { N, D }).loss! * (1 + 0.002 * Math.sin(7 * i + 3 * j)),
    })),
  )
  const { solved: _, ...document } = fitLaws(rows, [law], { starts: 10, bootstrap: 40, diagnose: false })
  const path = join(folder, 'fit.json')
  writeFileSync(path, JSON.stringify(document))
  const { out, status } = await bitlaw('plan', 'train', '--money', '$10k', '--fit', path, '--law', 'chinchilla')
  expect(status).toBe(0)
  expect(out).toMatch(/: loss \d\.\d+ \(95% \d\.\d+ to \d\.\d+\) \(chinchilla, .*fit\.json\)/)
  expect(out).toMatch(/bound by: money/)
})

test('a law that is far off on real models says so at their size', async () => {
  const at = (n: string) => bitlaw('plan', 'train', '--n', n, '--d', '200b', '--law', 'kumar', '--json')
  const [large, small] = await Promise.all([at('8b'), at('100m')])
  expect(JSON.parse(large.out).warnings.join()).toMatch(/times too high on Llama 2 7B and Llama 3 8B/)
  expect(JSON.parse(small.out).warnings.join()).not.toMatch(/Llama/)
})

test('plan serve: bytes, speed, frontier and ties under memory', async () => {
  const { out, status } = await bitlaw(
    'plan',
    'serve',
    'llama-3-8b',
    '3b',
    '--d',
    '1T',
    '--memory',
    '10GB',
    '--formats',
    'bf16,int4@64,int8@64,q4_k_m',
    '--json',
  )
  expect(status).toBe(0)
  const document = JSON.parse(out)
  for (const one of document.plans) {
    const { weights, kv, activations, total } = one.bytes
    expect(weights + kv + activations).toBe(total)
    expect(one.fits).toBe(total <= 10e9)
    for (const name of ['model', 'format', 'kvFormat', 'tokensPerSecond', 'loss', 'deltaPtq', 'frontier'])
      expect(one).toHaveProperty(name)
  }
  expect(document.plans.length).toBe(8)
  expect(document.binding).toEqual(['memory'])
  expect(document.tie).toEqual(expect.any(Array))
  const best = document.plans[0]
  for (const one of document.plans) if (one.fits) expect(best.loss).toBeLessThanOrEqual(one.loss)
  const narrow = await bitlaw('plan', 'serve', 'llama-2-70b', '--memory', '8GB')
  expect(narrow.out).toMatch(/no plan fits 8000000000 bytes, the least is llama-2-70b int3@64 with \d+/)
})

const model = shared('models', 'tinystories-656k')
test.skipIf(!model)('a checkpoint is a candidate as it stands on disk', async () => {
  const { out } = await bitlaw(
    'plan',
    'serve',
    model!,
    '--memory',
    '10MB',
    '--formats',
    'int4@64',
    '--context',
    '128',
    '--json',
  )
  const document = JSON.parse(out)
  expect(document.plans[0].n).toBe(393_856)
  expect(document.warnings.join()).toMatch(/training tokens of .* are not known, so no loss is predicted; give --d/)
})

test('plan devices is a list', async () => {
  const { out } = await bitlaw('plan', 'devices', '--json')
  expect(JSON.parse(out).length).toBeGreaterThanOrEqual(20)
  expect((await bitlaw('plan', 'devices')).out).toMatch(/h100 +80 GB +3350 +989/)
  expect(existsSync(join(root, 'p.svg'))).toBe(false)
})
