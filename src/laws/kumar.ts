// Kumar et al. 2024, training in low precision: fewer bits act as fewer parameters, N_eff = N times one factor
// 1 − exp(−P/gamma + n) for each quantized part. The paper prints the factors without the offsets n but fitted with
// them; both forms are laws here. Factors at 16 bits are computed, not set to 1.
import { A, ALPHA, B, BETA, chinchillaLoss, E, positive, SIZE_COLUMNS } from './chinchilla.ts'
import type { Column, Configuration, Law, Parameter, Parameters, Prediction, PublishedFit } from './law.ts'
import { bitsOf, NOTHING, numberOf, slot } from './law.ts'
import { bitsFactor, bitsPiece } from './pieces.ts'

/** One quantized part of the forward pass. */
export interface Part {
  column: 'P_w' | 'P_a' | 'P_kv'
  gamma: string
  n?: string
}

const WORDS = { P_w: 'weights', P_a: 'activations', P_kv: 'the KV cache' } as const

/** Parts with parameters gamma_<x>, and n_<x> where offsets are wanted. */
export function parts(which: readonly ('w' | 'a' | 'kv')[], offset: boolean): Part[] {
  return which.map(x => ({ column: `P_${x}`, gamma: `gamma_${x}`, ...(offset ? { n: `n_${x}` } : {}) }))
}

/** Parameters of parts: gamma in bits, n the offset. */
export function partParameters(list: readonly Part[]): Parameter[] {
  return list.flatMap(({ column, gamma, n }) => {
    const out = [positive(gamma, `bits over which ${WORDS[column]} lose capacity`, 'bits', [0.5, 5], [1e-3, 1e4])]
    if (n === undefined) return out
    const offset: Parameter = {
      name: n,
      meaning: `offset of the factor of ${WORDS[column]}`,
      unit: '',
      transform: 'linear',
      bounds: [-100, 100],
      start: [-0.3, 1],
    }
    return [...out, offset]
  })
}

/** Columns of bits that parts read. */
export function partColumns(list: readonly Part[]): Column[] {
  return list.map(({ column }) => ({
    name: column,
    kind: 'number',
    fallback: 16,
    meaning: `bits of ${WORDS[column]} in training`,
  }))
}

/** N_eff / N: the product of the parts' factors. */
export function effectiveShare(list: readonly Part[], p: Parameters, c: Configuration): number {
  let share = 1
  for (const { column, gamma, n } of list) share *= bitsFactor(bitsOf(c, column), p[gamma], n === undefined ? 0 : p[n])
  return share
}

/**
 * The compute-optimal bits when all parts are trained alike and compute is proportional to N·D·P: the P where
 * d ln(N_eff/N)/dP = 1/P, that is, the maximum of share(P)/P. Null where no maximum lies in 1..64 bits.
 */
export function optimalBits(list: readonly Part[], p: Parameters): number | null {
  const known = solved.get(p)
  if (known?.list === list) return known.bits
  const bits = solveOptimalBits(list, p)
  solved.set(p, { list, bits })
  return bits
}

/** A planner asks thousands of times about the same constants. */
const solved = new WeakMap<Parameters, { list: readonly Part[]; bits: number | null }>()

function solveOptimalBits(list: readonly Part[], p: Parameters): number | null {
  // slope(P) = P · d ln(share)/dP − 1 falls from +inf (where the first factor reaches 0) to −1
  const slope = (bits: number) => {
    let sum = -1
    for (const { gamma, n } of list) {
      const e = Math.exp(-bits / p[gamma] + (n === undefined ? 0 : p[n]))
      sum += e >= 1 ? Number.POSITIVE_INFINITY : ((bits / p[gamma]) * e) / (1 - e)
    }
    return sum
  }
  let low = 1e-6
  let high = 64
  if (!(slope(low) > 0) || !(slope(high) < 0)) return null
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2
    if (slope(middle) > 0) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Table 2 of the paper; n_x are the offsets of appendix K, without which it does not reproduce its own figures. */
const KUMAR_TABLE2: Parameters = {
  A: 4299,
  B: 18060,
  E: 2.7648,
  alpha: 0.4965,
  beta: 0.4965,
  gamma_w: 2.6745,
  n_w: 0.3037,
  gamma_a: 2.2102,
  n_a: 1.4072,
  gamma_kv: 0.9578,
  n_kv: 2.4185,
  C_T: 0.0598,
  gamma_D: 0.5068,
  gamma_N: 0.3439,
  gamma_post: 0.5907,
  b: 1.1277,
}

/** Table 2's constants by name. */
export function table2(names: readonly string[]): Parameters {
  return Object.fromEntries(names.map(name => [name, KUMAR_TABLE2[name]]))
}

/** What Kumar et al. trained. */
export const KUMAR_SETUP = 'OLMo-style transformers on Dolma, 30M to 220M parameters, cosine schedule, integer types'

/** What Kumar et al. validated. */
export const KUMAR_RANGE = {
  N: [30e6, 1.7e9],
  D: [1.5e9, 26e9],
  P_w: [3, 16],
  P_a: [3, 16],
  P_kv: [3, 16],
  P_post: [3, 16],
} as const

/** A training law with these parts; one exponent for N and D where `tied`. */
function trainingLaw(
  name: string,
  title: string,
  formula: string,
  list: readonly Part[],
  tied: boolean,
  fits: readonly PublishedFit[],
): Law {
  return {
    name,
    title,
    formula,
    source: 'Kumar et al. 2024, arXiv 2411.04330',
    response: 'loss',
    parameters: [A, B, E, ALPHA, ...(tied ? [] : [BETA]), ...partParameters(list)],
    columns: [...SIZE_COLUMNS, ...partColumns(list)],
    fits,
    core: {
      a: slot('A'),
      alpha: slot('alpha'),
      b: slot('B'),
      beta: slot(tied ? 'alpha' : 'beta'),
      E: slot('E'),
      F: list.map(({ column, gamma, n }) => bitsPiece(column, gamma, n)),
    },
    predict(p, c): Prediction {
      const nEff = numberOf(c, 'N') * effectiveShare(list, p, c)
      return { ...NOTHING, loss: chinchillaLoss(p, nEff, numberOf(c, 'D')), nEff, optimalBits: optimalBits(list, p) }
    },
  }
}

const FACTOR = (x: string, offset: boolean) => `(1 - e^{-P_${x}/\\gamma_${x}${offset ? ` + n_${x}` : ''}})`
const LOSS = (tied: boolean) => `L = A N_{eff}^{-\\alpha} + B D^{-\\${tied ? 'alpha' : 'beta'}} + E`

const TIED: Part[] = [{ column: 'P_w', gamma: 'gamma' }]
const TIED_OFFSET: Part[] = [{ column: 'P_w', gamma: 'gamma', n: 'n' }]
const ALL_OFFSET = parts(['w', 'a', 'kv'], true)
const TRAIN_NAMES = ['A', 'B', 'E', 'alpha', 'gamma_w', 'n_w', 'gamma_a', 'n_a', 'gamma_kv', 'n_kv']

/** One factor for weights and activations at the same width (reads P_w). */
export const kumarTied = trainingLaw(
  'kumar_tied',
  'Kumar, one factor, no offset',
  `${LOSS(false)},\\; N_{eff} = N (1 - e^{-P/\\gamma})`,
  TIED,
  false,
  [],
)
/** One factor with an offset. */
export const kumarTiedOffset = trainingLaw(
  'kumar_tied_offset',
  'Kumar, one factor with offset',
  `${LOSS(false)},\\; N_{eff} = N (1 - e^{-P/\\gamma + n})`,
  TIED_OFFSET,
  false,
  [],
)
/** A factor each for weights and activations. */
export const kumarWa = trainingLaw(
  'kumar_wa',
  'Kumar, weights and activations, no offsets',
  `${LOSS(false)},\\; N_{eff} = N ${FACTOR('w', false)}${FACTOR('a', false)}`,
  parts(['w', 'a'], false),
  false,
  [],
)
/** A factor each for weights and activations, with offsets. */
export const kumarWaOffset = trainingLaw(
  'kumar_wa_offset',
  'Kumar, weights and activations with offsets',
  `${LOSS(false)},\\; N_{eff} = N ${FACTOR('w', true)}${FACTOR('a', true)}`,
  parts(['w', 'a'], true),
  false,
  [
    {
      name: 'kumar2024_wa',
      parameters: table2(['A', 'B', 'E', 'alpha', 'beta', 'gamma_w', 'n_w', 'gamma_a', 'n_a']),
      source: 'Kumar et al. 2024, Table 2 and appendix K, without the factor of the KV cache',
      setup: KUMAR_SETUP,
      range: KUMAR_RANGE,
    },
  ],
)
/** Weights, activations and KV cache, with offsets, one exponent: the paper's training law. */
export const kumarUnifiedTrain = trainingLaw(
  'kumar_unified_train',
  'Kumar, training: weights, activations, KV cache',
  `${LOSS(true)},\\; N_{eff} = N ${FACTOR('w', true)}${FACTOR('a', true)}${FACTOR('{kv}', true)}`,
  ALL_OFFSET,
  true,
  [
    {
      name: 'kumar2024',
      parameters: table2(TRAIN_NAMES),
      source: 'Kumar et al. 2024, arXiv 2411.04330, Table 2 and appendix K',
      setup: KUMAR_SETUP,
      range: KUMAR_RANGE,
    },
    {
      name: 'kumar2024_fp',
      parameters: { ...table2(TRAIN_NAMES), gamma_w: 2.8111, n_w: 0.124 },
      source: 'Kumar et al. 2024, floating-point weights (gamma_w, n_w); the rest Table 2',
      setup: KUMAR_SETUP.replace('integer types', 'floating-point weights'),
      range: KUMAR_RANGE,
    },
    {
      name: 'kumar2024_no_offsets',
      parameters: { ...table2(TRAIN_NAMES), n_w: 0, n_a: 0, n_kv: 0 },
      source: 'Kumar et al. 2024, Table 2 in the printed form, without offsets',
      setup: KUMAR_SETUP,
      range: KUMAR_RANGE,
      notes: ['the printed form; the constants were fitted with offsets'],
    },
  ],
)
