// The learning rate of each step, as a share of the peak. Shares of a schedule are of all steps; step 1 is the first.
import type { OptimizerConfig, ScheduleConfig } from './config.ts'

/** A schedule in steps: how many warm up, and how many decay at the end of wsd. */
function inSteps(schedule: ScheduleConfig, steps: number): { warmup: number; decay: number } {
  const warmup = Math.min(steps, Math.round(schedule.warmup * steps))
  const decay =
    schedule.kind === 'wsd' ? Math.min(steps - warmup, Math.max(1, Math.round(schedule.decay * steps))) : steps - warmup
  return { warmup, decay }
}

/** Learning rate of step 1 … steps over its peak: linear warm-up from 0, then cosine or linear down to `final`, constant, or constant and a linear end (wsd). */
export function rateShare(schedule: ScheduleConfig, step: number, steps: number): number {
  const { warmup, decay } = inSteps(schedule, steps)
  if (step <= warmup) return step / warmup
  if (schedule.kind === 'constant') return 1
  const done = Math.max(0, (step - (steps - decay)) / decay)
  if (schedule.kind === 'cosine') return schedule.final + ((1 - schedule.final) / 2) * (1 + Math.cos(Math.PI * done))
  return 1 - (1 - schedule.final) * done
}

/** Number of steps that warm up. */
export function warmupSteps(schedule: ScheduleConfig, steps: number): number {
  return inSteps(schedule, steps).warmup
}

/** Peak learning rate of a model with N = n: the number given, or interpolated between points in log N and log lr (the nearest point's outside them). */
export function peakRate(lr: OptimizerConfig['lr'], n: number): number {
  if (typeof lr === 'number') return lr
  const points = [...lr].sort((a, b) => a.n - b.n)
  if (n <= points[0].n) return points[0].lr
  for (let i = 1; i < points.length; i++) {
    const [low, high] = [points[i - 1], points[i]]
    if (n > high.n) continue
    const at = Math.log(n / low.n) / Math.log(high.n / low.n)
    return low.lr * (high.lr / low.lr) ** at
  }
  return points[points.length - 1].lr
}
