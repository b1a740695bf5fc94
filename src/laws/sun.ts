// Sun et al. 2025, training in floating point: exponent and mantissa bits count differently, and a coarse scale makes
// more data harmful past a critical size.
import { exponent, positive, SIZE_COLUMNS } from './chinchilla.ts'
import { constant } from './jet.ts'
import { type Configuration, type Law, NOTHING, numberOf, type Parameter, type Piece, slot, textOf } from './law.ts'
import { given, shiftedPowerPiece } from './pieces.ts'

/** Exponent bits, mantissa bits and block of a row: its columns, else a format such as fp4e2m1@128. */
function layoutOf(row: Configuration): { exponent: number; mantissa: number; block: number } | null {
  const format = /fp\d+e(\d+)m(\d+)[^@]*(?:@(\d+))?/.exec(textOf(row, 'format_w') ?? '')
  const exponentBits = numberOf(row, 'exponent', format ? Number(format[1]) : Number.NaN)
  const mantissaBits = numberOf(row, 'mantissa', format ? Number(format[2]) : Number.NaN)
  if (Number.isNaN(exponentBits) || Number.isNaN(mantissaBits)) return null
  const block = numberOf(row, given(row['block']) ? 'block' : 'group', format?.[3] ? Number(format[3]) : 128)
  return { exponent: exponentBits, mantissa: mantissaBits, block }
}

const power = (name: string, meaning: string): Parameter => exponent(name, meaning, 20, [0.5, 5])
const bitsPiece = (parameter: string, of: 'exponent' | 'mantissa'): Piece => ({
  ...shiftedPowerPiece(parameter, of, 0.5, Number.NaN),
  at: row => ({ locals: [parameter], x: [layoutOf(row)?.[of] ?? Number.NaN] }),
})
/** ln log2 of the block: no parameter. */
const blockPiece: Piece = {
  at: row => ({ locals: [], x: [layoutOf(row)?.block ?? Number.NaN] }),
  value: (_, [block]) => constant(0, Math.log(Math.log2(block))),
}

/** n/N^alpha + d/D^beta + eps + D^beta/N^alpha · log2 B / (gamma (E + .5)^delta (M + .5)^nu). */
export const sun: Law = {
  name: 'sun',
  title: 'Sun, floating-point training',
  formula:
    'L = \\frac{n}{N^{\\alpha}} + \\frac{d}{D^{\\beta}} + \\epsilon + \\frac{D^{\\beta}}{N^{\\alpha}} \\frac{\\log_2 B}{\\gamma (E + 0.5)^{\\delta} (M + 0.5)^{\\nu}}',
  source: 'Sun et al. 2025, arXiv 2501.02423',
  response: 'loss',
  parameters: [
    positive('n', 'weight of the term in N', 'nats', [1, 1e4]),
    positive('d', 'weight of the term in D', 'nats', [1, 1e6]),
    {
      name: 'eps',
      meaning: 'loss that no size and no data removes',
      unit: 'nats',
      transform: 'linear',
      bounds: [0, 5],
      start: [0.5, 2.5],
    },
    exponent('alpha', 'exponent of N, also of the error'),
    exponent('beta', 'exponent of D, also of the error'),
    positive('gamma', 'tolerance of the error', '', [1e2, 1e6]),
    power('delta', 'power of exponent bits + 0.5'),
    power('nu', 'power of mantissa bits + 0.5'),
  ],
  columns: [
    ...SIZE_COLUMNS,
    {
      name: 'exponent',
      kind: 'number',
      fallback: null,
      meaning: 'exponent bits E (else from format_w); empty: not quantized',
    },
    { name: 'mantissa', kind: 'number', fallback: null, meaning: 'mantissa bits M (else from format_w)' },
    { name: 'block', kind: 'number', fallback: 128, meaning: 'numbers B that share a scale' },
    {
      name: 'format_w',
      kind: 'text',
      fallback: null,
      meaning: 'format such as fp4e2m1@128, where the columns are absent',
    },
  ],
  fits: [
    {
      name: 'sun2025',
      parameters: {
        n: 69.2343,
        alpha: 0.2368,
        d: 68973.0621,
        beta: 0.5162,
        eps: 1.9061,
        gamma: 11334.5197,
        delta: 3.1926,
        nu: 2.9543,
      },
      source: 'Sun et al. 2025, arXiv 2501.02423, unified law (Capybara)',
      setup: 'Llama-like transformers on Dolma, floating-point weights, activations and gradients in training',
      range: { N: [41e6, 679e6], D: [10e9, 100e9], exponent: [1, 5], mantissa: [0, 7], block: [32, 512] },
    },
  ],
  core: {
    a: slot('n'),
    alpha: slot('alpha'),
    b: slot('d'),
    beta: slot('beta'),
    E: slot('eps'),
    c: slot('gamma', -1),
    gammaD: slot('beta'),
    gammaN: slot('alpha'),
    H: [blockPiece, bitsPiece('delta', 'exponent'), bitsPiece('nu', 'mantissa')],
    post: row => layoutOf(row) !== null,
  },
  predict(p, c) {
    const size = numberOf(c, 'N')
    const tokens = numberOf(c, 'D')
    const before = p['n'] / size ** p['alpha'] + p['d'] / tokens ** p['beta'] + p['eps']
    const layout = layoutOf(c)
    if (layout === null) return { ...NOTHING, loss: before, nEff: size }
    const bits = p['gamma'] * (layout.exponent + 0.5) ** p['delta'] * (layout.mantissa + 0.5) ** p['nu']
    const unit = Math.log2(layout.block) / bits / size ** p['alpha']
    const delta = unit * tokens ** p['beta']
    return {
      ...NOTHING,
      loss: before + delta,
      nEff: size,
      deltaPtq: delta,
      dCrit: (p['d'] / unit) ** (1 / (2 * p['beta'])),
    }
  },
}
