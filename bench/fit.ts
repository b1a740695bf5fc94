// Fitting the Chinchilla law beside scipy on the same rows, objective and grid of starts; time against rows and starts;
// whether intervals hold what they say. Options: --python PATH (a Python with scipy: the peer is run, else its recorded
// run is quoted), --coverage 2000 (repetitions of the simulation), --only speed|rows|starts|coverage|sizes.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { bootstrap, quantile } from '../src/laws/bootstrap.ts'
import { bind, retarget } from '../src/laws/core.ts'
import { sizeGroups } from '../src/laws/hold-out.ts'
import { findLaw, fit, type Law, predictFit } from '../src/laws/index.ts'
import { minimise } from '../src/laws/minimise.ts'
import { createProblem, type Problem, phiAt, withBound } from '../src/laws/problem.ts'
import { createRandom, normal } from '../src/laws/random.ts'
import { halve, project, search } from '../src/laws/starts.ts'
import { type Row, readRows } from '../src/table/index.ts'
import { GOLDEN, SHARED } from '../test/shared.ts'
import type { BenchOptions, BenchResult } from './main.ts'

type Line = Record<string, string | number | boolean | null>

const HUBER = { kind: 'huber', delta: 1e-3 } as const

/** Processor seconds of the fastest of some runs, one thread. */
function seconds(runs: number, action: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < runs; i++) {
    const { user, system } = process.cpuUsage()
    action()
    const now = process.cpuUsage()
    least = Math.min(least, (now.user + now.system - user - system) / 1e6)
  }
  return least
}

const digits = (v: number, n = 3) => Number(v.toPrecision(n))

async function golden(name: string): Promise<readonly Row[]> {
  return (await readRows(name, readFileSync(`${GOLDEN}/fits/${name}`))).rows
}

function problemOf(law: Law, rows: readonly Row[]): Problem {
  return createProblem(
    bind(
      law.core,
      law.parameters,
      rows,
      Float64Array.from(rows, row => Number(row['loss'])),
    ),
    HUBER,
  )
}

/** The usual grid: a, b in 0, 5 … 25; e in −1, −.5 … 1; alpha, beta in 0, .5 … 2. */
function gridStarts(problem: Problem): Float64Array[] {
  const steps = (from: number, by: number, count: number) => Array.from({ length: count }, (_, i) => from + by * i)
  const starts: Float64Array[] = []
  for (const a of steps(0, 5, 6))
    for (const b of steps(0, 5, 6))
      for (const e of steps(-1, 0.5, 5))
        for (const alpha of steps(0, 0.5, 5))
          for (const beta of steps(0, 0.5, 5))
            starts.push(phiAt(problem, Float64Array.of(a, b, Math.exp(e), Math.max(alpha, 1e-6), Math.max(beta, 1e-6))))
  return starts
}

/** Each start with the A, B and E that suit its exponents best; starts that then coincide are kept once. */
function projected(problem: Problem, starts: readonly Float64Array[]): Float64Array[] {
  const kept = new Map<string, Float64Array>()
  for (const start of starts) {
    const phi = start.slice()
    if (project(problem, phi)) kept.set(phi.join(), phi)
  }
  return [...kept.values()]
}

interface Peer {
  objective: number
  grid_cpu_seconds: number
  cpu_seconds_per_resample: number
}

function peerOf(python: string | undefined): { peer: Peer | null; note: string } {
  const folder = `${SHARED}/peers`
  if (python !== undefined) {
    const output = execFileSync(python, [`${folder}/fit_scipy.py`, '--bootstrap', '300'], { encoding: 'utf8' })
    return { peer: JSON.parse(output), note: 'peer: fit_scipy.py, run just before on this machine' }
  }
  if (!existsSync(`${folder}/fit_scipy.json`))
    return { peer: null, note: 'no peer: pass --python PATH of a Python with scipy' }
  const { runs, machine } = JSON.parse(readFileSync(`${folder}/fit_scipy.json`, 'utf8'))
  return { peer: runs[0], note: `peer: recorded on another machine (${machine}); pass --python PATH to run it here` }
}

async function speed(options: BenchOptions, notes: string[]): Promise<Line[]> {
  const rows = (await golden('chinchilla.csv')).filter(row => row['in_epoch_fit'] === 1)
  const { peer, note } = peerOf(options['python'])
  notes.push(note)
  const problem = problemOf(findLaw('chinchilla'), rows)
  const starts = gridStarts(problem)
  const line = (what: string, time: number, objective: number | null, other: number | undefined): Line => ({
    what,
    seconds: digits(time),
    peerSeconds: other === undefined ? null : digits(other),
    timesFaster: other === undefined ? null : digits(other / time),
    objective,
    peerObjective: objective === null ? null : (peer?.objective ?? null),
  })
  const grid = halve(problem, starts)
  const solved = halve(problem, projected(problem, starts))
  const drawn = search(problem, { starts: 200 })
  const clusters = Int32Array.from(rows, (_, i) => i)
  const resample = seconds(3, () => bootstrap(problem, drawn.best, clusters, rows.length, 300)) / 300
  return [
    line(
      'grid of 4,500, A B E solved for at each start',
      seconds(5, () => halve(problem, projected(problem, starts))),
      solved.best.value,
      peer?.grid_cpu_seconds,
    ),
    line(
      'grid of 4,500, every start descended',
      seconds(3, () => halve(problem, starts)),
      grid.best.value,
      peer?.grid_cpu_seconds,
    ),
    line(
      '200 random starts (the default)',
      seconds(5, () => search(problem, { starts: 200 })),
      drawn.best.value,
      peer?.grid_cpu_seconds,
    ),
    line('a bootstrap resample', resample, null, peer?.cpu_seconds_per_resample),
  ]
}

/** Rows that follow Chinchilla with some noise. */
function simulated(count: number, sigma: number, seed: number): Row[] {
  const random = createRandom(seed)
  return Array.from({ length: count }, () => {
    const N = 5e7 * Math.exp(5.3 * random())
    const D = 5e8 * Math.exp(6 * random())
    return { N, D, loss: (482 * N ** -0.3478 + 2085 * D ** -0.3658 + 1.8172) * Math.exp(sigma * normal(random)) }
  })
}

function byRows(): Line[] {
  search(problemOf(findLaw('chinchilla'), simulated(1000, 0.01, 3)), { starts: 60 }) // warm
  return [100, 1000, 10_000, 100_000].map(count => {
    const problem = problemOf(findLaw('chinchilla'), simulated(count, 0.01, 3))
    const time = seconds(count > 1e4 ? 1 : 3, () => search(problem, { starts: 60 }))
    return { what: `rows ${count}, 60 starts`, seconds: digits(time), microsecondsPerRow: digits((1e6 * time) / count) }
  })
}

async function byStarts(): Promise<Line[]> {
  const rows = (await golden('chinchilla.csv')).filter(row => row['in_epoch_fit'] === 1)
  const problem = problemOf(findLaw('chinchilla'), rows)
  search(problem, { starts: 400 }) // warm
  return [50, 200, 800, 3200].map(starts => {
    const time = seconds(3, () => search(problem, { starts }))
    const { best } = search(problem, { starts })
    return {
      what: `starts ${starts}, 240 rows`,
      seconds: digits(time),
      microsecondsPerStart: digits((1e6 * time) / starts),
      objective: best.value,
    }
  })
}

/** How often 95% intervals hold the truth, for each parameter. */
function coverage(repetitions: number): Line[] {
  const rows = simulated(240, 0, 5)
  const clean = Float64Array.from(rows, row => Number(row['loss']))
  const base = problemOf(findLaw('chinchilla'), rows)
  const truth = [Math.log(482), Math.log(2085), 1.8172, 0.3478, 0.3658]
  const start = search(base, { starts: 40 }).best
  const random = createRandom(6)
  const clusters = Int32Array.from(rows, (_, i) => i)
  const inside = new Float64Array(truth.length)
  for (let r = 0; r < repetitions; r++) {
    const noisy = clean.map(v => v * Math.exp(0.005 * normal(random)))
    const problem = withBound(base, retarget(base.bound, noisy))
    const best = minimise(problem, start.phi)
    const { thetas } = bootstrap(problem, best, clusters, rows.length, 200, r + 1)
    truth.forEach((value, j) => {
      const sorted = Float64Array.from(thetas, theta => theta[j]).sort()
      if (quantile(sorted, 0.025) <= value && value <= quantile(sorted, 0.975)) inside[j]++
    })
  }
  return base.bound.parameters.map((p, j) => ({
    what: `95% interval of ${p.name} holds the truth, ${repetitions} simulated tables of 240 runs`,
    share: digits(inside[j] / repetitions),
  }))
}

/** How often 90% prediction intervals hold the runs of a size that was left out of the fit. */
async function bySizes(): Promise<Line[]> {
  const chinchilla = (await golden('chinchilla.csv')).filter(row => row['in_epoch_fit'] === 1)
  const raw = await golden('quest.csv')
  const quest = (await golden('quest_tidy.csv')).filter((_, i) =>
    /^(HalfHadamard(Trust|Clip)|NoQ)/.test(String(raw[i]['w_quant'])),
  )
  const cases: [string, string, readonly Row[]][] = [
    ['chinchilla', 'chinchilla', chinchilla],
    ['quest', 'gmse', quest],
    ['quest', 'multiplier', quest],
    ['quartet', 'quartet', await golden('quartet.csv')],
  ]
  return cases.map(([data, name, rows]) => {
    const group = sizeGroups(rows.map(row => Number(row['N'])))
    let [inside, asked, largest] = [0, 0, '']
    for (const size of new Set(group)) {
      const found = fit(
        rows.filter((_, i) => group[i] !== size),
        findLaw(name),
        { bootstrap: 100, starts: 40, diagnose: false },
      )
      let [here, all] = [0, 0]
      rows.forEach((row, i) => {
        if (group[i] !== size) return
        const { interval } = predictFit(found, row, 0.9)
        if (interval === null) return
        all++
        if (Number(row['loss']) >= interval[0] && Number(row['loss']) <= interval[1]) here++
      })
      inside += here
      asked += all
      if (size === Math.max(...group)) largest = `${here} of ${all}`
    }
    return {
      what: `90% prediction interval holds the size left out, ${data} by ${name}`,
      share: digits(inside / asked),
      rows: asked,
      largestSize: largest,
    }
  })
}

/** Runs the benchmark. */
export async function run(options: BenchOptions): Promise<BenchResult> {
  const notes: string[] = ['seconds are processor time of one thread, the least of some runs']
  const wanted = (part: string) => options['only'] === undefined || options['only'] === part
  const rows: Line[] = []
  if (wanted('speed')) rows.push(...(await speed(options, notes)))
  if (wanted('rows')) rows.push(...byRows())
  if (wanted('starts')) rows.push(...(await byStarts()))
  if (wanted('sizes')) rows.push(...(await bySizes()))
  if (wanted('coverage')) rows.push(...coverage(Number(options['coverage'] ?? 300)))
  return { title: 'fit: the Chinchilla law to 240 runs, sum of Huber losses of ln loss', rows, notes }
}
