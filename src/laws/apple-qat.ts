// Dremov et al. 2025 (Apple): which share of training should be quantization-aware. The best share grows with tokens a
// parameter-byte S = D/(N·bits/8) as exp(−a/ln S).
import { positive, SIZE_COLUMNS } from './chinchilla.ts'
import { type Law, NOTHING, numberOf } from './law.ts'

/** f* = exp(−a / ln S). */
export const appleQat: Law = {
  name: 'apple_qat',
  title: 'Apple, share of quantization-aware training',
  formula: 'f^* = e^{-a / \\ln S},\\; S = \\frac{D}{N P_w / 8}',
  source: 'Dremov et al. 2025, arXiv 2509.22935',
  response: 'loss',
  parameters: [positive('a', 'how late quantization-aware training should begin', '', [1, 20])],
  columns: [...SIZE_COLUMNS, { name: 'P_w', kind: 'number', fallback: 16, meaning: 'bits of weights' }],
  fits: [
    {
      name: 'apple2025',
      parameters: { a: 6.7297 },
      source: 'Dremov et al. 2025, arXiv 2509.22935',
      setup: 'decoder-only transformers, full precision then quantization-aware training',
      range: { N: [86e6, 2.2e9], P_w: [1, 6] },
      notes: ['gives the best share of quantization-aware tokens (extra.qatShare), not a loss'],
    },
  ],
  core: {},
  notFitted: 'apple_qat describes the best share of quantization-aware training, not the loss of a run',
  predict(p, c) {
    const ratio = numberOf(c, 'D') / ((numberOf(c, 'N') * numberOf(c, 'P_w', 16)) / 8)
    const share = ratio > 1 ? Math.exp(-p['a'] / Math.log(ratio)) : 0
    return { ...NOTHING, extra: { qatShare: share } }
  },
}
