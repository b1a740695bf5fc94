// Mean squared errors on N(0,1) of the presets whose encoders search for scales, by Monte Carlo with these encoders
// (npm run bench -- gaussian-table): no integral gives them.
import type { PresetName } from './format.ts'

/** Mean squared error a value. */
export const SEARCHED_MSE: Partial<Record<PresetName, number>> = {}
