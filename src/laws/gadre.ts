// Gadre et al. 2024: Chinchilla with one exponent, written in compute and the token multiplier M = D/N, and validated
// far over the compute-optimal amount of data.
import { E, positive, SIZE_COLUMNS } from './chinchilla.ts'
import { type Law, NOTHING, numberOf, type Parameters, type PublishedFit, slot } from './law.ts'

const fit = (corpus: string, setup: string, [p, q, c, floor]: readonly number[]): PublishedFit => ({
  name: `gadre2024_${corpus}`,
  parameters: { p, q, c, E: floor },
  source: 'Gadre et al. 2024, arXiv 2403.08540, fit on five runs, scored on C4 val',
  setup,
  range: { N: [11e6, 6.9e9], 'D/N': [5, 640] },
  notes: ['N counts embeddings here'],
})

/** L = p N^c + q 6^(c/2) (M N)^c + E, c < 0. */
export const gadre: Law = {
  name: 'gadre',
  title: 'Gadre, over-training',
  formula: 'L = p N^{c} + q\\,6^{c/2} (M N)^{c} + E,\\; M = D/N',
  source: 'Gadre et al. 2024, arXiv 2403.08540',
  response: 'loss',
  parameters: [
    positive('p', 'weight of the term in N', 'nats', [1, 1e4]),
    positive('q', 'weight of the term in D', 'nats', [1, 1e4]),
    {
      name: 'c',
      meaning: 'exponent of N and of D',
      unit: '',
      transform: 'linear',
      bounds: [-5, -1e-6],
      start: [-0.9, -0.08],
    },
    E,
  ],
  columns: SIZE_COLUMNS,
  fits: [
    fit('c4', 'OpenLM transformers on C4', [113.69260328, 189.5155215, -0.24247224, 1.50826054]),
    fit('rpj', 'OpenLM transformers on RedPajama', [166.210992, 366.687198, -0.272850706, 1.83664841]),
    fit('refinedweb', 'OpenLM transformers on RefinedWeb', [125.09569361, 246.20668179, -0.25439484, 1.73446208]),
  ],
  core: {
    a: slot('p'),
    alpha: slot('c', -1),
    b: {
      terms: [
        ['q', 1],
        ['c', Math.log(6) / 2],
      ],
    },
    beta: slot('c', -1),
    E: slot('E'),
  },
  predict(parameters: Parameters, configuration) {
    const { p, q, c, E: floor } = parameters
    const n = numberOf(configuration, 'N')
    const m = numberOf(configuration, 'D') / n
    return { ...NOTHING, loss: p * n ** c + q * 6 ** (c / 2) * (m * n) ** c + floor, nEff: n }
  },
}
