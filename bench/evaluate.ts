// Tokens scored a second: the shapes of shared/peers/workloads.json as evaluate_torch.py scores them, and a real small
// model's shape (SmolLM2 135M). `--peer PYTHON` runs transformers beside each, in the same minute.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parameterSpecs } from '../src/model/config.ts'
import { createInference } from '../src/model/inference.ts'
import { type Model, sizeOf } from '../src/model/model.ts'
import { createKernels } from '../src/tensor/index.ts'
import type { Compute, Weights } from '../src/tensor/kernels.ts'
import { modelConfig } from '../src/train/architecture.ts'
import { modelSchema } from '../src/train/config.ts'
import type { BenchOptions, BenchResult } from './main.ts'

interface Shape {
  width: number
  layers: number
  heads: number
  kvHeads?: number
  hidden: number
  vocab: number
  context: number
  batch: number
  tied?: boolean
}

/** The shape of SmolLM2 135M, every token of 512 scored. */
const REAL: Shape = {
  width: 576,
  layers: 30,
  heads: 9,
  kvHeads: 3,
  hidden: 1536,
  vocab: 49_152,
  context: 512,
  batch: 2,
  tied: true,
}

function toBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer)
  const halves = new Uint16Array(bits.length)
  for (let i = 0; i < bits.length; i++) halves[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16
  return halves
}

/** Weights of no meaning but the usual size: speed does not depend on them. */
function makeModel(shape: Shape, compute: Compute): Model {
  const { width, layers, heads, kvHeads, hidden, vocab, context, tied } = shape
  const section = modelSchema.parse({
    family: 'llama',
    width,
    layers,
    heads,
    hidden,
    context,
    ...(kvHeads && { kvHeads }),
    ...(tied && { tied }),
  })
  const config = modelConfig(section, vocab)
  const parameters = new Map<string, Weights>()
  for (const { name, shape: sizes, kind } of parameterSpecs(config)) {
    const values = new Float32Array(sizeOf(sizes))
    for (let i = 0; i < values.length; i++)
      values[i] = kind === 'norm' ? 1 : ((Math.imul(i, 0x9e3779b1) >>> 0) / 2 ** 32 - 0.5) * 0.07
    parameters.set(name, compute === 'bf16' && kind !== 'norm' ? toBf16(values) : values)
  }
  return { config, parameters }
}

/** `--shapes small,medium --threads 2 --peer /path/to/python` */
export function run({ shapes = 'small,medium,large,real', threads = '2', peer }: BenchOptions): BenchResult {
  const path = resolve('../shared/peers/workloads.json')
  const known: Record<string, Shape> = {
    real: REAL,
    ...(existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).train : {}),
  }
  const kernels = createKernels({ threads: Number(threads) })
  const rows = shapes
    .split(',')
    .filter(name => known[name])
    .flatMap(name => {
      const shape = known[name]
      const { batch, context, vocab } = shape
      const ids = Int32Array.from({ length: batch * context }, (_, i) => (i * 7919 + 13) % vocab)
      const targets = Int32Array.from(ids, (_, i) => ((i + 1) % context === 0 ? -1 : ids[i + 1]))
      return (['bf16', 'float'] as const).map(compute => {
        const inference = createInference(makeModel(shape, compute), kernels, { compute, constant: true })
        inference.losses(ids, targets, batch, context)
        let best = Number.POSITIVE_INFINITY
        for (let i = 0; i < 3; i++) {
          const start = performance.now()
          inference.losses(ids, targets, batch, context)
          best = Math.min(best, performance.now() - start)
        }
        const speed = (batch * context) / (best / 1000)
        const peers = peer && name !== 'real' ? peerSpeed(peer, name, compute, threads) : null
        return {
          shape: name,
          compute,
          tokensPerSecond: Math.round(speed),
          peerTokensPerSecond: peers,
          ratio: peers === null ? null : Number((speed / peers).toPrecision(3)),
        }
      })
    })
  return {
    title: `Scoring on ${threads} threads, ${kernels.name} ${kernels.isa}`,
    rows,
    notes: ['The peer is transformers (evaluate_torch.py) in the same dtype; the goal is set against its better one.'],
  }
}

function peerSpeed(python: string, shape: string, compute: Compute, threads: string): number | null {
  const script = resolve('../shared/peers/evaluate_torch.py')
  if (!existsSync(script)) return null
  const output = execFileSync(
    python,
    [script, '--shape', shape, '--dtype', compute === 'bf16' ? 'bf16' : 'f32', '--threads', threads],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  return JSON.parse(output.trim().split('\n').at(-1) as string).tokensPerSecond
}
