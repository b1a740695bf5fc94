// What a layer is built from: kernels, shapes, how products round, and where weights, gradients and buffers come from.
// Training gives each layer buffers of its own, made once; inference gives all layers the same ones.
import type { Format } from '../../formats/index.ts'
import type { Compute, Floats, KeptWeights, Kernels, Rounding, Weights } from '../../tensor/kernels.ts'
import type { ModelConfig } from '../config.ts'
import type { RopeTables } from '../rope.ts'

/** See the head of this file. */
export interface Scope {
  readonly kernels: Kernels
  readonly config: ModelConfig
  readonly batch: number
  readonly length: number
  /** Position of the first token of each sequence: 0 but where a text is continued. */
  readonly first: number
  /** Of the linears of the blocks. */
  readonly rounding: Rounding
  /** Of head and projections: nothing quantized. */
  readonly plain: Rounding
  readonly kv: Format | null
  readonly compute: Compute
  /** Angles of one layer; null: not rotated there. */
  rope(layer: number): RopeTables | null
  weight(name: string): Weights
  /** The weight (outputs, inputs) as the kernels keep it for many products; absent, or undefined, where it is not kept. */
  kept?(name: string, outputs: number, inputs: number, rounding: Rounding): KeptWeights | undefined
  /** A bias or gain as floats; null where the model has none. */
  vector(name: string): Floats | null
  /** Where a parameter's gradient is added; null: there is none, or only the forward pass runs. */
  gradient(name: string): Floats | null
  /** A buffer that lasts from the forward to the backward pass. */
  keep(name: string, length: number): Floats
  /** A buffer that layers share by name: its contents do not outlive the call. */
  scratch(name: string, length: number): Floats
  /** The same for the backward pass; empty where there is none. */
  backwardScratch(name: string, length: number): Floats
  /** What rounding of the tensor `name` by chance draws from, anew at each call in training; absent: always from 0. */
  seed?(name: string): () => number
  /** Sees the input of every linear (calibration). */
  onInput?(linear: string, x: Floats, rows: number, inputs: number): void
}

/** Attention or MLP: from the norm's output to what the residual stream gets. */
export interface Part {
  /** Reads x, writes the output array it was made with. */
  forward(x: Floats): void
  /** From dz, the gradient of the output, the gradient of x: overwritten or added to. */
  backward(x: Floats, dz: Floats, dx: Floats, accumulate: boolean): void
}
