// The mean of the weights over the last steps of a run, which often is better than the last weights alone.
import type { TrainedParameter } from '../model/training.ts'
import type { Floats, Kernels } from '../tensor/kernels.ts'

/** A running mean of every parameter. */
export interface WeightAverage {
  /** Number of weights in the mean. */
  count: number
  readonly means: readonly Floats[]
  /** Takes the weights as they are now into the mean. */
  add(): void
}

/** An empty mean over `parameters`. */
export function createAverage(
  parameters: readonly TrainedParameter[],
  kernels: Pick<Kernels, 'allocate'>,
): WeightAverage {
  const means = parameters.map(({ weight }) => kernels.allocate(weight.length))
  return {
    count: 0,
    means,
    add() {
      this.count++
      const share = 1 / this.count
      for (const [i, { weight }] of parameters.entries()) {
        const mean = means[i]
        for (let j = 0; j < mean.length; j++) mean[j] += (weight[j] - mean[j]) * share
      }
    },
  }
}
