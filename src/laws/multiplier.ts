// One free multiplier of N for each format (Frantar et al., QuEST): no assumption about how capacity depends on bits,
// and so the yardstick for the laws that make one.
import { A, ALPHA, B, BETA, chinchillaLoss, E, positive, SIZE_COLUMNS } from './chinchilla.ts'
import type { Column, Configuration, Law, Parameter, Parameters, Prediction, PublishedFit } from './law.ts'
import { NOTHING, numberOf, slot } from './law.ts'
import { formatName, freePiece, isPlain } from './pieces.ts'

const QUEST = 'Panferov et al. 2025 (QuEST), arXiv 2502.05003'

/** `eff <weights>/<activations>`, or null where neither is quantized. */
function multiplierName(row: Configuration): string | null {
  const weights = formatName(row, 'w')
  const activations = formatName(row, 'a')
  return isPlain(weights) && isPlain(activations) ? null : `eff ${weights}/${activations}`
}

/** The sorted distinct names that rows give, each as a free positive parameter near 1. */
export function freeParameters(
  rows: readonly Configuration[],
  nameOf: (row: Configuration) => string | null,
  meaning: (format: string) => string,
): Parameter[] {
  const names = new Set<string>()
  for (const row of rows) {
    const name = nameOf(row)
    if (name !== null) names.add(name)
  }
  return [...names].sort().map(name => positive(name, meaning(name.slice(name.indexOf(' ') + 1)), '', [0.05, 1.1]))
}

const FORMAT_COLUMNS: readonly Column[] = [
  { name: 'format_w', kind: 'text', fallback: null, meaning: 'format of weights (else int<P_w>; BF16: not quantized)' },
  { name: 'format_a', kind: 'text', fallback: null, meaning: 'format of activations (else int<P_a>)' },
  { name: 'P_w', kind: 'number', fallback: 16, meaning: 'bits of weights, where format_w is absent' },
  { name: 'P_a', kind: 'number', fallback: 16, meaning: 'bits of activations, where format_a is absent' },
]

function predictMultiplier(p: Parameters, c: Configuration): Prediction {
  const name = multiplierName(c)
  const share = name === null ? 1 : p[name]
  if (share === undefined) return NOTHING
  const nEff = numberOf(c, 'N') * share
  return { ...NOTHING, loss: p['A'] === undefined ? null : chinchillaLoss(p, nEff, numberOf(c, 'D')), nEff }
}

const questBits = (pairs: readonly (readonly [number, number])[], activations: (bits: number) => string): Parameters =>
  Object.fromEntries(pairs.map(([bits, eff]) => [`eff int${bits}/${activations(bits)}`, eff]))

const QUEST_FIT: PublishedFit = {
  name: 'panferov2025',
  parameters: {
    ...questBits(
      [
        [1, 0.021],
        [2, 0.152],
        [3, 0.433],
        [4, 0.692],
        [8, 1.016],
      ],
      bits => `int${bits}`,
    ),
    'eff fp4/fp4': 0.63,
    ...questBits(
      [
        [1, 0.138],
        [2, 0.414],
        [3, 0.653],
        [4, 0.84],
      ],
      () => 'BF16',
    ),
  },
  source: `${QUEST}, efficiency factors`,
  setup: 'Llama-like transformers on C4, 30M to 800M parameters, QuEST quantization-aware training',
  range: { N: [30e6, 800e6], P_w: [1, 16], P_a: [1, 16], 'D/N': [25, 100] },
  notes: ['multipliers only: the paper prints no A, B, E for them, so there is no loss'],
}

/** L = A/(N eff[format])^alpha + B/D^beta + E. */
export const multiplier: Law = {
  name: 'multiplier',
  title: 'Free multiplier per format',
  formula: 'L = A (N\\,\\mathrm{eff}_{format})^{-\\alpha} + B D^{-\\beta} + E',
  source: `Frantar et al. 2025, arXiv 2502.16440; ${QUEST}`,
  response: 'loss',
  parameters: [A, B, E, ALPHA, BETA],
  parametersFor: rows =>
    freeParameters(rows, multiplierName, format => `share of N that ${format} (weights/activations) leaves`),
  columns: [...SIZE_COLUMNS, ...FORMAT_COLUMNS],
  fits: [QUEST_FIT],
  core: {
    a: slot('A'),
    alpha: slot('alpha'),
    b: slot('B'),
    beta: slot('beta'),
    E: slot('E'),
    F: [freePiece(multiplierName)],
  },
  predict: predictMultiplier,
}

/** The same law with the multipliers that Frantar et al. found for quantization and sparsity. */
export const frantar: Law = {
  ...multiplier,
  name: 'frantar',
  title: 'Frantar, compressed representations',
  source: 'Frantar et al. 2025, arXiv 2502.16440',
  fits: [
    {
      name: 'frantar2025',
      parameters: {
        'eff int4/BF16': 0.923,
        'eff int4/int4': 0.747,
        'eff int1/int1': 0.067,
        'eff sparse50/BF16': 0.871,
      },
      source: 'Frantar et al. 2025, arXiv 2502.16440, effective parameter multipliers',
      setup: 'decoder-only transformers on C4, quantized or sparse in training',
      range: { P_w: [1, 16], P_a: [1, 16] },
      notes: ['multipliers only: no loss'],
    },
  ],
}
