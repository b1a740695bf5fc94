// What quantizing after training cost: damage along data and size, and what wins at equal bytes.

import { conditionsOf, isPlain, type Quantized, type ReportData, trainedRuns } from './data.ts'
import { groupBy, interpolate, line, meanOf, studentQuantile } from './statistics.ts'

/** RTN in integers of one block size (the one most used), of runs trained here at 16 bits: what damage is compared on, and what laws of PTQ are fitted to. */
export function plainDamage(data: ReportData): Quantized[] {
  const rows = plainQuantized(data).filter(one => one.method === 'rtn' && one.element === 'int')
  const blocks = [...groupBy(rows, one => one.block).entries()].sort((a, b) => b[1].length - a[1].length)
  return blocks[0]?.[1] ?? []
}

/** Every quantization of a run that was trained here with nothing quantized. */
export function plainQuantized(data: ReportData): Quantized[] {
  return data.quantized.filter(one => isPlain(one.training) && one.training.trained)
}

/** The exponent of damage at one k, with its 95% interval. */
export interface DamageExponent {
  k: number
  exponent: number
  low: number
  high: number
  points: number
}

/** Growth of damage along data or size, with all else held: exponents by least squares of logarithms, an intercept for each group. */
export function damageExponents(data: ReportData, along: 'd' | 'n' = 'd'): DamageExponent[] {
  const other = along === 'd' ? 'n' : 'd'
  const rows = plainDamage(data).filter(one => one.delta > 0)
  return [...groupBy(rows, one => one.k)]
    .sort(([a], [b]) => a - b)
    .flatMap(([k, group]) => {
      const x: number[] = []
      const y: number[] = []
      let groups = 0
      const alike = groupBy(group, ({ training }) =>
        [training[other], training.schedule, training.corpus, training.family].join('/'),
      )
      for (const same of alike.values()) {
        if (new Set(same.map(one => one.training[along])).size < 2) continue
        // Centring the logarithms of a group removes its intercept.
        const mx = meanOf(same.map(one => Math.log(one.training[along])))
        const my = meanOf(same.map(one => Math.log(one.delta)))
        for (const one of same) {
          x.push(Math.log(one.training[along]) - mx)
          y.push(Math.log(one.delta) - my)
        }
        groups++
      }
      const fitted = line(x, y)
      // Each intercept took a degree of freedom.
      const freedom = x.length - groups - 1
      if (!fitted || freedom < 1) return []
      const half = studentQuantile(freedom) * fitted.bError * Math.sqrt((x.length - 2) / freedom)
      return [{ k, exponent: fitted.b, low: fitted.b - half, high: fitted.b + half, points: x.length }]
    })
}

/** A larger model at k bits against a smaller one that takes the same bytes at more. */
export interface EqualBytes {
  d: number
  /** One larger model's size at one amount of data: what counts as an observation. */
  unit: string
  large: Quantized
  smallN: number
  /** Bits of the smaller's weights that make the bytes equal, between measured widths. */
  smallBits: number
  /** Loss of the larger minus loss of the smaller, nats; below 0 the larger wins. */
  difference: number
}

/** Every pair of sizes (one at least half as large again) under equal conditions, the smaller's loss interpolated to the larger's bytes. */
export function equalBytes(data: ReportData): EqualBytes[] {
  const plain = trainedRuns(data).filter(isPlain)
  const pairs: EqualBytes[] = []
  for (const group of groupBy(
    plainDamage(data),
    ({ training }) => `${conditionsOf(training)}/${training.seed}`,
  ).values()) {
    const bySize = groupBy(group, one => one.training.n)
    for (const [smallN, rows] of bySize) {
      const { training } = rows[0]
      const full = plain.find(one => one.key === training.key)
      const rest = 16 * (training.nTotal - smallN)
      const points = [
        ...rows.map(one => ({ x: one.totalBits, y: one.loss })),
        ...(full ? [{ x: 16 * training.nTotal, y: full.loss }] : []),
      ].sort((a, b) => a.x - b.x)
      for (const large of group) {
        if (large.training.n < 1.5 * smallN) continue
        const loss = interpolate(points, large.totalBits)
        const smallBits = (large.totalBits - rest) / smallN
        if (loss === null || smallBits <= large.bitsPerParameter) continue
        const unit = `${large.training.n}/${conditionsOf(large.training)}`
        pairs.push({ d: large.training.d, unit, large, smallN, smallBits, difference: large.loss - loss })
      }
    }
  }
  return pairs
}

/** The best measured format of one model at one width, or the model itself at 16. */
export interface BestAtWidth {
  k: number
  totalBits: number
  loss: number
  label: string
  n: number
  d: number
  /** One size under one set of conditions, whatever the seed. */
  unit: string
  conditions: string
  seed: number
}

/** The best of each (plain model, k) by loss, and the models themselves at 16 bits. */
export function bestAtWidth(data: ReportData): BestAtWidth[] {
  const row = (training: Quantized['training'], k: number, totalBits: number, loss: number, label: string) => ({
    k,
    totalBits,
    loss,
    label,
    n: training.n,
    d: training.d,
    unit: `${training.n}/${conditionsOf(training)}`,
    conditions: conditionsOf(training),
    seed: training.seed,
  })
  const quantized = [...groupBy(plainQuantized(data), one => `${one.training.key}/${one.k}`).values()].map(group => {
    const best = group.reduce((a, b) => (a.loss <= b.loss ? a : b))
    return row(
      best.training,
      best.k,
      best.totalBits,
      best.loss,
      `${best.training.label}, ${best.format} ${best.method}`,
    )
  })
  const plain = trainedRuns(data)
    .filter(isPlain)
    .map(one => row(one, 16, 16 * one.nTotal, one.loss, one.label))
  return [...quantized, ...plain]
}

/** At the stored size of each k-bit model: its loss minus that of another width's curve over sizes, there. */
export interface WidthContest {
  rival: number
  unit: string
  difference: number
}

/** Contests of width k against every other width at equal bytes: each k-bit model against the other widths' losses, interpolated between their models. */
export function widthContests(data: ReportData, k: number): WidthContest[] {
  return [...groupBy(bestAtWidth(data), one => `${one.conditions}/${one.seed}`).values()].flatMap(group => {
    const curves = [...groupBy(group, one => one.k)].map(([rival, rows]) => ({
      rival,
      points: rows.map(one => ({ x: one.totalBits, y: one.loss })).sort((a, b) => a.x - b.x),
    }))
    return group
      .filter(one => one.k === k)
      .flatMap(one =>
        curves
          .filter(curve => curve.rival !== k)
          .flatMap(({ rival, points }) => {
            const loss = interpolate(points, one.totalBits)
            return loss === null ? [] : [{ rival, unit: one.unit, difference: one.loss - loss }]
          }),
      )
  })
}
