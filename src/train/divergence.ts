// When a run is given up: a loss that is no number, or one that stays above where it started.

/** What is remembered of the losses so far; saved with a checkpoint. */
export interface DivergenceState {
  /** Loss of the first step. */
  start: number | null
  /** Steps in a row, up to now, whose loss was above it. */
  above: number
}

/** Why a run ended, or null while it goes on. */
export type Verdict = 'loss is not a number' | 'gradient is not a number' | 'loss stayed above its start' | null

/** Takes a step's loss and gradient norm into account. `patience` steps in a row above the start are too many; steps of the warm-up do not count. */
export function watchLoss(
  state: DivergenceState,
  {
    step,
    loss,
    gradientNorm,
    warmup,
    patience,
  }: { step: number; loss: number; gradientNorm: number; warmup: number; patience: number },
): Verdict {
  if (!Number.isFinite(loss)) return 'loss is not a number'
  if (!Number.isFinite(gradientNorm)) return 'gradient is not a number'
  state.start ??= loss
  state.above = step > warmup && loss > state.start ? state.above + 1 : 0
  return state.above >= patience ? 'loss stayed above its start' : null
}

/** Steps above the start that are too many: a twentieth of the run, at least 50. */
export function patienceOf(steps: number): number {
  return Math.max(50, Math.round(steps / 20))
}
