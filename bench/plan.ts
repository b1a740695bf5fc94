// Plans once started: a whole training plan by every law and by a fit of one's own with its intervals, a serving plan,
// and frontiers of a million candidates. Options: --runs 7 (the fastest counts).
import { findLaw, fit } from '../src/laws/index.ts'
import {
  DEVICES,
  ECONOMICS,
  frontierOf,
  type LawFit,
  MODELS,
  planDocument,
  planServing,
  publishedFits,
  serveGrid,
  tied,
  trainFrontier,
} from '../src/plan/index.ts'
import type { BenchOptions, BenchResult } from './main.ts'

/** Milliseconds of the fastest of some runs: on the clock, and of the processor. */
function milliseconds(runs: number, action: () => unknown): { wall: number; cpu: number } {
  const least = { wall: Number.POSITIVE_INFINITY, cpu: Number.POSITIVE_INFINITY }
  for (let i = 0; i < runs; i++) {
    const { user, system } = process.cpuUsage()
    const start = performance.now()
    action()
    const used = process.cpuUsage()
    least.wall = Math.min(least.wall, performance.now() - start)
    least.cpu = Math.min(least.cpu, (used.user + used.system - user - system) / 1e3)
  }
  return least
}

/** A fit of one's own to rows that Kumar's law made, with 200 resamples. */
function ownFit(): LawFit {
  const law = findLaw('kumar_unified_train')
  const { parameters } = law.fits[0]
  const rows = [3e7, 6e7, 1.1e8, 2.2e8].flatMap(N =>
    [1.5e9, 6e9, 2.6e10].flatMap(D =>
      [16, 8, 6, 5, 4].flatMap(P =>
        [
          { N, D, P_w: P, P_a: 16, P_kv: 16 },
          { N, D, P_w: 16, P_a: P, P_kv: 16 },
          { N, D, P_w: 16, P_a: 16, P_kv: P },
        ].map((row, i) => ({
          ...row,
          loss: (law.predict(parameters, row).loss as number) * (1 + 0.003 * Math.sin(N + D / 7 + P * 11 + i)),
        })),
      ),
    ),
  )
  const own = fit(rows, law, { starts: 40, bootstrap: 200, diagnose: false })
  return { law, fit: 'own.json', parameters: own.parameters, range: own.range, own }
}

/** Runs the benchmark. */
export function run(options: BenchOptions): BenchResult {
  const runs = Number(options['runs'] ?? 7)
  const device = DEVICES.find(one => one.name === 'h100') as (typeof DEVICES)[number]
  const setting = { device, economics: ECONOMICS }
  const problem = { compute: 1e21, bits: { low: 3, high: 16 }, cost: { kind: 'bits' }, vocab: 32_000 } as const
  const all = publishedFits()
  const kumar = all.filter(one => one.law.name === 'kumar_unified')
  const own = ownFit()
  const parts = { low: 3, high: 16 }
  const along = (low: number, high: number, count: number) =>
    Float64Array.from({ length: count }, (_, i) => low * (high / low) ** (i / (count - 1)))
  const grid = {
    n: along(1e7, 1e12, 100),
    d: along(1e8, 1e14, 200),
    bits: Array.from({ length: 50 }, (_, i) => tied(3 + i / 4)),
  }
  const formats = ['bf16', 'int8@64', 'int6@64', 'int5@64', 'int4@64', 'int3@64', 'nf4@64', 'q4_k_m', 'q5_k_m', 'q8_0']
  const serving = { device, context: 4096, batch: 8, formats, kvFormat: 'bf16' }
  const contexts = Float64Array.from(
    { length: Math.ceil(1e6 / MODELS.length / formats.length) },
    (_, i) => 128 * (i + 1),
  )
  const scattered = [1, 2, 3].map(k =>
    Float64Array.from({ length: 1e6 }, (_, i) => (Math.imul(i + 1, 2654435761 + 2 * k) >>> 0) / 2 ** 32),
  )
  const cases: [string, number, () => unknown][] = [
    [`plan train, all ${all.length} published fits`, 1, () => planDocument(all, problem, setting)],
    ['plan train, one law', 1, () => planDocument(kumar, problem, setting)],
    ['plan train, a fit of one\'s own, 40 resamples', 1, () => planDocument([own], problem, setting)],
    ['plan train, W, A and KV apart', 1, () => planDocument(kumar, { ...problem, bits: { pw: parts, pa: parts, pkv: parts } }, setting)],
    ['plan train, wanted loss', 1, () => planDocument(kumar, { ...problem, compute: undefined, loss: 2.95 }, setting)],
    [`plan serve, ${MODELS.length} models, ${formats.length} formats`, MODELS.length * formats.length, () => planServing(MODELS, serving, kumar[0])],
    ['frontier N x D x bits: loss, compute, memory', grid.n.length * grid.d.length * grid.bits.length, () => trainFrontier(kumar[0], { cost: { kind: 'bits' } }, grid)],
    ['frontier model x format x context: loss, memory, context', MODELS.length * formats.length * contexts.length, () => serveGrid(MODELS, serving, contexts, kumar[0])],
    ['frontier of scattered triples', 1e6, () => frontierOf(scattered[0], scattered[1], scattered[2])],
  ] // biome-ignore format: a table
  return {
    title: 'plans, milliseconds once started',
    rows: cases.map(([name, candidates, action]) => {
      const { wall, cpu } = milliseconds(runs, action)
      return { case: name, candidates, ms: Number(wall.toPrecision(3)), 'cpu ms': Number(cpu.toPrecision(3)) }
    }),
  }
}
