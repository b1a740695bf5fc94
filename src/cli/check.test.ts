import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { afterAll, expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { RequestError } from '../formats/error.ts'
import { findLaw, fitLaws } from '../laws/index.ts'
import { register } from './check.ts'

const root = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-check-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const text = join(folder, 'text.txt')
const animals = ['dog', 'cat', 'bird', 'fish', 'frog', 'bear']
writeFileSync(
  text,
  Array.from(
    { length: 160 },
    (_, i) =>
      `Once there was a little ${animals[i % 6]} who liked to play with the ${animals[(i * 5 + 1) % 6]} all day. `,
  ).join(''),
)

/** Runs the command; gives its status and what it printed. */
function bitlaw(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  return new Promise(done => {
    execFile(
      process.execPath,
      [join(root, 'bin/bitlaw'), 'check', ...args],
      { cwd: root, maxBuffer: 1e8 },
      (error, out, err) => done({ status: error ? Number(error.code) : 0, out, err }),
    )
  })
}

const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
  [['no-such-model'], /no model 'no-such-model', expected a folder/],
  [['llama-3-8b', '--d', 'much'], /d 'much' is not a quantity/],
  [['llama-3-8b', '--d', '0'], /d '0' is not above 0/],
  [['llama-3-8b', '--law', 'kumar_detla'], /unknown law 'kumar_detla' \(did you mean kumar_delta\?\)/],
  [['llama-3-8b', '--fit', 'nowhere.json'], /cannot read the fit 'nowhere\.json'/],
  [['llama-3-8b', '--measure', 'nowhere.txt'], /no text at 'nowhere\.txt'/],
  [['llama-3-8b', '--formats', 'int5x@64'], /int5x/],
  [['llama-3-8b', '--methods', 'awq'], /unknown method 'awq', expected rtn or gptq/],
  [['llama-3-8b', '--tolerance', 'none'], /tolerance 'none' is not a quantity/],
]

test.each(WRONG)('check %j is a wrong request, said in one sentence', async (args, message) => {
  const command = new Command('bitlaw check')
  register(command)
  const error = await command.parseAsync([...args], { from: 'user' }).catch(thrown => thrown)
  expect(error).toBeInstanceOf(RequestError)
  expect(error.message).toMatch(message)
  expect(error.message).not.toMatch(/\n/)
})

test('a known model is judged by every law, beside what others measured', async () => {
  const { out, status } = await bitlaw('llama-3-8b', '--d', '15T', '--json')
  expect(status).toBe(0)
  const document = JSON.parse(out)
  expect(document).toMatchObject({ model: 'llama-3-8b', n: 6_979_588_096, d: 15e12, measured: [] })
  expect(document.predicted[0]).toMatchObject({
    law: expect.any(String),
    k: 3,
    deltaPtq: expect.any(Number),
    interval: null,
    insideRange: false,
  })
  expect(document.dCrit['kumar_delta/kumar2024']).toBeLessThan(15e12)
  expect(document.elsewhere[0]).toMatchObject({ unreliable: true, applies: true, error: expect.any(Number) })
  expect(document.elsewhere[0].rows[0]).toMatchObject({
    model: 'llama-3-8b',
    predicted: expect.any(Number),
    deltaPtq: expect.any(Number),
  })
  expect(document.verdict).toMatch(/over-trained for 4 bits.*not to be relied on.*learning-rate decay/)
  const words = (await bitlaw('llama-3-8b')).out
  expect(words).toMatch(/6\.98B parameters without embeddings, 15T training tokens/)
  expect(words).toMatch(/llama-2-7b +q4_k_m +0\.0141/)
  expect(words).toMatch(/recommended: q5_k_s by llama\.cpp/)
})

test("one's own fit of the damage gives intervals", async () => {
  const law = findLaw('kumar_delta')
  const { parameters } = law.fits[0]
  const rows = [3e7, 1e8, 3e8].flatMap((N, i) =>
    [1e9, 4e9, 1.6e10].flatMap((D, j) =>
      [3, 4, 5, 6].map((P_post, k) => {
        const { deltaPtq } = law.predict(parameters, { N, D, P_post })
        return { N, D, P_post, loss_before_ptq: 3, loss: 3 + deltaPtq! * (1 + 0.05 * Math.sin(5 * i + 3 * j + k)) }
      }),
    ),
  )
  const { solved: _, ...document } = fitLaws(rows, [law], { starts: 10, bootstrap: 40, diagnose: false })
  const path = join(folder, 'fit.json')
  writeFileSync(path, JSON.stringify(document))
  const { out } = await bitlaw('pythia-160m', '--fit', path, '--law', 'kumar_delta', '--json')
  const own = JSON.parse(out).predicted.filter((one: { fit: string }) => one.fit === path)
  expect(own.length).toBe(5)
  for (const { deltaPtq, interval } of own) {
    expect(interval[0]).toBeLessThan(deltaPtq)
    expect(interval[1]).toBeGreaterThan(deltaPtq)
  }
})

const model = shared('models', 'tinystories-656k')
test.skipIf(!model)(
  'damage is measured by RTN and GPTQ, kept, and not measured again',
  async () => {
    const rows = join(folder, 'rows.jsonl')
    const args = [
      model!,
      '--d',
      '500m',
      '--measure',
      text,
      '--formats',
      'int{3,8}@64',
      '--context',
      '64',
      '--limit',
      '4',
      '--threads',
      '1',
      '--out',
      rows,
      '--json',
    ]
    const { out, err, status } = await bitlaw(...args)
    expect([status, err]).toEqual([0, ''])
    const document = JSON.parse(out)
    expect(
      document.measured.map(({ method, format }: { method: string; format: string }) => `${method} ${format}`),
    ).toEqual(['rtn int3@64', 'gptq int3@64', 'rtn int8@64', 'gptq int8@64'])
    const [rtn, gptq, wide] = document.measured
    expect(rtn.lossChange).toBeGreaterThan(wide.lossChange)
    expect(gptq.kl).toBeLessThan(rtn.kl)
    expect(rtn.interval[0]).toBeLessThan(rtn.lossChange)
    expect(document.recommended.format).toMatch(/^int[38]@64$/)
    expect(document.verdict.length).toBeGreaterThan(20)
    // A line that was cut off is measured again; the rest is taken as it is.
    const lines = readFileSync(rows, 'utf8').trim().split('\n')
    expect(lines.length).toBe(4)
    writeFileSync(rows, `${lines.slice(0, 3).join('\n')}\n${lines[3].slice(0, 20)}\n`)
    const again = JSON.parse((await bitlaw(...args)).out)
    expect(again.measured).toEqual(document.measured)
    expect(readFileSync(rows, 'utf8').trim().split('\n').length).toBe(5)
  },
  60_000,
)
