// The verb as a process: killed in the middle it goes on where it stood, and its output appears whole or not at all.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import { initialModel } from '../model/model.ts'
import { saveModel } from '../model/save.ts'
import { llamaConfig } from '../model/testing.ts'
import { createKernels } from '../tensor/index.ts'

const stories = shared('models', 'tinystories-656k')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-quantize-verb-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const model = join(folder, 'model')
const text = join(folder, 'text.txt')

/** A model of 56 matrices with the vocabulary of the stories. */
beforeAll(async () => {
  if (!stories) return
  const config = llamaConfig({ vocab: 2048, width: 128, layers: 8, heads: 4, hidden: 384, context: 128 })
  await saveModel(model, initialModel(config, 3, { kernels: createKernels({ threads: 1 }) }), { dtype: 'bf16' })
  for (const name of readdirSync(stories))
    if (name.includes('token')) cpSync(join(stories, name), join(model, name), { recursive: true })
  writeFileSync(text, 'Once upon a time there was a little dog who liked to run in the park. '.repeat(400))
})

const line = (out: string, options: readonly string[]) => ['bin/bitlaw', 'quantize', model, '--out', out, ...options]

function run(out: string, options: readonly string[]): Record<string, unknown> {
  const { status, stdout, stderr } = spawnSync('node', [...line(out, options), '--json'], { encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return JSON.parse(stdout)
}

const unfinished = (out: string) => readdirSync(folder).find(name => name.startsWith(`.${out}.unfinished`))

/** Starts a run and kills it when some matrices are done; gives how many. */
async function killed(out: string, options: readonly string[], matrices: number): Promise<number> {
  const child = spawn('node', line(join(folder, out), options), { stdio: 'ignore' })
  const done = () => {
    const found = unfinished(out)
    return found ? readdirSync(join(folder, found)).filter(name => name.endsWith('.safetensors')).length : 0
  }
  while (child.exitCode === null && done() < matrices) await sleep(1)
  child.kill('SIGKILL')
  await new Promise(resolve =>
    child.exitCode === null && child.signalCode === null ? child.on('exit', resolve) : resolve(0),
  )
  return done()
}

/** Digests of the files of a folder. */
const digests = (path: string) =>
  readdirSync(path)
    .sort()
    .map(
      name =>
        `${name} ${createHash('sha256')
          .update(readFileSync(join(path, name)))
          .digest('hex')}`,
    )

test.skipIf(!stories).each([
  ['rtn', ['--format', 'nf4@64+clip']],
  [
    'gptq',
    [
      '--format',
      'int4@64',
      '--method',
      'gptq',
      '--calibration',
      text,
      '--calibration-length',
      '64',
      '--calibration-sequences',
      '16',
    ],
  ],
])(
  '%s that is killed goes on, and gives the bytes of an undisturbed run',
  { timeout: 300_000 },
  async (name, options) => {
    const whole = run(join(folder, `${name}-whole`), options)
    const out = `${name}-killed`
    const first = await killed(out, options, 4)
    expect(first).toBeGreaterThanOrEqual(4)
    expect(first).toBeLessThan(56)
    expect(existsSync(join(folder, out))).toBe(false)
    const again = await killed(out, options, first + 3)
    expect(again).toBeGreaterThanOrEqual(first + 3)
    const done = run(join(folder, out), options)
    expect(digests(join(folder, out))).toEqual(digests(join(folder, `${name}-whole`)))
    expect({ ...done, seconds: 0, out: '' }).toEqual({ ...whole, seconds: 0, out: '' })
    expect(unfinished(out)).toBeUndefined()
    // Another request does not go on with what this one left.
    mkdirSync(join(folder, `.${out}.unfinished-0123456789abcdef`))
    run(join(folder, out), ['--format', 'int8@channel'])
    expect(unfinished(out)).toBeUndefined()
  },
)

test.skipIf(!stories)('a dry run says the size of the file', () => {
  const out = join(folder, 'sized')
  const options = ['--format', 'int4@64', '--exclude', '*.v.*', '--embeddings', 'uint8@channel']
  const dry = spawnSync('node', [...line(out, options), '--dry-run', '--json'], { encoding: 'utf8' })
  const said = JSON.parse(dry.stdout)
  expect(existsSync(out)).toBe(false)
  expect(run(out, options)['totalBits']).toBe(said.totalBits)
  const file = openSafetensors(join(out, 'model.safetensors'))
  const bytes = file.names.reduce((sum, name) => sum + file.info(name).bytes, 0)
  file.close()
  expect(bytes).toBe(said.totalBits / 8)
  // Dequantized, all numbers have two bytes.
  const plain = ['--format', 'nf4@64', '--dequantize']
  const inBf16 = spawnSync('node', [...line(out, plain), '--dry-run', '--json'], { encoding: 'utf8' })
  run(out, plain)
  const numbers = openSafetensors(join(out, 'model.safetensors'))
  expect(JSON.parse(inBf16.stdout).bytes).toBe(numbers.names.reduce((sum, name) => sum + numbers.info(name).bytes, 0))
  numbers.close()
  const refused = spawnSync('node', line(join(folder, 'x.gguf'), plain), { encoding: 'utf8' })
  expect(refused.stderr).toContain('--dequantize writes a folder')
})

test.skipIf(!stories)(
  'a budget is kept with the embeddings in it, and one that the menu cannot fill is an error',
  () => {
    const dry = (...options: string[]) =>
      spawnSync('node', ['bin/bitlaw', 'quantize', model, '--menu', 'int8@64,int{2,3,4}@64', '--dry-run', ...options], {
        encoding: 'utf8',
      })
    const embeddings = ['--embeddings', 'int8@channel']
    const said = JSON.parse(dry('--target-bits', '5', ...embeddings, '--json').stdout)
    expect(said.bitsPerParameter).toBeLessThanOrEqual(5)
    expect(said.bitsPerParameter).toBeGreaterThan(4.95)
    // A size that this choice just fits gives it again.
    const bytes = Math.ceil(said.totalBits / 8)
    expect(JSON.parse(dry('--target-size', `${bytes}`, ...embeddings, '--json').stdout).tensors).toEqual(said.tensors)
    expect(dry('--target-bits', '99').stderr).toContain("target bits '99' is above")
    expect(dry('--target-bits', '99').stderr).toContain('8.25 bits')
    expect(JSON.parse(dry('--target-bits', '8.25', '--json').stdout).bitsPerParameter).toBe(8.25)
    expect(dry('--target-bits', '2').stderr).toContain('below the smallest')
    const shown = dry('--target-bits', '4').stdout
    expect(shown).toContain('layers.7.down.weight')
    expect(shown).toContain('headers, config and tokenizer')
  },
)

test.skipIf(!stories).each([
  ['q.gguf', 'int4@64', [], /^bitlaw: 'int4@64' of '.*' is no ggml type, expected one like q4_0/],
  ['q', 'nf4@64', ['--layout', 'gptq'], /^bitlaw: layout gptq cannot hold nf4@64 of this model exactly/],
])('what %s could not hold as %s is refused before the work', (name, format, options, message) => {
  const words = line(join(folder, name), ['--format', format, ...options, '--dry-run'])
  const { status, stderr } = spawnSync('node', words, { encoding: 'utf8' })
  expect(stderr).toMatch(message)
  expect(status).toBe(2)
})

test.skipIf(!stories)('a model is not replaced by its own rounding, under whatever name it is asked for', () => {
  const link = join(folder, 'link')
  symlinkSync(model, link)
  const before = digests(model)
  for (const out of [model, link, `${folder}/../${basename(folder)}/model/`]) {
    const { status, stderr } = spawnSync('node', line(out, ['--format', 'int4@64']), { encoding: 'utf8' })
    expect(stderr).toBe(`bitlaw: --out '${out}' is the model that is read, expected another place\n`)
    expect(status).toBe(2)
  }
  expect(digests(model)).toEqual(before)
})
