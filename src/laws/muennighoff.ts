// Muennighoff et al. 2023, repeated data: tokens seen again are worth less, and parameters beyond what the unique
// tokens can feed are worth less. Column D counts all tokens seen, D_unique the distinct ones.
import { A, ALPHA, B, BETA, chinchillaLoss, E, positive, SIZE_COLUMNS } from './chinchilla.ts'
import { type Configuration, type Law, NOTHING, numberOf, slot } from './law.ts'
import { repetitionPiece } from './pieces.ts'

const BASE = {
  A: Math.exp(6.255414),
  B: Math.exp(7.3049974),
  E: Math.exp(0.6254804),
  alpha: 0.3526596,
  beta: 0.3526596,
}

const uniqueOf = (row: Configuration) => Math.min(numberOf(row, 'D_unique', numberOf(row, 'D')), numberOf(row, 'D'))

/** Parameters that D unique tokens feed in one compute-optimal epoch, by the paper's own Chinchilla constants. */
function fedBy(tokens: number): number {
  const { alpha, beta } = BASE
  const ratio = ((alpha * BASE.A) / (beta * BASE.B)) ** (1 / (alpha + beta))
  return (tokens * ratio) ** (beta / alpha) * ratio
}

const tokensRepeated = (row: Configuration) => numberOf(row, 'D') / uniqueOf(row) - 1
const parametersRepeated = (row: Configuration) => {
  const n = numberOf(row, 'N')
  return n / Math.min(n, fedBy(uniqueOf(row))) - 1
}
/** U (1 + R*(1 − e^{−R/R*})) over U (1 + R). */
const worth = (r: number, star: number) => (r > 0 ? (1 - star * Math.expm1(-r / star)) / (1 + r) : 1)

/** L = A/N'^alpha + B/D'^beta + E with N', D' the worth of repeated parameters and tokens. */
export const muennighoff: Law = {
  name: 'muennighoff',
  title: 'Muennighoff, repeated data',
  formula:
    "L = A N'^{-\\alpha} + B D'^{-\\beta} + E,\\; D' = U_D + U_D R^*_D (1 - e^{-R_D/R^*_D}),\\; N' = U_N + U_N R^*_N (1 - e^{-R_N/R^*_N})",
  source: 'Muennighoff et al. 2023, arXiv 2305.16264',
  response: 'loss',
  parameters: [
    A,
    B,
    E,
    ALPHA,
    BETA,
    positive('R_D', 'repetitions of tokens after which they are worth 1 − 1/e less', 'epochs', [2, 40], [1e-2, 1e6]),
    positive('R_N', 'the same for excess parameters', '', [2, 40], [1e-2, 1e6]),
  ],
  columns: [
    ...SIZE_COLUMNS,
    { name: 'D_unique', kind: 'number', fallback: null, meaning: 'distinct tokens; empty: all of D' },
  ],
  fits: [
    {
      name: 'muennighoff2023',
      parameters: { ...BASE, R_D: 15.387756, R_N: 5.309743 },
      source: 'Muennighoff et al. 2023, arXiv 2305.16264, appendix A',
      setup: 'GPT-2-like transformers on C4, up to 1,500 epochs',
      range: { N: [7e6, 8.7e9], D: [1e8, 9e11], epochs: [1, 1500] },
    },
  ],
  core: {
    a: slot('A'),
    alpha: slot('alpha'),
    b: slot('B'),
    beta: slot('beta'),
    E: slot('E'),
    F: [repetitionPiece('R_N', parametersRepeated)],
    G: [repetitionPiece('R_D', tokensRepeated)],
  },
  predict(p, c) {
    const nEff = numberOf(c, 'N') * worth(parametersRepeated(c), p['R_N'])
    const dEff = numberOf(c, 'D') * worth(tokensRepeated(c), p['R_D'])
    return { ...NOTHING, loss: chinchillaLoss(p, nEff, dEff), nEff }
  },
}
