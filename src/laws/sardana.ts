// Sardana et al. 2023: Chinchilla's loss, but the compute of a whole life, 6 N D to train plus 2 N for each token
// served, is what should be least. A model that is served much should be smaller and trained longer.
import { CHINCHILLA_FITS, chinchilla, chinchillaLoss } from './chinchilla.ts'
import { type Law, numberOf, type Parameters } from './law.ts'

/** FLOPs of training on d tokens and serving `served` tokens. */
export function lifetimeFlops(n: number, d: number, served: number): number {
  return 6 * n * d + 2 * n * served
}

/** The N and D of least lifetime compute that reach a loss when `served` tokens are served; null where the loss is not above E. */
export function lifetimeOptimum(
  p: Parameters,
  loss: number,
  served: number,
): { n: number; d: number; flops: number } | null {
  const { A, B, E, alpha, beta = p['alpha'] } = p
  const room = loss - E
  if (!(room > 0)) return null
  // share s of the room for the term in N: N = (A/(s room))^{1/alpha}, D = (B/((1-s) room))^{1/beta}; flops is convex in ln s
  const at = (s: number) => {
    const n = (A / (s * room)) ** (1 / alpha)
    const d = (B / ((1 - s) * room)) ** (1 / beta)
    return { n, d, flops: lifetimeFlops(n, d, served) }
  }
  const golden = (Math.sqrt(5) - 1) / 2
  let low = -12
  let high = 12
  const value = (logit: number) => Math.log(at(1 / (1 + Math.exp(-logit))).flops)
  for (let i = 0; i < 90; i++) {
    const a = high - golden * (high - low)
    const b = low + golden * (high - low)
    if (value(a) < value(b)) high = b
    else low = a
  }
  return at(1 / (1 + Math.exp(-(low + high) / 2)))
}

/** Chinchilla with the compute of a lifetime (column D_served). */
export const sardana: Law = {
  ...chinchilla,
  name: 'sardana',
  title: 'Sardana, lifetime compute',
  formula: 'L = A N^{-\\alpha} + B D^{-\\beta} + E,\\; \\min_{N,D} 6 N D + 2 N D_{served}',
  source: 'Sardana et al. 2023, arXiv 2401.00448',
  columns: [
    ...chinchilla.columns,
    { name: 'D_served', kind: 'number', fallback: 0, meaning: 'tokens served over the life' },
  ],
  fits: CHINCHILLA_FITS.filter(fit => fit.name === 'hoffmann2022_approaches').map(fit => ({
    ...fit,
    name: 'sardana2023',
    source: 'Sardana et al. 2023, arXiv 2401.00448, which takes the constants of Hoffmann et al. 2022',
  })),
  predict(p, c) {
    const loss = chinchillaLoss(p, numberOf(c, 'N'), numberOf(c, 'D'))
    const served = numberOf(c, 'D_served', 0)
    const optimum = lifetimeOptimum(p, loss, served)
    return {
      ...chinchilla.predict(p, c),
      extra: {
        lifetimeFlops: lifetimeFlops(numberOf(c, 'N'), numberOf(c, 'D'), served),
        ...(optimum ? { optimalN: optimum.n, optimalD: optimum.d, optimalFlops: optimum.flops } : {}),
      },
    }
  },
}
