// The forms that Kumar et al. compare with N_eff in their Table 1: precision as a term of its own, as fewer tokens, as
// fewer parameters and tokens, as a power. All read P_w and have no offsets; fit them beside `kumar_tied`.
import { A, ALPHA, B, BETA, chinchillaLoss, E, positive, SIZE_COLUMNS } from './chinchilla.ts'
import type { Column, Core, Law, Parameter, Parameters } from './law.ts'
import { bitsOf, NOTHING, numberOf, slot } from './law.ts'
import { bitsFactor, bitsPiece, powerPiece } from './pieces.ts'

const BITS: Column = {
  name: 'P_w',
  kind: 'number',
  fallback: 16,
  meaning: 'bits of weights (or of all parts alike) in training',
}
const CHINCHILLA: Core = { a: slot('A'), alpha: slot('alpha'), b: slot('B'), beta: slot('beta'), E: slot('E') }
const gammaOf = (name: string, of: string): Parameter =>
  positive(name, `bits over which ${of} are lost`, 'bits', [0.5, 5], [1e-3, 1e4])
const power = (meaning: string): Parameter => ({
  name: 'gamma',
  meaning,
  unit: '',
  transform: 'linear',
  bounds: [1e-6, 20],
  start: [0.1, 3],
})

function rival(
  name: string,
  title: string,
  formula: string,
  parameters: readonly Parameter[],
  core: Core,
  shares: (p: Parameters, bits: number) => { n: number; d: number; extra?: number },
): Law {
  return {
    name,
    title,
    formula,
    source: 'Kumar et al. 2024, arXiv 2411.04330, Table 1',
    response: 'loss',
    parameters: [A, B, E, ALPHA, BETA, ...parameters],
    columns: [...SIZE_COLUMNS, BITS],
    fits: [],
    core: { ...CHINCHILLA, ...core },
    predict(p, c) {
      const { n, d, extra = 0 } = shares(p, bitsOf(c, 'P_w'))
      const nEff = numberOf(c, 'N') * n
      return { ...NOTHING, loss: chinchillaLoss(p, nEff, numberOf(c, 'D') * d) + extra, nEff }
    },
  }
}

/** Precision as a term of its own. */
export const kumarAdditive = rival(
  'kumar_additive',
  'Kumar rival: additive power law',
  'L = A N^{-\\alpha} + B D^{-\\beta} + C P^{-\\gamma} + E',
  [positive('C', 'weight of the term in P', 'nats', [0.1, 10]), power('exponent of P')],
  { c: slot('C'), H: [powerPiece('gamma', -1, row => bitsOf(row, 'P_w'))] },
  (p, bits) => ({ n: 1, d: 1, extra: p['C'] * bits ** -p['gamma'] }),
)

/** Precision as fewer tokens. */
export const kumarDEff = rival(
  'kumar_d_eff',
  'Kumar rival: effective tokens',
  'L = A N^{-\\alpha} + B D_{eff}^{-\\beta} + E,\\; D_{eff} = D (1 - e^{-P/\\gamma})',
  [gammaOf('gamma', 'tokens')],
  { G: [bitsPiece('P_w', 'gamma')] },
  (p, bits) => ({ n: 1, d: bitsFactor(bits, p['gamma']) }),
)

/** Precision as fewer parameters and tokens by the same factor. */
export const kumarNdEffTied = rival(
  'kumar_nd_eff_tied',
  'Kumar rival: effective parameters and tokens, one gamma',
  'L = A N_{eff}^{-\\alpha} + B D_{eff}^{-\\beta} + E,\\; N_{eff}/N = D_{eff}/D = 1 - e^{-P/\\gamma}',
  [gammaOf('gamma', 'parameters and tokens')],
  { F: [bitsPiece('P_w', 'gamma')], G: [bitsPiece('P_w', 'gamma')] },
  (p, bits) => ({ n: bitsFactor(bits, p['gamma']), d: bitsFactor(bits, p['gamma']) }),
)

/** Precision as fewer parameters and tokens, a factor each. */
export const kumarNdEff = rival(
  'kumar_nd_eff',
  'Kumar rival: effective parameters and tokens',
  'L = A N_{eff}^{-\\alpha} + B D_{eff}^{-\\beta} + E,\\; N_{eff} = N (1 - e^{-P/\\gamma_n}),\\; D_{eff} = D (1 - e^{-P/\\gamma_d})',
  [gammaOf('gamma_n', 'parameters'), gammaOf('gamma_d', 'tokens')],
  { F: [bitsPiece('P_w', 'gamma_n')], G: [bitsPiece('P_w', 'gamma_d')] },
  (p, bits) => ({ n: bitsFactor(bits, p['gamma_n']), d: bitsFactor(bits, p['gamma_d']) }),
)

/** Precision as a power beside N. */
export const kumarMultiplicative = rival(
  'kumar_multiplicative',
  'Kumar rival: multiplicative power law',
  'L = A (N P^{\\gamma})^{-\\alpha} + B D^{-\\beta} + E',
  [power('power of P that acts as N')],
  { F: [powerPiece('gamma', 1, row => bitsOf(row, 'P_w'))] },
  (p, bits) => ({ n: bits ** p['gamma'], d: 1 }),
)
