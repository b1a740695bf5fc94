// Ouyang et al. 2024: the degradation by low-bit PTQ as one product of powers of tokens, parameters and bits. It has
// no loss of its own, only the damage.
import { exponent, positive, SIZE_COLUMNS } from './chinchilla.ts'
import { POST_COLUMN } from './kumar-ptq.ts'
import { type Law, NOTHING, numberOf, slot } from './law.ts'
import { hasPost, powerPiece } from './pieces.ts'

/** delta = k D^beta / (N^alpha P_post^gamma). */
export const ouyang: Law = {
  name: 'ouyang',
  title: 'Ouyang, degradation by PTQ',
  formula: '\\Delta_q = k\\, D^{\\beta} N^{-\\alpha} P_{post}^{-\\gamma}',
  source: 'Ouyang et al. 2024, arXiv 2411.17691',
  response: 'delta',
  parameters: [
    positive('k', 'weight of the damage', 'nats', [1e-3, 10]),
    exponent('beta', 'growth of the damage with D', 5, [0.1, 1]),
    exponent('alpha', 'fall of the damage with N', 5, [0.1, 1]),
    exponent('gamma', 'fall of the damage with bits', 50, [1, 10]),
  ],
  columns: [...SIZE_COLUMNS, { ...POST_COLUMN, fallback: undefined }],
  fits: [
    {
      name: 'ouyang2024',
      parameters: { k: 0.017, beta: 0.5251, alpha: 0.2261, gamma: 5.4967 },
      source: 'Ouyang et al. 2024, arXiv 2411.17691, unified law',
      setup: 'Pythia checkpoints, GPTQ of weights with groups of 128, scored on RefinedWeb',
      range: { N: [160e6, 12e9], D: [1e9, 206e9], P_post: [2, 4] },
    },
  ],
  core: {
    c: slot('k'),
    gammaD: slot('beta'),
    gammaN: slot('alpha'),
    H: [powerPiece('gamma', -1, row => numberOf(row, 'P_post'))],
    post: () => true,
  },
  predict(p, c) {
    const n = numberOf(c, 'N')
    if (!hasPost(c)) return { ...NOTHING, nEff: n }
    const delta = (p['k'] * numberOf(c, 'D') ** p['beta']) / (n ** p['alpha'] * numberOf(c, 'P_post') ** p['gamma'])
    return { ...NOTHING, nEff: n, deltaPtq: delta }
  },
}
