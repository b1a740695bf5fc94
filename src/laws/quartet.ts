// Quartet (Castro et al. 2025): an outer exponent lets the loss bend more than Chinchilla's, the forward format costs
// parameters (eff_N) and the backward format costs tokens (eff_D).
import { E, exponent, positive, SIZE_COLUMNS } from './chinchilla.ts'
import type { Configuration, Law, Parameter, Parameters, PublishedFit } from './law.ts'
import { NOTHING, numberOf, slot, textOf } from './law.ts'
import { freeParameters } from './multiplier.ts'
import { freePiece, isPlain } from './pieces.ts'

const SOURCE = 'Castro et al. 2025 (Quartet), arXiv 2505.14669'
const PARAMETERS: readonly Parameter[] = [
  positive('A', 'weight of the term in N, inside the outer power', '', [1, 1e6]),
  positive('B', 'weight of the term in D, inside the outer power', '', [1, 1e6]),
  { ...E, start: [0.2, 2.2] },
  exponent('alpha', 'exponent of N inside the outer power', 20, [0.2, 1.2]),
  exponent('beta', 'exponent of D inside the outer power', 20, [0.2, 1.2]),
  {
    name: 'gamma',
    meaning: 'outer power',
    unit: '',
    transform: 'linear',
    bounds: [0.01, 5],
    start: [0.15, 1],
  },
]
const BASE: Parameters = { A: 152000, B: 525000, E: 1.35, alpha: 0.589, beta: 0.544, gamma: 0.274 }
const FIT: Omit<PublishedFit, 'parameters'> = {
  name: 'quartet2025',
  source: `${SOURCE}, Table of scaling-law constants`,
  setup: 'Llama-like transformers on C4, 30M to 200M parameters, MXFP4 forward and backward',
  range: { N: [30e6, 200e6], D: [0.75e9, 160e9], 'D/N': [25, 800] },
}

const side = (prefix: string, column: string) => (row: Configuration) => {
  const name = textOf(row, column)
  return name === undefined || isPlain(name) ? null : `${prefix} ${name}`
}
const forward = side('eff_N', 'forward')
const backward = side('eff_D', 'backward')

function predictQuartet(p: Parameters, c: Configuration) {
  const effN = forward(c)
  const effD = backward(c)
  const nEff = numberOf(c, 'N') * (effN === null ? 1 : p[effN])
  const dEff = numberOf(c, 'D') * (effD === null ? 1 : p[effD])
  if (!(nEff > 0 && dEff > 0)) return NOTHING
  const inner = p['A'] * nEff ** -p['alpha'] + p['B'] * dEff ** -p['beta']
  return { ...NOTHING, loss: inner ** p['gamma'] + p['E'], nEff }
}

const CORE = {
  a: slot('A'),
  alpha: slot('alpha'),
  b: slot('B'),
  beta: slot('beta'),
  E: slot('E'),
  gamma: slot('gamma'),
} as const

/** (A/N^alpha + B/D^beta)^gamma + E. */
export const quartetBase: Law = {
  name: 'quartet_base',
  title: 'Quartet, base',
  formula: 'L = (A N^{-\\alpha} + B D^{-\\beta})^{\\gamma} + E',
  source: SOURCE,
  response: 'loss',
  parameters: PARAMETERS,
  columns: SIZE_COLUMNS,
  fits: [{ ...FIT, parameters: BASE }],
  core: CORE,
  predict: (p, c) => predictQuartet(p, { N: c['N'], D: c['D'] }),
}

/** With a multiplier of N for each forward format and of D for each backward format. */
export const quartet: Law = {
  ...quartetBase,
  name: 'quartet',
  title: 'Quartet, forward and backward formats',
  formula: 'L = (A (N\\,\\mathrm{eff}_N)^{-\\alpha} + B (D\\,\\mathrm{eff}_D)^{-\\beta})^{\\gamma} + E',
  parametersFor: rows => [
    ...freeParameters(rows, forward, format => `share of N that ${format} leaves in the forward pass`),
    ...freeParameters(rows, backward, format => `share of D that ${format} leaves in the backward pass`),
  ],
  columns: [
    ...SIZE_COLUMNS,
    { name: 'forward', kind: 'text', fallback: null, meaning: 'format of the forward pass (BF16: not quantized)' },
    { name: 'backward', kind: 'text', fallback: null, meaning: 'format of the backward pass' },
  ],
  fits: [
    {
      ...FIT,
      parameters: {
        ...BASE,
        'eff_N SR': 0.42,
        'eff_N RTN': 0.59,
        'eff_N QuEST': 0.64,
        'eff_D SR': 0.88,
        'eff_D RTN': 0.93,
        'eff_D QuEST': 0.83,
        'eff_N AlbertTsengQuantizer': 0.42,
        'eff_N AlbertTsengDeterministic': 0.59,
        'eff_D AlbertTsengQuantizer': 0.88,
        'eff_D AlbertTsengDeterministic': 0.93,
      },
      notes: ['SR is AlbertTsengQuantizer and RTN AlbertTsengDeterministic in the authors’ tables'],
    },
  ],
  core: { ...CORE, F: [freePiece(forward)], G: [freePiece(backward)] },
  predict: predictQuartet,
}
