// Chinchilla: loss falls as a power of parameters and a power of tokens towards a floor. Every other law builds on it.
import {
  type Column,
  type Law,
  NOTHING,
  numberOf,
  type Parameter,
  type Parameters,
  type PublishedFit,
  slot,
} from './law.ts'

/** The columns N and D that all laws read. */
export const SIZE_COLUMNS: readonly Column[] = [
  { name: 'N', kind: 'number', meaning: 'non-embedding parameters' },
  { name: 'D', kind: 'number', meaning: 'training tokens' },
]

/** An exponent in 1e-6..limit. */
export function exponent(
  name: string,
  meaning: string,
  limit = 5,
  start: readonly [number, number] = [0.08, 0.9],
): Parameter {
  return { name, meaning, unit: '', transform: 'linear', bounds: [1e-6, limit], start }
}

/** A positive factor, moved as its logarithm. */
export function positive(
  name: string,
  meaning: string,
  unit: string,
  start: readonly [number, number],
  bounds: readonly [number, number] = [1e-300, 1e300],
): Parameter {
  return { name, meaning, unit, transform: 'log', bounds, start }
}

export const A = positive('A', 'weight of the term in N', 'nats', [1, 1e4])
export const B = positive('B', 'weight of the term in D', 'nats', [1, 1e4])
export const E: Parameter = {
  name: 'E',
  meaning: 'loss that no size and no data removes',
  unit: 'nats',
  transform: 'linear',
  bounds: [0, 5],
  start: [0.5, 2.5],
}
export const ALPHA = exponent('alpha', 'exponent of N')
export const BETA = exponent('beta', 'exponent of D')

/** A N^-alpha + B D^-beta + E. */
export function chinchillaLoss(p: Parameters, n: number, d: number): number {
  return p['A'] * n ** -p['alpha'] + p['B'] * d ** -(p['beta'] ?? p['alpha']) + p['E']
}

const HOFFMANN_RANGE = { N: [44e6, 16e9], D: [245e6, 318e9], 'D/N': [0.02, 1500] } as const
const HOFFMANN_SETUP = 'Gopher-like transformers on MassiveText, cosine schedule matched to D'
const EPOCH_RANGE = { N: [5.73e7, 1.618e10], D: [2.45e8, 3.18e11], 'D/N': [0.036, 600] } as const

/** Hoffmann's constants, and Epoch's correction of them. */
export const CHINCHILLA_FITS: readonly PublishedFit[] = [
  {
    name: 'besiroglu2024',
    parameters: { A: 482.01, B: 2085.43, E: 1.8172, alpha: 0.3478, beta: 0.3658 },
    source: 'Besiroglu et al. 2024, arXiv 2404.10102, Table 1',
    setup: `${HOFFMANN_SETUP}; 240 runs read from Hoffmann's Figure 4; sum of Huber losses, iterated to convergence`,
    range: EPOCH_RANGE,
  },
  {
    name: 'hoffmann2022',
    parameters: { A: 406.4, B: 410.7, E: 1.69, alpha: 0.34, beta: 0.28 },
    source: 'Hoffmann et al. 2022, arXiv 2203.15556, Eq. 10 (rounded)',
    setup: HOFFMANN_SETUP,
    range: HOFFMANN_RANGE,
    notes: ['from a mean, not a sum, of Huber losses, in a fit stopped early: besiroglu2024 corrects it'],
  },
  {
    name: 'hoffmann2022_tex',
    parameters: {
      A: Math.exp(6.0073404),
      B: Math.exp(6.0179186),
      E: Math.exp(0.5267228),
      alpha: 0.33917084,
      beta: 0.2849083,
    },
    source: 'Hoffmann et al. 2022, arXiv 2203.15556, constants in the TeX source',
    setup: HOFFMANN_SETUP,
    range: HOFFMANN_RANGE,
    notes: ['from a mean, not a sum, of Huber losses, in a fit stopped early: besiroglu2024 corrects it'],
  },
  {
    name: 'hoffmann2022_approaches',
    parameters: { A: 406.4, B: 410.7, E: 1.69, alpha: 0.336, beta: 0.283 },
    source: 'Hoffmann et al. 2022, arXiv 2203.15556, Approach 3 with three-digit exponents, as later papers quote it',
    setup: HOFFMANN_SETUP,
    range: HOFFMANN_RANGE,
    notes: ['from a mean, not a sum, of Huber losses, in a fit stopped early: besiroglu2024 corrects it'],
  },
]

/** L = A/N^alpha + B/D^beta + E. */
export const chinchilla: Law = {
  name: 'chinchilla',
  title: 'Chinchilla',
  formula: 'L = A N^{-\\alpha} + B D^{-\\beta} + E',
  source: 'Hoffmann et al. 2022, arXiv 2203.15556',
  response: 'loss',
  parameters: [A, B, E, ALPHA, BETA],
  columns: SIZE_COLUMNS,
  fits: CHINCHILLA_FITS,
  core: { a: slot('A'), alpha: slot('alpha'), b: slot('B'), beta: slot('beta'), E: slot('E') },
  predict(p, c) {
    const n = numberOf(c, 'N')
    return { ...NOTHING, loss: chinchillaLoss(p, n, numberOf(c, 'D')), nEff: n }
  },
}

/** Chinchilla with one exponent for both. */
export const chinchillaTied: Law = {
  ...chinchilla,
  name: 'chinchilla_tied',
  title: 'Chinchilla, one exponent',
  formula: 'L = A N^{-\\alpha} + B D^{-\\alpha} + E',
  parameters: [A, B, E, ALPHA],
  fits: [
    {
      name: 'muennighoff2023_base',
      parameters: { A: 520.8, B: 1487.7, E: 1.869, alpha: 0.35266 },
      source: 'Muennighoff et al. 2023, arXiv 2305.16264, refit of Hoffmann et al. with equal exponents',
      setup: 'GPT-2-like transformers on C4, single epoch',
      range: { N: [7e6, 8.7e9], D: [1e8, 9e11] },
    },
  ],
  core: { a: slot('A'), alpha: slot('alpha'), b: slot('B'), beta: slot('alpha'), E: slot('E') },
}
