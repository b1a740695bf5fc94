// Products of packed operands on one core, as a share of what the units do in registers alone (measured in the same
// minute), with the time of packing apart; at square shapes and at those of the training workloads.
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createEngine, missingReason } from '../src/tensor/addon.ts'
import type { BenchOptions, BenchResult } from './main.ts'

const KINDS = ['bf16', 'int8', 'f32'] as const

/** Rows, inputs and outputs of a product. */
type Shape = readonly [number, number, number]

/** The products of each training workload: attention's and the MLP's matrices, and the unembedding. */
function trainingShapes(): Shape[] {
  const file = join(resolve(process.env['BITLAW_SHARED'] ?? '../shared'), 'peers', 'workloads.json')
  if (!existsSync(file)) return []
  const { train } = JSON.parse(readFileSync(file, 'utf8'))
  return Object.values(train as Record<string, { width: number; hidden: number; vocab: number }>).flatMap(
    ({ width, hidden, vocab }): Shape[] => [
      [960, width, 3 * width],
      [960, width, 2 * hidden],
      [960, hidden, width],
      [960, width, vocab],
    ],
  )
}

/** `--kinds bf16,int8 --shapes 960x512x512,… --repeats 30` */
export function run(options: BenchOptions): BenchResult {
  const made = createEngine({ threads: 1 })
  if (made === undefined) throw new Error(`there are no native kernels: ${missingReason()}`)
  const { addon, engine } = made
  const kinds = options.kinds?.split(',') ?? KINDS
  const repeats = Number(options.repeats ?? 30)
  const squares: Shape[] = [
    [960, 512, 512],
    [960, 1024, 1024],
    [960, 2048, 2048],
    [960, 512, 4096],
    [960, 4096, 512],
  ]
  const asked = options.shapes?.split(',').map(word => word.split('x').map(Number) as unknown as Shape)
  const rows = kinds.flatMap(kind => {
    const peaks: number[] = []
    const measurePeak = () => {
      for (let i = 0; i < 5; i++) peaks.push(addon.peak(engine, kind, 100_000))
    }
    measurePeak()
    const measured = (asked ?? [...squares, ...trainingShapes()]).map(([m, k, n]) => {
      const [packing, product] = addon.product(engine, kind, m, k, n, repeats)
      measurePeak()
      return { kind, m, k, n, packing, product }
    })
    // The median: a clock that slips for one measurement must not set the limit.
    const peak = peaks.sort((a, b) => a - b)[peaks.length >> 1]
    return measured.map(({ kind, m, k, n, packing, product }) => ({
      kind,
      rows: m,
      inputs: k,
      outputs: n,
      'Gop/s': Math.round((2 * m * k * n) / product / 1e9),
      peak: Math.round(peak / 1e9),
      share: Number(((2 * m * k * n) / product / peak).toFixed(3)),
      withPacking: Number(((2 * m * k * n) / (product + packing) / peak).toFixed(3)),
    }))
  })
  return {
    title: `Products of packed operands, one core, path ${addon.pathName(engine)}`,
    rows,
    notes: ['share: of the units in registers alone'],
  }
}
