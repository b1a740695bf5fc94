// Mean squared errors on N(0,1) of the presets whose encoders search for scales, by Monte Carlo with these encoders
// (npm run bench -- gaussian-table): no integral gives them.
import type { PresetName } from './format.ts'

/** Mean squared error a value, of 4,194,304 samples; standard errors are about a thousandth. */
export const SEARCHED_MSE: Partial<Record<PresetName, number>> = {
  q2_k: 0.0667869,
  q3_k: 0.0206383,
  q4_k: 0.00488376,
  q5_k: 0.0012024,
  q6_k: 0.00026924,
  iq4_nl: 0.00537268,
  iq4_xs: 0.00543738,
}
