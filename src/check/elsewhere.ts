// What others measured on real models: damage of llama.cpp's formats on Llama 2 7B and Llama 3 8B, Wikitext-2 test, from
// llama.cpp's perplexity documentation (commit c392e5094). delta is ln(1 + change of perplexity / perplexity), nats a
// token. Every prediction is set beside these rows, and a law that is far off on them says so.
import { codeBits } from '../formats/index.ts'

/** One measured row; imatrix names the text of an importance matrix, empty: none. */
export interface MeasuredElsewhere {
  model: string
  n: number
  d: number
  format: string
  imatrix: string
  /** null where the source does not say. */
  bitsPerParameter: number | null
  /** Width of the codes that a PTQ law reads. */
  k: number
  deltaPtq: number
  kl: number | null
}

/** N (non-embedding) and D of the models. */
const MODELS: Readonly<Record<string, { n: number; d: number }>> = {
  'llama-2-7b': { n: 6_476_271_616, d: 2e12 },
  'llama-3-8b': { n: 6_979_588_096, d: 1.5e13 },
}

// biome-ignore format: a table
const ROWS: readonly (readonly [string, string, string, number | null, number, number | null])[] = [
  ['llama-3-8b', 'f16', '', 16.013, 0.000245, 0.000551],
  ['llama-3-8b', 'q8_0', '', 8.515, 0.000425, 0.001355],
  ['llama-3-8b', 'q6_k', '', 6.568, 0.003484, 0.005452],
  ['llama-3-8b', 'q5_k_m', '', 5.701, 0.009101, 0.010762],
  ['llama-3-8b', 'q5_k_s', '', 5.573, 0.016703, 0.016595],
  ['llama-3-8b', 'q5_1', '', 6.044, 0.016902, 0.018045],
  ['llama-3-8b', 'q5_0', '', 5.573, 0.020897, 0.022239],
  ['llama-3-8b', 'q4_k_m', 'WT 10m', 4.899, 0.02399, 0.028152],
  ['llama-3-8b', 'q4_k_m', '', 4.899, 0.027771, 0.031273],
  ['llama-3-8b', 'q4_k_s', 'WT 10m', 4.675, 0.028174, 0.031951],
  ['llama-3-8b', 'iq4_nl', 'WT 10m', 4.653, 0.035308, 0.035742],
  ['llama-3-8b', 'iq4_xs', 'WT 10m', 4.429, 0.035945, 0.036334],
  ['llama-3-8b', 'q4_k_s', '', 4.675, 0.042245, 0.043136],
  ['llama-3-8b', 'q4_1', '', 5.113, 0.069889, 0.071683],
  ['llama-3-8b', 'q4_0', '', 4.642, 0.072491, 0.07194],
  ['llama-3-8b', 'q3_k_l', 'WT 10m', 4.311, 0.068165, 0.073077],
  ['llama-3-8b', 'q3_k_m', 'WT 10m', 4.001, 0.077569, 0.084358],
  ['llama-3-8b', 'q3_k_l', '', 4.311, 0.085499, 0.087176],
  ['llama-3-8b', 'q3_k_m', '', 4.001, 0.100214, 0.101913],
  ['llama-3-8b', 'iq3_m', 'WT 10m', 3.776, 0.10164, 0.102534],
  ['llama-3-8b', 'iq3_s', 'WT 10m', 3.658, 0.111331, 0.111278],
  ['llama-3-8b', 'iq3_xs', 'WT 10m', 3.509, 0.139296, 0.138693],
  ['llama-3-8b', 'iq3_xxs', 'WT 10m', 3.263, 0.179707, 0.183625],
  ['llama-3-8b', 'q3_k_s', 'WT 10m', 3.648, 0.198888, 0.199821],
  ['llama-3-8b', 'q3_k_s', '', 3.648, 0.23263, 0.228217],
  ['llama-3-8b', 'iq2_m', 'WT 10m', 2.931, 0.322217, 0.325989],
  ['llama-3-8b', 'q2_k', 'WT 10k', 3.166, 0.328185, 0.331393],
  ['llama-3-8b', 'q2_k', 'WT 100k', 3.166, 0.326995, 0.331672],
  ['llama-3-8b', 'q2_k', 'WT 10m', 3.166, 0.327669, 0.332223],
  ['llama-3-8b', 'q2_k', 'WT 1m', 3.166, 0.330734, 0.335308],
  ['llama-3-8b', 'q2_k', 'WT 1k', 3.166, 0.331683, 0.337093],
  ['llama-3-8b', 'q2_k_s', 'WT 10m', 3.166, 0.402929, 0.40336],
  ['llama-3-8b', 'q2_k_s', 'WT 1m', 3.166, 0.403524, 0.40359],
  ['llama-3-8b', 'q2_k_s', 'WT 100k', 3.166, 0.407124, 0.408367],
  ['llama-3-8b', 'q2_k_s', 'WT 10k', 3.166, 0.408566, 0.408662],
  ['llama-3-8b', 'q2_k_s', 'WT 1k', 3.166, 0.412687, 0.415865],
  ['llama-3-8b', 'iq2_s', 'WT 10m', 2.738, 0.4374, 0.439197],
  ['llama-3-8b', 'q2_k', '', 3.166, 0.447789, 0.445132],
  ['llama-3-8b', 'iq2_xs', 'WT 10m', 2.599, 0.546329, 0.54629],
  ['llama-3-8b', 'iq2_xxs', 'WT 10m', 2.396, 0.815953, 0.812022],
  ['llama-3-8b', 'iq1_m', 'WT 10m', 2.15, 1.408793, 1.393084],
  ['llama-3-8b', 'iq1_s', 'WT 1m', 2.011, 2.232488, 2.211278],
  ['llama-3-8b', 'iq1_s', 'WT 1k', 2.011, 2.235412, 2.214858],
  ['llama-3-8b', 'iq1_s', 'WT 100k', 2.011, 2.24078, 2.220834],
  ['llama-3-8b', 'iq1_s', 'WT 10m', 2.011, 2.276216, 2.254554],
  ['llama-3-8b', 'iq1_s', 'WT 10k', 2.011, 2.317003, 2.293527],
  ['llama-2-7b', 'q2_k', '', null, 0.102516, 0.108903],
  ['llama-2-7b', 'q4_k_m', '', null, 0.014142, 0.012686],
  ['llama-2-7b', 'q6_k', '', null, 0.002403, 0.002098],
  ['llama-2-7b', 'q8_0', '', null, 0.000688, 0.000369],
]

/** Width in a name such as q4_k_m or iq3_xs; 16 for f16. */
function widthOf(format: string): number {
  return format === 'f16' ? 16 : Number(/^i?q(\d)/.exec(format)?.[1] ?? codeBits(format))
}

/** All rows, the unquantized ones left out. */
export const MEASURED_ELSEWHERE: readonly MeasuredElsewhere[] = ROWS.filter(([, format]) => format !== 'f16').map(
  ([model, format, imatrix, bitsPerParameter, deltaPtq, kl]) => ({
    model,
    ...MODELS[model],
    format,
    imatrix,
    bitsPerParameter,
    k: widthOf(format),
    deltaPtq,
    kl,
  }),
)
