// Training throughput of the whole step (forward, backward, clipping, AdamW) at the shapes of peers/workloads.json, with
// the share of time in each kind of kernel and the peak memory; two threads, or one run of one thread a core.
// With --peer PYTHON, peers/train_torch.py runs beside each row, in the same minute.
import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parameterSpecs } from '../src/model/config.ts'
import { initialModel, sizeOf } from '../src/model/model.ts'
import { createTrainingStep } from '../src/model/training.ts'
import { createKernels } from '../src/tensor/index.ts'
import type { Kernels } from '../src/tensor/kernels.ts'
import { modelConfig } from '../src/train/architecture.ts'
import { createOptimizer } from '../src/train/optimizer.ts'
import type { BenchOptions, BenchResult } from './main.ts'

interface Workload {
  width: number
  layers: number
  heads: number
  hidden: number
  vocab: number
  context: number
  batch: number
}

interface Measured {
  tokensPerSecond: number
  loss: number
  parameters: number
  /** Peak of the process, in MB, and what the weights' 16 bytes and the step's buffers come to. */
  peakMegabytes: number
  accountedMegabytes: number
  /** Percent of the step's time in each kind of kernel. */
  shares: Record<string, number>
}

/** What each kernel's time counts as. */
const KINDS: Partial<Record<keyof Kernels, string>> = {
  linear: 'products',
  linearBackward: 'products',
  attention: 'attention',
  attentionBackward: 'attention',
  norm: 'normalisation',
  normBackward: 'normalisation',
  fakeQuantize: 'quantization',
  adamw: 'optimizer',
  sumSquares: 'optimizer',
  crossEntropy: 'head',
  crossEntropyBackward: 'head',
}

const shared = resolve(process.env['BITLAW_SHARED'] ?? '../shared')

function workloads(): Record<string, Workload> {
  return JSON.parse(readFileSync(join(shared, 'peers', 'workloads.json'), 'utf8')).train
}

/** The same kernels, adding the milliseconds of each kind to `times`. */
function timed(kernels: Kernels, times: Map<string, number>): Kernels {
  const entries = Object.entries(kernels).map(([name, value]) => {
    if (typeof value !== 'function' || name === 'allocate') return [name, value]
    const kind = KINDS[name as keyof Kernels] ?? 'elementwise'
    const call = (...args: unknown[]) => {
      const start = performance.now()
      const result = (value as (...args: unknown[]) => unknown)(...args)
      times.set(kind, (times.get(kind) ?? 0) + performance.now() - start)
      return result
    }
    return [name, call]
  })
  return Object.fromEntries(entries) as Kernels
}

/** Trains some steps on random tokens in this process; the fastest step counts. */
function measure(shape: Workload, bits: readonly number[], threads: number, steps: number): Measured {
  const times = new Map<string, number>()
  const plain = createKernels({ threads })
  const kernels = timed(plain, times)
  const { batch, context, vocab } = shape
  const config = modelConfig({ family: 'llama', ...shape }, vocab)
  const model = initialModel(config, 0, { kernels: plain })
  const [weights, activations, kv] = bits.map((k, i) =>
    k >= 16 ? null : `int${k}@${i === 0 ? 'channel' : 'tensor'}/exact`,
  )
  const precision = { weights, activations, kv, gradients: null }
  const step = createTrainingStep(model, kernels, { precision, batch, length: context, compute: 'bf16' })
  const optimizer = createOptimizer(step.parameters, kernels, {
    betas: [0.9, 0.95],
    eps: 1e-8,
    weightDecay: 0.1,
    clip: 1,
  })
  let state = 1
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * vocab)
  }
  let best = Number.POSITIVE_INFINITY
  let shares = new Map<string, number>()
  let loss = 0
  for (let i = 0; i < steps + 2; i++) {
    const inputs = Int32Array.from({ length: batch * context }, random)
    const targets = Int32Array.from({ length: batch * context }, random)
    times.clear()
    const start = performance.now()
    step.clear()
    loss = step.gradients(inputs, targets)
    optimizer.step(1e-3, optimizer.gradientNorm())
    const elapsed = performance.now() - start
    if (i < 2 || elapsed >= best) continue
    best = elapsed
    shares = new Map(times)
  }
  const total = parameterSpecs(config).reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  const known = [...shares.values()].reduce((a, b) => a + b, 0)
  const percent = Object.fromEntries(
    [...shares, ['rest', best - known] as const].map(([kind, ms]) => [kind, (100 * ms) / best]),
  )
  return {
    tokensPerSecond: Math.round((1000 * batch * context) / best),
    loss,
    parameters: total,
    peakMegabytes: Math.round(process.resourceUsage().maxRSS / 1024),
    accountedMegabytes: Math.round((12 * total + step.bytes) / 1e6 + 200),
    shares: percent,
  }
}

/** Runs `count` processes of this file at once; their sum of tokens and the first one's details. */
async function processes(
  count: number,
  name: string,
  bits: readonly number[],
  threads: number,
  steps: number,
): Promise<Measured> {
  const one = () =>
    new Promise<Measured>((done, fail) => {
      const self = fileURLToPath(import.meta.url)
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', self, name, bits.join(','), String(threads), String(steps)],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      let text = ''
      child.stdout.on('data', part => (text += part))
      child.on('error', fail)
      child.on('close', code =>
        code === 0 ? done(JSON.parse(text)) : fail(new Error(`a training process ended with ${code}`)),
      )
    })
  const all = await Promise.all(Array.from({ length: count }, one))
  return { ...all[0], tokensPerSecond: all.reduce((sum, { tokensPerSecond }) => sum + tokensPerSecond, 0) }
}

/** Tokens a second of train_torch.py, `count` processes at once. */
async function peer(
  python: string,
  mode: string,
  count: number,
  name: string,
  bits: readonly number[],
  threads: number,
): Promise<number> {
  const script = join(shared, 'peers', 'train_torch.py')
  const args = [script, '--mode', mode, '--shape', name, '--bits', ...bits.map(String), '--threads', String(threads)]
  const runs = await Promise.all(Array.from({ length: count }, () => promisify(execFile)(python, args)))
  return runs.reduce((sum, { stdout }) => sum + JSON.parse(stdout.trim().split('\n').at(-1)!).tokensPerSecond, 0)
}

/** `--shapes small,medium --bits 4,8,8:16,16,16 --threads 2 --processes 2 --steps 5 --peer PYTHON --mode bf16-compile` */
export async function run(options: BenchOptions): Promise<BenchResult> {
  const shapes = (options.shapes ?? 'small,medium,large').split(',')
  const precisions = (options.bits ?? '4,8,8:16,16,16').split(':').map(words => words.split(',').map(Number))
  const steps = Number(options.steps ?? 5)
  const threads = Number(options.threads ?? 2)
  const runs = Number(options.processes ?? threads)
  const python = options.peer
  if (python !== undefined && !existsSync(python)) throw new Error(`--peer ${python} does not exist`)
  const rows: Record<string, string | number>[] = []
  for (const shape of shapes)
    for (const bits of precisions)
      for (const [count, each] of runs > 1
        ? [
            [1, threads],
            [runs, 1],
          ]
        : [[1, threads]]) {
        const own = await processes(count, shape, bits, each, steps)
        const row: Record<string, string | number> = {
          shape,
          bits: bits.join('/'),
          runs: `${count} x ${each} thread${each === 1 ? '' : 's'}`,
          tokensPerSecond: own.tokensPerSecond,
        }
        if (python !== undefined) {
          row['peer'] = await peer(python, options.mode ?? 'bf16-compile', count, shape, bits, each)
          row['ratio'] = (own.tokensPerSecond / Number(row['peer'])).toFixed(2)
        }
        for (const kind of [
          'products',
          'head',
          'attention',
          'normalisation',
          'elementwise',
          'quantization',
          'optimizer',
          'rest',
        ])
          row[kind] = `${(own.shares[kind] ?? 0).toFixed(0)}%`
        row['peakMB'] = own.peakMegabytes
        row['boundMB'] = own.accountedMegabytes
        rows.push(row)
      }
  return {
    title:
      'Training: tokens a second, time by kind of kernel, peak memory beside weights x 16 bytes + activations + 200 MB',
    rows,
    notes: [
      'bits: weights/activations/keys and values; the peer is shared/peers/train_torch.py with the same bits and threads',
    ],
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , name, bits, threads, steps] = process.argv
  console.log(JSON.stringify(measure(workloads()[name], bits.split(',').map(Number), Number(threads), Number(steps))))
}
