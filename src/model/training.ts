// One training step's loss and gradients, in buffers that are made once.
import type { Compute, Floats, Kernels } from '../tensor/kernels.ts'
import type { ParameterSpec, Precision } from './config.ts'
import type { Model } from './model.ts'

export interface TrainingOptions {
  precision?: Precision | null
  /** Sequences a call. */
  batch: number
  /** Positions a sequence. */
  length: number
  compute?: Compute
}

/** One tensor that is trained. */
export interface TrainedParameter {
  name: string
  kind: ParameterSpec['kind']
  /** Weight decay applies: matrices (two axes), not norms and biases. */
  decay: boolean
  weight: Floats
  /** Added to by each call of `gradients`. */
  gradient: Floats
}

/** Loss and gradients of one model at one shape. */
export interface TrainingStep {
  readonly parameters: readonly TrainedParameter[]
  /** Mean loss in nats over the scored targets (-1: not scored), quantized as in training; no gradients. */
  loss(inputs: Int32Array, targets: Int32Array): number
  /** The same, and the gradient of `scale` * (sum of losses) added to every `gradient`; scale: 1 / scored targets unless given. */
  gradients(inputs: Int32Array, targets: Int32Array, scale?: number): number
  /** Sets every gradient to 0. */
  clear(): void
  /** Bytes of the buffers: gradients and activations. */
  readonly bytes: number
}

/** A step over `model`, whose parameters must be of the kernels' number type (see widenModel) and are used in place. */
export function createTrainingStep(_model: Model, _kernels: Kernels, _options: TrainingOptions): TrainingStep {
  throw new Error('training is not built yet')
}
