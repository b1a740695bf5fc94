// The forward pass alone, for any batch and length: losses, chosen logits, and the pieces that calibration walks
// through layer by layer. Weights may be stored in bf16 and stay so.
import type { Compute, Floats, Kernels } from '../tensor/kernels.ts'
import type { ModelConfig, Precision } from './config.ts'
import type { Model } from './model.ts'

/** How a forward pass rounds: null precision rounds nothing; `compute` is `float` unless given. */
export interface InferenceOptions {
  precision?: Precision | null
  compute?: Compute
}

/** Called before each linear with its canonical name (`layers.0.q`) and its input (rows, inputs), not yet quantized. */
export type OnInput = (linear: string, x: Floats, rows: number, inputs: number) => void

/** The forward pass of one model. Arrays that it returns belong to the caller. */
export interface Inference {
  readonly config: ModelConfig
  /** Loss in nats of each of batch * length predictions; 0 where the target is -1 (not scored). */
  losses(inputs: Int32Array, targets: Int32Array, batch: number, length: number): Floats
  /** Logits (rows.length, vocab) of chosen rows, numbered as batch * length + position. */
  logits(inputs: Int32Array, batch: number, length: number, rows: Int32Array): Floats
  /** What enters the first block, (batch * length, width). */
  embed(inputs: Int32Array, batch: number, length: number): Floats
  /** One block, in place. */
  block(layer: number, x: Floats, batch: number, length: number, onInput?: OnInput): void
  /** Losses from what left the last block. */
  finishLosses(x: Floats, targets: Int32Array): Floats
  /** Logits of chosen rows from what left the last block. */
  finishLogits(x: Floats, rows: Int32Array): Floats
}

/** A forward pass of `model` on `kernels`; parameters are looked up at each call, so they may be replaced in between. */
export function createInference(_model: Model, _kernels: Kernels, _options: InferenceOptions = {}): Inference {
  throw new Error('inference is not built yet')
}
