// AdamW over all parameters of a model: clip the gradient's norm, decay matrices, step. The state is two arrays a tensor.
import type { TrainedParameter } from '../model/training.ts'
import type { Floats, Kernels } from '../tensor/kernels.ts'
import type { OptimizerConfig } from './config.ts'

/** Running means of the gradient (m) and of its square (v), for each parameter in order, and the number of steps taken. */
export interface Optimizer {
  steps: number
  readonly m: readonly Floats[]
  readonly v: readonly Floats[]
  /** Norm of all gradients before clipping; not finite where a gradient is not. */
  gradientNorm(): number
  /** One step at a learning rate; `norm` is gradientNorm's. Gradients are read, not changed. */
  step(rate: number, norm: number): void
}

/** An optimizer with a zeroed state over `parameters`, whose weights it changes in place. */
export function createOptimizer(
  parameters: readonly TrainedParameter[],
  kernels: Kernels,
  { betas, eps, weightDecay, clip }: Pick<OptimizerConfig, 'betas' | 'eps' | 'weightDecay' | 'clip'>,
): Optimizer {
  const m = parameters.map(({ weight }) => kernels.allocate(weight.length))
  const v = parameters.map(({ weight }) => kernels.allocate(weight.length))
  return {
    steps: 0,
    m,
    v,
    gradientNorm() {
      let sum = 0
      for (const { gradient } of parameters) sum += kernels.sumSquares(gradient)
      return Math.sqrt(sum)
    },
    step(rate, norm) {
      this.steps++
      const gradientScale = clip === null ? 1 : Math.min(1, clip / (norm + 1e-6))
      const shared = { rate, beta1: betas[0], beta2: betas[1], eps, step: this.steps, gradientScale }
      for (const [i, { weight, gradient, decay }] of parameters.entries())
        kernels.adamw(weight, gradient, m[i], v[i], { ...shared, weightDecay: decay ? weightDecay : 0 })
    },
  }
}
