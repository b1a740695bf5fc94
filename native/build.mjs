// Builds the kernels at install with the system's C++ compiler: every native/*.cpp, in parallel, each with the
// instruction-set flags that its name ends in (_avx2, _avx512bf16, _amx; anything else: the plain processor).
// Nothing is downloaded. Without a compiler, or where it fails, the install still succeeds: build/reason.txt then
// says why, and the first use of the kernels repeats it. Objects are kept, so that a second build compiles only what changed.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const require = createRequire(import.meta.url)
const { digestSources } = require('./sources.cjs')
const here = dirname(fileURLToPath(import.meta.url))
const out = join(here, 'build')
const objects = join(out, 'objects')
const addon = join(out, 'bitlaw.node')
const reasonFile = join(out, 'reason.txt')

const COMMON = ['-std=c++17', '-O3', '-fPIC', '-fvisibility=hidden', '-ffp-contract=off', '-fno-math-errno']
// For those who change the kernels: node native/build.mjs --warnings. (The intrinsics of GCC 12 warn of themselves.)
const WARNINGS = process.argv.includes('--warnings') ? ['-Wall', '-Wextra', '-Wno-maybe-uninitialized'] : ['-w']
const AVX2 = ['-mavx2', '-mfma', '-mf16c']
const AVX512 = [
  ...AVX2,
  '-mavx512f',
  '-mavx512bw',
  '-mavx512dq',
  '-mavx512vl',
  '-mavx512vnni',
  '-mavx512bf16',
  '-mprefer-vector-width=512',
]
const FLAGS = { avx2: AVX2, avx512bf16: AVX512, amx: [...AVX512, '-mamx-tile', '-mamx-int8', '-mamx-bf16'] }

/** Runs the tasks, as many at once as the machine has processors. */
async function parallel(tasks) {
  const waiting = [...tasks]
  const worker = async () => {
    for (let task = waiting.shift(); task; task = waiting.shift()) await task()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
}

async function findCompiler() {
  for (const name of process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']) {
    try {
      const { stdout } = await run(name, ['--version'])
      return { name, version: stdout.split('\n')[0] }
    } catch {}
  }
  const looked = process.env.CXX ? `CXX=${process.env.CXX}` : 'c++, g++, clang++'
  throw new Error(`no C++ compiler was found (looked for ${looked})`)
}

/** Whether the compiler takes these instruction-set flags. */
async function takes(compiler, flags) {
  const probe = join(objects, `probe-${process.pid}.cpp`)
  writeFileSync(probe, '#include <immintrin.h>\nint main() { return 0; }\n')
  try {
    await run(compiler, [...flags, '-fsyntax-only', probe])
    return true
  } catch {
    return false
  } finally {
    rmSync(probe, { force: true })
  }
}

const hash = (...parts) => {
  const h = createHash('sha256')
  for (const part of parts) h.update(part).update('\0')
  return h.digest('hex')
}

/** Compiles one file unless its object is newer in content: the same flags and the same bytes of every file it includes. */
async function compile(compiler, name, flags) {
  const object = join(objects, `${name}.o`)
  const stamp = join(objects, `${name}.stamp`)
  const digest = files =>
    hash(compiler.version, ...flags, ...files.map(file => (existsSync(file) ? readFileSync(file) : '')))
  if (existsSync(object) && existsSync(stamp)) {
    const { files, digest: last } = JSON.parse(readFileSync(stamp, 'utf8'))
    if (digest(files) === last) return { object, digest: last }
  }
  const temporary = join(objects, `${name}.${process.pid}`)
  const { stderr } = await run(
    compiler.name,
    [...flags, '-MMD', '-MF', `${temporary}.d`, '-c', join(here, name), '-o', `${temporary}.o`],
    {
      maxBuffer: 1 << 26,
    },
  )
  if (stderr) process.stderr.write(stderr)
  const files = readFileSync(`${temporary}.d`, 'utf8')
    .replace(/\\\n/g, ' ')
    .replace(/^[^:]*:/, '')
    .trim()
    .split(/\s+/)
  const own = files.filter(file => file.startsWith(here)).sort()
  renameSync(`${temporary}.o`, object)
  rmSync(`${temporary}.d`)
  const result = { files: own, digest: digest(own) }
  writeFileSync(stamp, JSON.stringify(result))
  return { object, digest: result.digest }
}

async function build() {
  mkdirSync(objects, { recursive: true })
  const compiler = await findCompiler()
  const sourcesDigest = digestSources()
  const includes = [require('node-addon-api').include_dir, require('node-api-headers').include_dir]
  const common = [...COMMON, ...WARNINGS, ...includes.flatMap(folder => ['-isystem', folder.replaceAll('"', '')])]
  const defines = []
  const paths = {}
  for (const [isa, flags] of Object.entries(FLAGS)) {
    paths[isa] = process.arch === 'x64' && (await takes(compiler.name, flags))
    if (paths[isa]) defines.push(`-DBITLAW_HAS_${isa.toUpperCase()}=1`)
  }
  const sources = readdirSync(here)
    .filter(name => name.endsWith('.cpp'))
    .sort()
  const compiled = []
  await parallel(
    // The largest files are the ones with an instruction set in their name: start with those.
    sources
      .sort((a, b) => (b.includes('_') ? 1 : 0) - (a.includes('_') ? 1 : 0))
      .map(name => async () => {
        const isa = /_([a-z0-9]+)\.cpp$/.exec(name)?.[1]
        const flags = isa && Object.hasOwn(FLAGS, isa) ? FLAGS[isa] : []
        if (flags.length > 0 && !paths[isa]) return
        compiled.push({ name, ...(await compile(compiler, name, [...common, ...defines, ...flags])) })
      }),
  )
  compiled.sort((a, b) => (a.name < b.name ? -1 : 1))
  const id = hash(...compiled.map(file => file.digest)).slice(0, 12)
  const temporary = join(out, `bitlaw.${process.pid}`)
  writeFileSync(
    `${temporary}.cpp`,
    `extern const char *const bitlawBuild, *const bitlawSources;\n` +
      `const char* const bitlawBuild = "${id}, ${compiler.version.replace(/["\\]/g, '')}";\n` +
      `const char* const bitlawSources = "${sourcesDigest}";\n`,
  )
  const link = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-pthread']
  await run(compiler.name, [
    '-shared',
    '-fPIC',
    `${temporary}.cpp`,
    ...compiled.map(file => file.object),
    '-o',
    `${temporary}.node`,
    ...link,
  ])
  renameSync(`${temporary}.node`, addon)
  rmSync(`${temporary}.cpp`)
  rmSync(reasonFile, { force: true })
}

try {
  await build()
} catch (error) {
  const reason = [
    error.message.split('\n')[0].slice(0, 200),
    ...(error.stderr ?? '')
      .split('\n')
      .filter(line => line.includes('error'))
      .slice(0, 5),
  ].join('\n')
  mkdirSync(out, { recursive: true })
  writeFileSync(reasonFile, `${reason}\n`)
  const instead = existsSync(addon) ? 'those of the last build stay' : 'the slow TypeScript ones will be used'
  console.error(`bitlaw: the native kernels were not built, ${instead}: ${reason}`)
}
