// Every kernel in plain TypeScript: the definition that the native kernels are tested against, and the fallback where
// there is no compiler. Arrays are float64 or float32; sums are float64 in both. In float32 the steps of quantization
// (scale, quotient, value) are rounded to float32 one by one, as PyTorch does.

import type { AdamW, Floats, Kernels } from './kernels.ts'
import { activation, activationBackward } from './reference/activation.ts'
import { attention, attentionBackward } from './reference/attention.ts'
import { crossEntropy, embed, embedBackward, logSoftmax } from './reference/embedding.ts'
import { linear, linearBackward } from './reference/linear.ts'
import { norm, normBackward, rotary } from './reference/norm.ts'
import { createWorkspace } from './reference/numbers.ts'
import { roundOperand, storeValues } from './reference/operand.ts'

/** Kernels in TypeScript that compute in float64 or float32 (the default). */
export function createReference({ float = 'float32' }: { float?: 'float64' | 'float32' } = {}): Kernels {
  const single = float === 'float32'
  const work = createWorkspace()
  return {
    name: 'reference',
    isa: 'typescript',
    threads: 1,
    build: `typescript-${float}`,
    allocate: length => (single ? new Float32Array(length) : new Float64Array(length)),
    linear: (x, rows, inputs, parts, rounding) => linear(x, rows, inputs, parts, rounding, single, work),
    linearBackward: (x, rows, inputs, parts, dx, accumulate, rounding) =>
      linearBackward(x, rows, inputs, parts, dx, accumulate, rounding, single, work),
    norm,
    normBackward: (x, gain, saved, dy, dx, accumulate, dGain, dBias, shape) =>
      normBackward(x, gain, saved, dy, dx, accumulate, dGain, dBias, shape, work),
    rotary,
    attention: (q, k, v, out, logSums, shape) => attention(q, k, v, out, logSums, shape, work),
    attentionBackward: (q, k, v, out, logSums, dOut, dq, dk, dv, shape) =>
      attentionBackward(q, k, v, out, logSums, dOut, dq, dk, dv, shape, work),
    activation,
    activationBackward,
    embed,
    embedBackward,
    crossEntropy: (x, weight, bias, targets, losses, shape) =>
      crossEntropy(x, weight, bias, targets, losses, shape, null, work),
    crossEntropyBackward: (x, weight, bias, targets, losses, dx, dWeight, dBias, shape) =>
      crossEntropy(x, weight, bias, targets, losses, shape, { dx, dWeight, dBias, scale: shape.scale }, work),
    logSoftmax,
    fakeQuantize(x, rows, width, format, out, seed = 0) {
      const options = { format, absmaxRatio: 1, clipped: false, compute: 'float', single, seed } as const
      storeValues(roundOperand('fake', x, rows, width, options, work), rows, width, out)
    },
    add(y, x) {
      for (let i = 0; i < y.length; i++) y[i] += x[i]
    },
    sumSquares,
    adamw,
  }
}

/** Sum of x^2, in float64. */
function sumSquares(x: Floats): number {
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i]
  return sum
}

/** w = w (1 - rate decay) - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). */
function adamw(weight: Floats, gradient: Floats, m: Floats, v: Floats, options: AdamW): void {
  const { rate, beta1, beta2, eps, weightDecay, step, gradientScale } = options
  const correction1 = 1 - beta1 ** step
  const correction2 = 1 - beta2 ** step
  for (let i = 0; i < weight.length; i++) {
    const g = gradient[i] * gradientScale
    m[i] = beta1 * m[i] + (1 - beta1) * g
    v[i] = beta2 * v[i] + (1 - beta2) * g * g
    const update = m[i] / correction1 / (Math.sqrt(v[i] / correction2) + eps)
    weight[i] = weight[i] * (1 - rate * weightDecay) - rate * update
  }
}
