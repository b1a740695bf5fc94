// Claims of the two papers, and as the press retells them, each with its source and what this study says to it.

import {
  damageGrows,
  decayNotData,
  dynamicIsBest,
  fourBitsOptimal,
  lowPrecisionIsGentler,
  moreDataIsHarmful,
  onlyBlocksAndTypes,
  qualityBelowSeven,
  smallBlocksHelp,
  smallerIsBetter,
  typesBeatIntegers,
} from './claims-ptq.ts'
import { independentParts, optimalTrainingBits } from './claims-training.ts'
import type { ReportData } from './data.ts'
import type { Judgement } from './judgement.ts'

/** A claim, who made it, and how this study judges it. */
export interface Claim {
  claim: string
  source: string
  judge(data: ReportData): Judgement
}

const KUMAR = 'Kumar et al. 2024 (arXiv 2411.04330)'
const DETTMERS = 'Dettmers & Zettlemoyer 2022 (arXiv 2212.09720)'

/** The list, in the order of the report. */
export const CLAIMS: readonly Claim[] = [
  { claim: 'training at 7 to 8 bits is compute-optimal', source: `${KUMAR}, section 4.3`, judge: optimalTrainingBits },
  {
    claim: 'weights, activations and KV cache act independently: their factors multiply',
    source: `${KUMAR}, section 4.2`,
    judge: independentParts,
  },
  {
    claim: 'damage of quantization grows with training data',
    source: `${KUMAR}, section 3`,
    judge: data => damageGrows(data, 'd', 1),
  },
  {
    claim: 'damage of quantization falls with model size',
    source: `${KUMAR}, section 3`,
    judge: data => damageGrows(data, 'n', -1),
  },
  {
    claim: 'more data makes the quantized model worse',
    source: `${KUMAR}, as the press retells it`,
    judge: moreDataIsHarmful,
  },
  {
    claim: 'the decay of the learning rate, not the data, is what makes quantization cost more',
    source: 'Catalan-Tatjer et al. 2025 (arXiv 2510.06213), the rival reading',
    judge: decayNotData,
  },
  {
    claim: 'training in low precision makes quantization gentler',
    source: `${KUMAR}, section 5`,
    judge: lowPrecisionIsGentler,
  },
  {
    claim: '4-bit precision is almost universally optimal for total model bits',
    source: `${DETTMERS}, abstract`,
    judge: fourBitsOptimal,
  },
  { claim: 'small blocks improve quantization to few bits', source: `${DETTMERS}, section 5`, judge: smallBlocksHelp },
  {
    claim: 'quantile and floating-point types beat integers at 4 bits',
    source: `${DETTMERS}, section 5`,
    judge: typesBeatIntegers,
  },
  {
    claim: 'the only improvements are small blocks and the data type',
    source: `${DETTMERS}, abstract`,
    judge: onlyBlocksAndTypes,
  },
  {
    claim: 'dynamic exponent is the best data type at 4 bits',
    source: 'press on Dettmers & Zettlemoyer 2022',
    judge: dynamicIsBest,
  },
  {
    claim: 'better a smaller model than a big one boiled down',
    source: 'press on Kumar et al. 2024',
    judge: smallerIsBetter,
  },
  {
    claim: 'no quality below 7 to 8 bits unless the model is very large',
    source: 'press on Kumar et al. 2024',
    judge: qualityBelowSeven,
  },
]

/** Every claim with its judgement. */
export function judgeClaims(data: ReportData): { claim: string; source: string; judgement: Judgement }[] {
  return CLAIMS.map(({ claim, source, judge }) => ({ claim, source, judgement: judge(data) }))
}
