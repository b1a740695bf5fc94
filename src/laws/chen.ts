// Chen et al. 2025, quantization-aware training with groups: the loss that 4-bit training adds grows with tokens and
// group size and falls with parameters.
import { A, ALPHA, B, chinchillaLoss, E, exponent, positive, SIZE_COLUMNS } from './chinchilla.ts'
import { type Configuration, type Law, NOTHING, numberOf, type Parameters, slot } from './law.ts'
import { formatName, given, isPlain, powerPiece } from './pieces.ts'

const groupOf = (row: Configuration) => numberOf(row, 'group', 128)
const quantized = (row: Configuration) =>
  given(row['group']) || !isPlain(formatName(row, 'w')) || !isPlain(formatName(row, 'a'))

const base = { A: 237.7042, B: 596.249, E: 1.9279, alpha: 0.3022 }
const fit = (name: string, what: string, bits: readonly [number, number], extra: Parameters) => ({
  name,
  parameters: { ...base, ...extra },
  source: 'Chen et al. 2025, Scaling Law for Quantization-Aware Training, arXiv 2505.14302',
  setup: `Llama-like transformers on OLMo 2 data, quantization-aware training, ${what}`,
  range: {
    N: [74e6, 595e6],
    D: [10e9, 100e9],
    group: [32, 1024],
    P_w: [bits[0], bits[0]],
    P_a: [bits[1], bits[1]],
  } as const,
})

/** Chinchilla + k D^gD (log2 G)^gG / N^gN. */
export const chen: Law = {
  name: 'chen',
  title: 'Chen, quantization-aware training with groups',
  formula: 'L = A N^{-\\alpha} + B D^{-\\alpha} + E + k\\, D^{g_D} (\\log_2 G)^{g_G} N^{-g_N}',
  source: 'Chen et al. 2025, arXiv 2505.14302',
  response: 'loss',
  parameters: [
    A,
    B,
    E,
    ALPHA,
    positive('k', 'weight of the error of quantization', 'nats', [0.01, 1]),
    exponent('gD', 'growth of the error with D', 5, [0.02, 0.6]),
    exponent('gG', 'growth of the error with log2 of the group size', 20, [0.2, 2]),
    exponent('gN', 'fall of the error with N', 5, [0.05, 0.6]),
  ],
  columns: [
    ...SIZE_COLUMNS,
    {
      name: 'group',
      kind: 'number',
      fallback: 128,
      meaning: 'weights or activations that share a scale; empty with 16 bits: not quantized',
    },
    { name: 'P_w', kind: 'number', fallback: 16, meaning: 'bits of weights in training' },
    { name: 'P_a', kind: 'number', fallback: 16, meaning: 'bits of activations in training' },
  ],
  fits: [
    fit('chen2025_w4a4', '4-bit weights and activations', [4, 4], { k: 0.1582, gN: 0.2186, gD: 0.0745, gG: 0.7779 }),
    fit('chen2025_w4a16', '4-bit weights', [4, 16], { k: 0.2522, gN: 0.3589, gD: 0.161, gG: 0.3533 }),
    fit('chen2025_w16a4', '4-bit activations', [16, 4], { k: 0.1004, gN: 0.1816, gD: 0.0331, gG: 0.9812 }),
  ],
  core: {
    a: slot('A'),
    alpha: slot('alpha'),
    b: slot('B'),
    beta: slot('alpha'),
    E: slot('E'),
    c: slot('k'),
    gammaD: slot('gD'),
    gammaN: slot('gN'),
    H: [powerPiece('gG', 1, row => Math.log2(groupOf(row)))],
    post: quantized,
  },
  predict(p, c) {
    const n = numberOf(c, 'N')
    const d = numberOf(c, 'D')
    const loss = chinchillaLoss(p, n, d)
    if (!quantized(c)) return { ...NOTHING, loss, nEff: n }
    const unit = (p['k'] * Math.log2(groupOf(c)) ** p['gG']) / n ** p['gN']
    const delta = unit * d ** p['gD']
    const dCrit = ((p['alpha'] * p['B']) / (p['gD'] * unit)) ** (1 / (p['gD'] + p['alpha']))
    return { ...NOTHING, loss: loss + delta, nEff: n, deltaPtq: delta, dCrit }
  },
}
