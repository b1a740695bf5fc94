// Kumar et al. 2024, quantization after training: the damage grows with tokens, falls with parameters and falls
// exponentially with the bits kept; models trained at few bits lose less. Only C_T·e^b can be found from data, so fits
// hold b = 0 and their C_T is that product.
import { A, ALPHA, B, chinchillaLoss, E, exponent, positive, SIZE_COLUMNS } from './chinchilla.ts'
import {
  effectiveShare,
  KUMAR_RANGE,
  KUMAR_SETUP,
  optimalBits,
  partColumns,
  partParameters,
  parts,
  table2,
} from './kumar.ts'
import { type Column, type Law, NOTHING, numberOf, type Parameter, type Parameters, slot } from './law.ts'
import { bitsPiece, hasPost, postBitsPiece, trainedBitsPiece } from './pieces.ts'

const C_T = positive('C_T', 'weight of the damage by PTQ (times e^b)', 'nats', [0.01, 1])
const GAMMA_D = exponent('gamma_D', 'growth of the damage with D', 5, [0.1, 1])
const GAMMA_N = exponent('gamma_N', 'fall of the damage with N', 5, [0.1, 1])
const GAMMA_POST = positive('gamma_post', 'bits over which the damage falls by e', 'bits', [0.2, 2], [1e-3, 1e4])
/** The column of bits after PTQ. */
export const POST_COLUMN: Column = {
  name: 'P_post',
  kind: 'number',
  fallback: null,
  meaning: 'bits of weights after PTQ; empty: none',
}
const PRODUCT_NOTE = 'only C_T·e^b is identified by data; a fit has b = 0'

/** C_T D^gamma_D / N^gamma_N exp(−P_post/gamma_post + b). */
export function damage(p: Parameters, n: number, d: number, post: number): number {
  const { C_T, gamma_D, gamma_N, gamma_post, b = 0 } = p
  return ((C_T * d ** gamma_D) / n ** gamma_N) * Math.exp(-post / gamma_post + b)
}

/** Loss after PTQ minus before, for a model trained in 16 bits. */
export const kumarDelta: Law = {
  name: 'kumar_delta',
  title: 'Kumar, damage by PTQ',
  formula: '\\delta = C_T D^{\\gamma_D} N^{-\\gamma_N} e^{-P_{post}/\\gamma_{post} + b}',
  source: 'Kumar et al. 2024, arXiv 2411.04330, Eq. 2',
  response: 'delta',
  parameters: [C_T, GAMMA_D, GAMMA_N, GAMMA_POST],
  columns: [...SIZE_COLUMNS, { ...POST_COLUMN, fallback: undefined }],
  fits: [
    {
      name: 'kumar2024',
      parameters: table2(['A', 'B', 'E', 'alpha', 'beta', 'C_T', 'gamma_D', 'gamma_N', 'gamma_post', 'b']),
      source: 'Kumar et al. 2024, arXiv 2411.04330, Table 2 and appendix K',
      setup: `${KUMAR_SETUP}; GPTQ of weights`,
      range: { N: KUMAR_RANGE.N, D: KUMAR_RANGE.D, P_post: KUMAR_RANGE.P_post },
      notes: [PRODUCT_NOTE],
    },
  ],
  core: {
    c: slot('C_T'),
    gammaD: slot('gamma_D'),
    gammaN: slot('gamma_N'),
    H: [postBitsPiece('gamma_post')],
    post: () => true,
  },
  predict(p, c) {
    const n = numberOf(c, 'N')
    const d = numberOf(c, 'D')
    const before = p['A'] === undefined ? null : chinchillaLoss(p, n, d)
    if (!hasPost(c)) return { ...NOTHING, loss: before, nEff: n }
    const post = numberOf(c, 'P_post')
    const delta = damage(p, n, d, post)
    const dCrit = before === null ? null : criticalTokens(p, damage(p, n, 1, post))
    return { ...NOTHING, loss: before === null ? null : before + delta, nEff: n, deltaPtq: delta, dCrit }
  },
}

/**
 * D_crit, where d/dD of B D^-beta + delta is zero: (beta B / (gamma_D delta_1))^{1/(gamma_D + beta)}, delta_1 being the damage at D = 1.
 */
function criticalTokens(p: Parameters, unitDamage: number): number {
  const beta = p['beta'] ?? p['alpha']
  return ((beta * p['B']) / (p['gamma_D'] * unitDamage)) ** (1 / (p['gamma_D'] + beta))
}

const LIST = parts(['w', 'a', 'kv'], true)
const TRAINED = [
  ['P_w', 'C_w'],
  ['P_a', 'C_a'],
  ['P_kv', 'C_kv'],
] as const

const trained = (name: string, part: string): Parameter =>
  positive(
    name,
    `how fast training ${part} at more bits than P_post exposes them to damage`,
    '1/bit',
    [0.3, 3],
    [1e-4, 1e4],
  )

/** Training and PTQ in one law (Eq. 9): delta by N_eff, and robust models lose less. */
export const kumarUnified: Law = {
  name: 'kumar_unified',
  title: 'Kumar, unified: training and PTQ',
  formula:
    'L = A N_{eff}^{-\\alpha} + B D^{-\\alpha} + E + \\delta,\\; \\delta = C_T D^{\\gamma_D} N_{eff}^{-\\gamma_N} e^{-P_{post}/\\gamma_{post} + b} \\prod_{x \\in w,a,kv} (1 - e^{-C_x (P_x - P_{post})})',
  source: 'Kumar et al. 2024, arXiv 2411.04330, Eq. 9',
  response: 'loss',
  parameters: [
    A,
    B,
    E,
    ALPHA,
    ...partParameters(LIST),
    C_T,
    GAMMA_D,
    GAMMA_N,
    GAMMA_POST,
    trained('C_w', 'weights'),
    trained('C_a', 'activations'),
    trained('C_kv', 'the KV cache'),
  ],
  columns: [...SIZE_COLUMNS, ...partColumns(LIST), POST_COLUMN],
  fits: [
    {
      name: 'kumar2024',
      parameters: {
        ...table2(['A', 'B', 'E', 'alpha', 'gamma_w', 'n_w', 'gamma_a', 'n_a', 'gamma_kv', 'n_kv']),
        ...table2(['C_T', 'gamma_D', 'gamma_N', 'gamma_post', 'b']),
        C_w: 1,
        C_a: 1,
        C_kv: 1,
      },
      source: 'Kumar et al. 2024, arXiv 2411.04330, Table 2 and appendix K',
      setup: `${KUMAR_SETUP}; GPTQ of weights`,
      range: KUMAR_RANGE,
      notes: [PRODUCT_NOTE, 'the paper does not print C_w, C_a and C_kv: 1 is taken'],
    },
  ],
  core: {
    a: slot('A'),
    alpha: slot('alpha'),
    b: slot('B'),
    beta: slot('alpha'),
    E: slot('E'),
    c: slot('C_T'),
    gammaD: slot('gamma_D'),
    gammaN: slot('gamma_N'),
    F: LIST.map(({ column, gamma, n }) => bitsPiece(column, gamma, n)),
    H: [postBitsPiece('gamma_post'), ...TRAINED.map(([column, name]) => trainedBitsPiece(column, name))],
    post: hasPost,
  },
  predict(p, c) {
    const d = numberOf(c, 'D')
    const nEff = numberOf(c, 'N') * effectiveShare(LIST, p, c)
    const before = chinchillaLoss(p, nEff, d)
    const bits = optimalBits(LIST, p)
    if (!hasPost(c)) return { ...NOTHING, loss: before, nEff, optimalBits: bits }
    const post = numberOf(c, 'P_post')
    let robust = 1
    for (const [column, name] of TRAINED)
      robust *= Math.max(0, -Math.expm1(-p[name] * (numberOf(c, column, 16) - post)))
    const delta = damage(p, nEff, d, post) * robust
    const dCrit = robust > 0 ? criticalTokens(p, damage(p, nEff, 1, post) * robust) : null
    return { loss: before + delta, nEff, deltaPtq: delta, dCrit, optimalBits: bits }
  },
}
