// The operations that a transformer is made of: few, fused, on flat row-major typed arrays.
// Two implementations share this interface: reference.ts (plain TypeScript in float64 or float32, the definition
// and the fallback) and native.ts (C++, threaded). model/ and train/ know nothing else of the machine.
// Arrays belong to the caller; an implementation keeps only a workspace that grows to the largest call and stays.
import type { Format } from '../formats/index.ts'

/** Activations, gradients, master weights: Float32Array, or Float64Array in the reference's float64 mode. */
export type Floats = Float32Array | Float64Array

/** Weights as stored: floats, or the bits of bf16 numbers. */
export type Weights = Floats | Uint16Array

/** What products compute in: `bf16` rounds operands that are not small integer codes to bf16 and accumulates in f32; `float` rounds nothing. */
export type Compute = 'bf16' | 'float'

/** How a layer's product rounds its operands; null: not quantized (still bf16 where compute says so). */
export interface Rounding {
  weights: Format | null
  activations: Format | null
  /** The operand dy of both backward products. */
  gradients: Format | null
  /** Straight-through in full, or zero where a value was clipped (its code outside the range). */
  straightThrough: 'full' | 'clipped'
  /** The scale is this share of the absmax (1: no clipping). */
  absmaxRatio: { weights: number; activations: number }
  compute: Compute
}

/** Weights as an implementation lays them out for its products, kept so that they are packed once; its arrays must not change meanwhile. */
export interface KeptWeights {
  readonly bytes: number
  readonly handle: unknown
}

/**
 * What rounding by chance (+sr) draws from, 0 unless given: the weight by `seed`, dy by `seed` + 1, and the input that parts
 * share by the first part's `seed` + 2. The backward pass must be given what the forward pass was.
 */
export type Seed = number

/** One matrix that shares its input with others (q, k and v; gate and up). */
export interface LinearPart {
  /** (outputs, inputs) */
  weight: Weights
  /** The same weight kept by `keep` for this rounding. */
  kept?: KeptWeights
  outputs: number
  /** (outputs) */
  bias?: Floats
  /** (rows, outputs) */
  y: Floats
  /** (rows, outputs), added to the product (the residual stream); may be y itself. */
  residual?: Floats
  seed?: Seed
}

/** The backward pass of one LinearPart. */
export interface LinearBackwardPart {
  weight: Weights
  outputs: number
  /** (rows, outputs) */
  dy: Floats
  /** (outputs, inputs), added to. Absent: frozen. */
  dWeight?: Floats
  /** (outputs), added to. */
  dBias?: Floats
  seed?: Seed
}

/** Shapes and rules of causal attention: q is (batch * length, heads * headSize), k and v (batch * length, kvHeads * headSize). */
export interface AttentionShape {
  batch: number
  /** Positions a sequence. */
  length: number
  heads: number
  /** Divides heads: grouped queries. */
  kvHeads: number
  headSize: number
  /** Multiplies q·k, 1/sqrt(headSize) in most families. */
  scale: number
  /** A query sees itself and window-1 positions before it; null: all before it. */
  window: number | null
  /** ALiBi: (heads) slopes, added as -slope * distance; absent: none. */
  slopes?: Float64Array
  /** Scores become cap * tanh(score / cap) (Gemma 2); absent: none. */
  softcap?: number
  compute: Compute
}

/** Functions of the MLP's middle: x·sigmoid(x), GELU by erf, GELU by tanh, max(x, 0). */
export type Activation = 'silu' | 'gelu' | 'geluTanh' | 'relu'

/** A norm over each row of (rows, width); `eps` is added to the mean square. */
export interface NormShape {
  kind: 'rms' | 'layer'
  rows: number
  width: number
  eps: number
}

/** One step of AdamW on one tensor (Loshchilov and Hutter 2019, algorithm 2). */
export interface AdamW {
  /** Learning rate of this step. */
  rate: number
  beta1: number
  beta2: number
  eps: number
  /** Decoupled weight decay of this tensor; 0 for norms and biases. */
  weightDecay: number
  /** Step number from 1, for the bias correction. */
  step: number
  /** The gradient is multiplied by this first (clipping). */
  gradientScale: number
}

/** See the head of this file. Every function writes its result into arrays that the caller gives. */
export interface Kernels {
  readonly name: 'reference' | 'native'
  /** Instruction path: amx, avx512bf16, avx2, portable; `typescript` for the reference. */
  readonly isa: string
  readonly threads: number
  /** What was built, for ledger and checkpoints. */
  readonly build: string
  /** Zeroed floats of this implementation's number type. */
  allocate(length: number): Floats

  /** Keeps a weight (outputs, inputs) for products with this rounding; absent where there is nothing to gain. */
  keep?(weight: Weights, outputs: number, inputs: number, rounding: Rounding): KeptWeights
  /** y = Qa(x) Qw(weight)^T + bias (+ residual) for each part; x is (rows, inputs), quantized once. */
  linear(x: Floats, rows: number, inputs: number, parts: readonly LinearPart[], rounding: Rounding): void
  /** dx (rows, inputs; overwritten, or added to where `accumulate`) = sum of dy Qw(weight); dWeight += dy^T Qa(x); dBias += sum of dy. */
  linearBackward(
    x: Floats,
    rows: number,
    inputs: number,
    parts: readonly LinearBackwardPart[],
    dx: Floats | null,
    accumulate: boolean,
    rounding: Rounding,
  ): void

  /** out = x normalised over each row * gain + bias; `saved` keeps (rows) 1/std and, for layer norm, (rows) means behind them. */
  norm(x: Floats, gain: Floats | null, bias: Floats | null, out: Floats, saved: Floats, shape: NormShape): void
  /** dx is overwritten, or added to where `accumulate`; dGain and dBias are added to. */
  normBackward(
    x: Floats,
    gain: Floats | null,
    saved: Floats,
    dy: Floats,
    dx: Floats,
    accumulate: boolean,
    dGain: Floats | null,
    dBias: Floats | null,
    shape: NormShape,
  ): void

  /** Rotates, in place, the first 2*pairs numbers of each head: x is (rows, heads, headSize), cos and sin (length, pairs), position = row % length + offset; halves (i, i + pairs) belong together. `inverse` turns back: the gradient. */
  rotary(
    x: Floats,
    rows: number,
    heads: number,
    headSize: number,
    cos: Floats,
    sin: Floats,
    pairs: number,
    length: number,
    inverse: boolean,
  ): void

  /** Causal attention: q (batch*length, heads*headSize), k and v (batch*length, kvHeads*headSize) -> out like q; logSums (batch, heads, length) keeps ln of the softmax's denominators. */
  attention(q: Floats, k: Floats, v: Floats, out: Floats, logSums: Floats, shape: AttentionShape): void
  /** Overwrites dq, dk, dv. */
  attentionBackward(
    q: Floats,
    k: Floats,
    v: Floats,
    out: Floats,
    logSums: Floats,
    dOut: Floats,
    dq: Floats,
    dk: Floats,
    dv: Floats,
    shape: AttentionShape,
  ): void

  /** out = f(gate) * up, or f(gate) where up is null. */
  activation(gate: Floats, up: Floats | null, out: Floats, kind: Activation): void
  /** Overwrites dGate and dUp; either may be the same array as its forward counterpart. */
  activationBackward(
    gate: Floats,
    up: Floats | null,
    dOut: Floats,
    dGate: Floats,
    dUp: Floats | null,
    kind: Activation,
  ): void

  /** out (ids.length, width) = table[id] * scale (+ positions[offset + row % length]). */
  embed(
    table: Weights,
    ids: Int32Array,
    width: number,
    out: Floats,
    scale: number,
    positions?: { table: Weights; length: number; offset: number },
  ): void
  /** dTable and dPositions are added to, in a fixed order. */
  embedBackward(
    dOut: Floats,
    ids: Int32Array,
    width: number,
    dTable: Floats,
    scale: number,
    positions?: { dTable: Floats; length: number; offset: number },
  ): void

  /** losses (rows) = -ln softmax(x weight^T + bias)[target] without a full matrix of logits; target -1: not scored, loss 0. softcap caps logits as in AttentionShape. */
  crossEntropy(
    x: Floats,
    weight: Weights,
    bias: Floats | null,
    targets: Int32Array,
    losses: Floats,
    shape: { rows: number; width: number; vocab: number; softcap?: number; compute: Compute; kept?: KeptWeights },
  ): void
  /** The same, and the gradient of (sum of losses) * scale: dx is overwritten, dWeight and dBias added to. */
  crossEntropyBackward(
    x: Floats,
    weight: Weights,
    bias: Floats | null,
    targets: Int32Array,
    losses: Floats,
    dx: Floats,
    dWeight: Floats | null,
    dBias: Floats | null,
    shape: { rows: number; width: number; vocab: number; softcap?: number; compute: Compute; scale: number },
  ): void
  /** In place: each row of logits (rows, width) becomes its log-softmax. */
  logSoftmax(logits: Floats, rows: number, width: number): void

  /** out = x rounded to the format (value, not code); rows is (rows, width) as the format's shares read it. `out` may be x. `seed` (0 unless given): what rounding by chance draws from. */
  fakeQuantize(x: Floats, rows: number, width: number, format: Format, out: Floats, seed?: number): void
  /** y += x, elementwise. */
  add(y: Floats, x: Floats): void
  /** Sum of squares in a fixed reduction tree. */
  sumSquares(x: Floats): number
  /** One step on one tensor, in place. */
  adamw(weight: Floats, gradient: Floats, m: Floats, v: Floats, options: AdamW): void
}
