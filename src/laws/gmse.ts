// Capacity from the error of a format on a Gaussian (Panferov et al. 2025): rho = L0 tanh(F x)^C with
// x = log(gmse)/log(1/4), a sort of width in bits. A format that was never trained with is predicted from its error.

import { A, ALPHA, B, BETA, chinchillaLoss, E, positive, SIZE_COLUMNS } from './chinchilla.ts'
import { gaussianError } from './gaussian.ts'
import type { Column, Configuration, Law, Parameter, Parameters } from './law.ts'
import { NOTHING, numberOf, slot } from './law.ts'
import { errorPiece, formatName, given, isPlain } from './pieces.ts'

/** log(gmse)/log(1/4) of one side of a row: from its column, else from the format's name; 0 where not quantized. */
function logQuarter(row: Configuration, part: 'w' | 'a'): number {
  const column = `log_quarter_${part}`
  if (given(row[column])) return numberOf(row, column)
  const name = formatName(row, part)
  return isPlain(name) ? 0 : Math.log(gaussianError(name)) / Math.log(1 / 4)
}

const COLUMNS: readonly Column[] = [
  ...SIZE_COLUMNS,
  {
    name: 'log_quarter_w',
    kind: 'number',
    fallback: null,
    meaning: 'log(gmse)/log(1/4) of weights (0: not quantized)',
  },
  { name: 'log_quarter_a', kind: 'number', fallback: null, meaning: 'log(gmse)/log(1/4) of activations' },
  { name: 'format_w', kind: 'text', fallback: null, meaning: 'format of weights, where log_quarter_w is absent' },
  { name: 'format_a', kind: 'text', fallback: null, meaning: 'format of activations, where log_quarter_a is absent' },
  { name: 'P_w', kind: 'number', fallback: 16, meaning: 'bits of weights, where no format is given' },
  { name: 'P_a', kind: 'number', fallback: 16, meaning: 'bits of activations, where no format is given' },
]

function errorParameters(suffix: string, of: string): Parameter[] {
  return [
    positive(`L0${suffix}`, `capacity of ${of} without error`, '', [0.9, 1.1], [1e-3, 1e3]),
    positive(`F${suffix}`, `how soon capacity of ${of} saturates with x`, '', [0.25, 0.9], [1e-4, 1e3]),
    positive(`C${suffix}`, `how steeply capacity of ${of} falls at few bits`, '', [0.7, 4], [1e-3, 1e4]),
  ]
}

function capacityLaw(name: string, title: string, formula: string, w: string, a: string, parameters: Parameter[]): Law {
  const names = (suffix: string) => [`L0${suffix}`, `F${suffix}`, `C${suffix}`] as const
  const rho = (p: Parameters, x: number, suffix: string) => {
    const [scale, rate, power] = names(suffix)
    return x > 0 ? p[scale] * Math.tanh(p[rate] * x) ** p[power] : 1
  }
  return {
    name,
    title,
    formula,
    source: 'Panferov et al. 2025, arXiv 2506.01863',
    response: 'loss',
    parameters: [A, B, E, ALPHA, BETA, ...parameters],
    columns: COLUMNS,
    fits: [],
    core: {
      a: slot('A'),
      alpha: slot('alpha'),
      b: slot('B'),
      beta: slot('beta'),
      E: slot('E'),
      F: [errorPiece(row => logQuarter(row, 'w'), names(w)), errorPiece(row => logQuarter(row, 'a'), names(a))],
    },
    predict(p, c) {
      const nEff = numberOf(c, 'N') * rho(p, logQuarter(c, 'w'), w) * rho(p, logQuarter(c, 'a'), a)
      return { ...NOTHING, loss: chinchillaLoss(p, nEff, numberOf(c, 'D')), nEff }
    },
  }
}

/** One L0, F, C for weights and activations. */
export const gmse = capacityLaw(
  'gmse',
  'Gaussian-MSE capacity',
  'L = A (N \\rho_w \\rho_a)^{-\\alpha} + B D^{-\\beta} + E,\\; \\rho_x = L_0 \\tanh(F \\log_{1/4} \\mathrm{GMSE}_x)^C',
  '',
  '',
  errorParameters('', 'weights and activations'),
)

/** L0, F, C of their own for weights and for activations. */
export const gmseWa = capacityLaw(
  'gmse_wa',
  'Gaussian-MSE capacity, weights and activations apart',
  'L = A (N \\rho_w \\rho_a)^{-\\alpha} + B D^{-\\beta} + E,\\; \\rho_x = L_{0,x} \\tanh(F_x \\log_{1/4} \\mathrm{GMSE}_x)^{C_x}',
  '_w',
  '_a',
  [...errorParameters('_w', 'weights'), ...errorParameters('_a', 'activations')],
)
