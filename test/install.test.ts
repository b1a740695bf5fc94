// An install on a machine without a C++ compiler: the build succeeds and writes down why there are no kernels, the
// command works all the same, and says once that it is slow and why. Kernels of other sources are refused.
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
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
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { missingReason } from '../src/tensor/addon.ts'

const root = mkdtempSync(join(tmpdir(), 'bitlaw-install-'))
afterAll(() => rmSync(root, { recursive: true }))
const copy = join(root, 'bitlaw')
mkdirSync(copy)
for (const name of ['bin', 'src', 'package.json']) cpSync(resolve(name), join(copy, name), { recursive: true })
cpSync(resolve('native'), join(copy, 'native'), {
  recursive: true,
  filter: path => path !== resolve('native', 'build'),
})
symlinkSync(resolve('node_modules'), join(copy, 'node_modules'))
const empty = join(root, 'empty')
mkdirSync(empty)

/** Runs node in the copy, with no programs to be found. */
function node(args: string[], env: Record<string, string> = {}) {
  const { CXX: _, BITLAW_ISA: __, ...others } = process.env
  const cwd = copy
  return spawnSync(process.execPath, args, { cwd, encoding: 'utf8', env: { ...others, PATH: empty, ...env } })
}

const reason = () => readFileSync(join(copy, 'native', 'build', 'reason.txt'), 'utf8')
const addon = join(copy, 'native', 'build', 'bitlaw.node')

test.each([
  ['no compiler', {}, 'looked for c++, g++, clang++'],
  ['a compiler that is not there', { CXX: '/nowhere/c++' }, 'looked for CXX=/nowhere/c++'],
  ['a compiler that fails', { CXX: process.execPath }, 'Command failed'],
])('the build succeeds with %s', (_, env, looked) => {
  const build = node(['native/build.mjs'], env)
  expect(build.status).toBe(0)
  expect(build.stderr).toContain('the native kernels were not built, the slow TypeScript ones will be used')
  expect(existsSync(addon)).toBe(false)
  expect(reason()).toContain(looked)
})

test('a run without kernels trains, and says once that it is slow and why', () => {
  expect(node(['native/build.mjs']).status).toBe(0)
  const config = join(root, 'run.yaml')
  mkdirSync(join(root, 'text'))
  for (let i = 0; i < 4; i++) writeFileSync(join(root, 'text', `${i}.txt`), `The cat sat on mat ${i}. `.repeat(30))
  writeFileSync(
    config,
    `
data: { train: text, valid: { share: 0.3 }, tokenizer: { kind: bytes } }
model: { family: llama, width: 16, layers: 1, heads: 2, hidden: 16, context: 16 }
precision: { weights: 4, activations: 8, kv: 8 }
batch: 64
tokens: 256
evaluate: { every: 128, tokens: 64 }
`,
  )
  const out = join(root, 'out')
  const run = node(['bin/bitlaw', 'train', config, '--out', out, '--json'], { BITLAW_CACHE: join(root, 'cache') })
  expect(run.stderr).toContain('no C++ compiler was found (looked for c++, g++, clang++)')
  expect(run.status).toBe(0)
  expect(run.stderr.match(/very slow/g)).toHaveLength(1)
  expect(JSON.parse(run.stdout)).toMatchObject({ isa: 'typescript', d: 256, diverged: false })
})

test('BITLAW_ISA=typescript asks for the same where kernels are built', () => {
  const script =
    "import('./src/tensor/index.ts').then(({ createKernels }) => { createKernels(); console.log(createKernels().isa) })"
  const run = spawnSync(process.execPath, ['--import', 'tsx', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, BITLAW_ISA: 'typescript' },
  })
  expect(run.stdout.trim()).toBe('typescript')
  expect(run.stderr.match(/very slow/g)).toHaveLength(1)
  expect(run.stderr).toContain('BITLAW_ISA=typescript')
})

test.skipIf(missingReason() !== '')('kernels are taken with their own sources or none, and refused with others', () => {
  const script = "import('./src/tensor/addon.ts').then(({ pathsHere }) => console.log(pathsHere().length > 0))"
  const open = (isa = '') => node(['--import', 'tsx', '-e', script], { BITLAW_ISA: isa })
  const native = join(copy, 'native')
  mkdirSync(join(native, 'build'), { recursive: true })
  cpSync(resolve('native', 'build', 'bitlaw.node'), addon)
  expect(open().stdout.trim()).toBe('true')

  appendFileSync(join(native, 'isa.cpp'), '// Other words.\n')
  const refused = node(['bin/bitlaw', 'train', join(root, 'run.yaml'), '--out', join(root, 'refused')])
  expect(refused.status).toBe(2)
  expect(refused.stderr).toContain('bitlaw: the native kernels were built from other sources: rebuild them by node ')
  expect(refused.stderr).toContain(join(native, 'build.mjs'))
  expect(open('typescript').stdout.trim()).toBe('false')

  for (const name of readdirSync(native)) if (/\.(cpp|h)$/.test(name)) rmSync(join(native, name))
  expect(open().stdout.trim()).toBe('true')
  rmSync(join(native, 'sources.cjs'))
  expect(open().stdout.trim()).toBe('true')
})
