// k-bit inference (Dettmers & Zettlemoyer 2023): the score of a quantized model depends on its total bits. The paper
// fits no closed law; it interpolates in the logarithm of total bits, the curves of precisions being parallel. So here:
// one piecewise linear curve, and one offset a precision. Linear in its parameters, hence solved, not searched.
import { RequestError } from '../formats/error.ts'
import { quantile } from './bootstrap.ts'
import type { Configuration, Law, Parameters } from './law.ts'
import { NOTHING, numberOf } from './law.ts'
import { cholesky, largestOf, solveCholesky } from './linear.ts'
import { given } from './pieces.ts'
import { createRandom } from './random.ts'

/** Bits of a row after PTQ, 16 where there was none. */
const precisionOf = (row: Configuration) => numberOf(row, 'P_post', 16)

/** All bits of a model: its column, else N times bits a parameter (else times P_post). */
export function totalBits(row: Configuration): number {
  if (given(row['total_bits'])) return numberOf(row, 'total_bits')
  return numberOf(row, 'N') * numberOf(row, 'bits_per_parameter', precisionOf(row))
}

/** Knots (log2 of total bits) and offsets (by precision) in parameters named `curve 30` and `offset 4`. */
function read(p: Parameters): { knots: [number, number][]; offsets: Map<number, number> } {
  const knots: [number, number][] = []
  const offsets = new Map<number, number>()
  for (const [name, value] of Object.entries(p)) {
    const [kind, at] = name.split(' ')
    if (kind === 'curve') knots.push([Number(at), value])
    if (kind === 'offset') offsets.set(Number(at), value)
  }
  return { knots: knots.sort((a, b) => a[0] - b[0]), offsets }
}

/** Weights of the two knots about x; the outer segments run on. */
function hat(knots: readonly number[], x: number): [number, number, number] {
  let i = 0
  while (i < knots.length - 2 && x > knots[i + 1]) i++
  const share = (x - knots[i]) / (knots[i + 1] - knots[i])
  return [i, 1 - share, share]
}

/** Which precision is best at a number of total bits, and which are tied with it. */
export interface BestBits {
  best: number
  /** Precisions whose difference from the best has an interval that holds 0, or is below the tolerance. */
  tie: number[]
}

/** A fit of the k-bit law. */
export interface KbitFit {
  parameters: Record<string, number>
  intervals: Record<string, [number, number]>
  /** Offsets of each resample, by precision. */
  sample: Record<string, number>[]
  /** Range of total bits of each precision. */
  seen: Record<string, [number, number]>
  objective: number
  predicted: Float64Array
}

function solveLinear(
  x: ArrayLike<number>,
  k: ArrayLike<number>,
  y: ArrayLike<number>,
  weight: ArrayLike<number>,
  knots: readonly number[],
  levels: readonly number[],
): Float64Array | null {
  const m = knots.length + levels.length - 1
  const normal = new Float64Array(m * m)
  const right = new Float64Array(m)
  for (let i = 0; i < y.length; i++) {
    if (weight[i] === 0) continue
    const [at, a, b] = hat(knots, x[i])
    const entries: [number, number][] = [[at, a], [at + 1, b]] // biome-ignore format: two knots
    if (k[i] > 0) entries.push([knots.length + k[i] - 1, 1])
    for (const [p, u] of entries) {
      right[p] += weight[i] * u * y[i]
      for (const [q, v] of entries) normal[p * m + q] += weight[i] * u * v
    }
  }
  for (let i = 0; i < m; i++) normal[i * m + i] += 1e-9 * (normal[i * m + i] || 1)
  if (!cholesky(normal, m)) return null
  solveCholesky(normal, m, right)
  return right
}

/** Fits the curve and the offsets (the widest precision has offset 0) by least squares, with a bootstrap over clusters. */
export function fitKbit(
  rows: readonly Configuration[],
  { bootstrap = 200, seed = 0, clusters }: { bootstrap?: number; seed?: number; clusters?: ArrayLike<number> } = {},
): KbitFit {
  const levels = [...new Set(rows.map(precisionOf))].sort((a, b) => b - a)
  const x = Float64Array.from(rows, row => Math.log2(totalBits(row)))
  const y = Float64Array.from(rows, row => numberOf(row, 'loss'))
  const k = Int32Array.from(rows, row => levels.indexOf(precisionOf(row)))
  const sorted = x.slice().sort()
  const distinct = new Set(sorted).size
  if (distinct < 3)
    throw new RequestError(`law kbit needs at least 3 different totals of bits, the rows have ${distinct}`)
  const count = Math.max(2, Math.min(6, Math.floor(distinct / 4)))
  const knots = [...new Set(Array.from({ length: count }, (_, i) => quantile(sorted, i / (count - 1))))]
  const m = knots.length + levels.length - 1
  if (rows.length <= m)
    throw new RequestError(
      `${rows.length} rows are too few for law kbit: it has ${m} free parameters, expected at least ${m + 1} rows`,
    )
  const names = [...knots.map(v => `curve ${Number(v.toFixed(6))}`), ...levels.slice(1).map(level => `offset ${level}`)]
  const nameAll = (solution: Float64Array): Record<string, number> =>
    Object.fromEntries([[`offset ${levels[0]}`, 0], ...names.map((name, i) => [name, solution[i]] as const)])
  const solution = solveLinear(x, k, y, new Float64Array(rows.length).fill(1), knots, levels)
  if (!solution) throw new RequestError('law kbit cannot be fitted: the rows do not fix its curve')
  const ids = clusters ?? Int32Array.from(rows, (_, i) => i)
  const clusterCount = largestOf(ids) + 1
  const random = createRandom(seed + 1)
  const sample: Record<string, number>[] = []
  for (let b = 0; b < bootstrap; b++) {
    const draws = new Float64Array(clusterCount)
    for (let i = 0; i < clusterCount; i++) draws[Math.floor(random() * clusterCount)]++
    const found = solveLinear(
      x,
      k,
      y,
      Float64Array.from(ids, id => draws[id]),
      knots,
      levels,
    )
    if (found) sample.push(nameAll(found))
  }
  const intervals: Record<string, [number, number]> = {}
  if (sample.length > 1)
    for (const name of names) {
      const values = Float64Array.from(sample, one => one[name]).sort()
      intervals[name] = [quantile(values, 0.025), quantile(values, 0.975)]
    }
  const parameters = nameAll(solution)
  const predicted = Float64Array.from(rows, row => kbit.predict(parameters, row).loss ?? Number.NaN)
  const seen: Record<string, [number, number]> = {}
  rows.forEach((row, i) => {
    const bits = 2 ** x[i]
    const range = seen[precisionOf(row)] ?? [bits, bits]
    seen[precisionOf(row)] = [Math.min(range[0], bits), Math.max(range[1], bits)]
  })
  return {
    parameters,
    intervals,
    sample,
    seen,
    predicted,
    objective: y.reduce((s, v, i) => s + (v - predicted[i]) ** 2, 0),
  }
}

/** The best precision at a number of total bits among those seen there (all, where none was), with its ties; `higher` for accuracies. */
export function bestBits(fit: KbitFit, bits: number, { tolerance = 0, higher = false } = {}): BestBits {
  const { offsets } = read(fit.parameters)
  const there = [...offsets.keys()].filter(
    k => fit.seen[k] && bits >= fit.seen[k][0] * 0.999 && bits <= fit.seen[k][1] * 1.001,
  )
  const candidates = there.length > 0 ? there : [...offsets.keys()]
  const sign = higher ? -1 : 1
  const value = (k: number) => sign * (offsets.get(k) ?? 0)
  const best = candidates.reduce((a, b) => (value(b) < value(a) ? b : a))
  const tie = candidates.filter(k => {
    if (k === best || value(k) - value(best) <= tolerance) return true
    const differences = Float64Array.from(fit.sample, one => sign * (one[`offset ${k}`] - one[`offset ${best}`])).sort()
    return differences.length > 0 && quantile(differences, 0.025) <= 0
  })
  return { best, tie: tie.sort((a, b) => a - b) }
}

/** Loss (or any score) = curve(log2 total bits) + offset of the precision. */
export const kbit: Law = {
  name: 'kbit',
  title: 'k-bit inference: total bits',
  formula: 's = g(\\log_2 \\mathrm{bits}) + o_k,\\; g\\text{ piecewise linear}',
  source: 'Dettmers & Zettlemoyer 2023, arXiv 2212.09720',
  response: 'loss',
  parameters: [],
  columns: [
    { name: 'N', kind: 'number', meaning: 'parameters that are stored' },
    { name: 'P_post', kind: 'number', fallback: null, meaning: 'bits after PTQ; empty: 16' },
    {
      name: 'bits_per_parameter',
      kind: 'number',
      fallback: null,
      meaning: 'all bits stored over parameters, where not P_post',
    },
    {
      name: 'total_bits',
      kind: 'number',
      fallback: null,
      meaning: 'all bits of the model, where not N times bits a parameter',
    },
  ],
  fits: [],
  core: {},
  notFitted: 'kbit is solved, not searched: fitKbit',
  predict(p, c) {
    const { knots, offsets } = read(p)
    const offset = offsets.get(precisionOf(c))
    const bits = totalBits(c)
    if (knots.length < 2 || offset === undefined) return { ...NOTHING, extra: { totalBits: bits } }
    const [i, a, b] = hat(
      knots.map(([at]) => at),
      Math.log2(bits),
    )
    return { ...NOTHING, loss: a * knots[i][1] + b * knots[i + 1][1] + offset, extra: { totalBits: bits } }
  },
}
