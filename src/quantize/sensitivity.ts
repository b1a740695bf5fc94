// How much each tensor matters: rounded alone, in the coarsest format of a menu, it moves the model's distribution of the
// next token by a measured divergence. For small changes that is a quadratic form (the Fisher information), so other
// formats are taken to lose in proportion to their squared error. What is chosen by it is measured again as a whole.
import { compare } from '../evaluate/divergence.ts'
import type { TokenizedText } from '../evaluate/loss.ts'
import type { Format } from '../formats/index.ts'
import { printFormat } from '../formats/index.ts'
import type { ParameterSpec } from '../model/config.ts'
import { type Model, sizeOf, widen } from '../model/model.ts'
import type { Kernels } from '../tensor/kernels.ts'
import type { Choice } from './allocate.ts'
import { rtnMatrix, squaredError } from './layer.ts'
import { tensorBits } from './quantize.ts'
import type { Solvers } from './solvers.ts'

/** Text that the divergence is measured on; without it a tensor's loss is its squared error over its sum of squares. */
export interface SensitivityText {
  text: TokenizedText
  kernels: Kernels
  /** Windows of the text. */
  limit: number
}

/** Sum of squared differences, each input dimension weighed by its importance over the mean of all. */
export function weightedError(a: Float32Array, b: Float32Array, weights: Float32Array | undefined): number {
  if (!weights) return squaredError(a, b)
  let mean = 0
  for (const weight of weights) mean += weight / weights.length
  if (!(mean > 0)) return squaredError(a, b)
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += ((a[i] - b[i]) ** 2 * weights[i % weights.length]) / mean
  return sum
}

/** Choices of each tensor, with bits and measured loss, in the order of the menu; `importance` weighs a tensor's input dimensions. */
export function measureChoices(
  model: Model,
  specs: readonly ParameterSpec[],
  menu: readonly Format[],
  solvers: Solvers,
  measured: SensitivityText | null,
  onTensor: (done: number) => void = () => {},
  importance: (spec: ParameterSpec) => Float32Array | undefined = () => undefined,
): Choice[][] {
  return specs.map((spec, done) => {
    const stored = model.parameters.get(spec.name)!
    const weight = widen(stored, new Float32Array(stored.length)) as Float32Array
    const size = sizeOf(spec.shape)
    const weights = importance(spec)
    let coarsest = 0
    let values: Float32Array | null = null
    const choices = menu.map((format, i) => {
      const rounded = rtnMatrix(weight, spec.shape, format, { importance: weights }, solvers).values
      const choice = {
        format: printFormat(format),
        bits: tensorBits(format, spec.shape),
        loss: weightedError(weight, rounded, weights),
      }
      if (values === null || choice.loss > coarsest) {
        coarsest = choice.loss
        if (measured || i === 0) values = rounded
      }
      return choice
    })
    let factor = 1 / Math.max(weightedError(weight, new Float32Array(size), weights), 1e-300)
    if (measured && values && coarsest > 0) {
      const changed: Model = { config: model.config, parameters: new Map(model.parameters).set(spec.name, values) }
      const { kl } = compare(changed, model, measured.kernels, measured.text, {
        compute: 'float',
        limit: measured.limit,
      })
      factor = Math.max(kl.mean, 0) / coarsest
    }
    onTensor(done + 1)
    return choices.map(choice => ({ ...choice, loss: choice.loss * factor }))
  })
}
