// The forward pass alone, for any batch and length: losses, chosen logits, and the pieces that calibration walks
// through layer by layer. Weights may be stored in bf16 and stay so; buffers are shared by all layers and stay.
import type { Format } from '../formats/index.ts'
import type { Compute, Floats, Kernels } from '../tensor/kernels.ts'
import { createBlock } from './block.ts'
import type { ModelConfig, Precision } from './config.ts'
import { createEmbedding } from './layers/embedding.ts'
import { createHead } from './layers/head.ts'
import type { Model } from './model.ts'
import { createScopes } from './scopes.ts'
import { checkLength, checkTargets, checkTokens } from './tokens.ts'

/** How a forward pass rounds: null precision rounds nothing; `compute` is `float` unless given. */
export interface InferenceOptions {
  precision?: Precision | null
  compute?: Compute
  /** The contents of parameters do not change while this lives: weights may be packed (and rounded) once, not at every call. */
  constant?: boolean
}

/** Called before each linear with its canonical name (`layers.0.q`) and its input (rows, inputs), not yet quantized. */
export type OnInput = (linear: string, x: Floats, rows: number, inputs: number) => void

/** The forward pass of one model. Arrays that it returns belong to the caller. */
export interface Inference {
  readonly config: ModelConfig
  /** Loss in nats of each of batch * length predictions; 0 where the target is -1 (not scored). */
  losses(inputs: Int32Array, targets: Int32Array, batch: number, length: number): Floats
  /** Logits (rows.length, vocab) of chosen rows, numbered as sequence * length + position. */
  logits(inputs: Int32Array, batch: number, length: number, rows: Int32Array): Floats
  /** What enters the first block, (batch * length, width). */
  embed(inputs: Int32Array, batch: number, length: number): Floats
  /** One block, in place; quantized activations, keys and values are each sequence's own. */
  block(layer: number, x: Floats, batch: number, length: number, onInput?: OnInput): void
  /** Losses from what left the last block. */
  finishLosses(x: Floats, targets: Int32Array): Floats
  /** Logits of chosen rows from what left the last block. */
  finishLogits(x: Floats, rows: Int32Array): Floats
}

/** A forward pass of `model` on `kernels`; parameters are looked up at each call, so they may be replaced in between. */
export function createInference(model: Model, kernels: Kernels, options: InferenceOptions = {}): Inference {
  const { config } = model
  const { width } = config
  const scopeOf = createScopes(model, kernels, options)
  const { rounding, kv } = scopeOf(1, 1)
  const oneByOne = !isRowWise(rounding.activations) || !isRowWise(kv)
  const enter = (inputs: Int32Array, batch: number, length: number, into?: Floats) => {
    checkLength(config, length)
    checkTokens(config, batch * length, inputs)
    const scope = scopeOf(batch, length)
    const x = into ?? scope.keep('stream', batch * length * width)
    createEmbedding(scope, x).forward(inputs)
    return x
  }
  const block = (layer: number, x: Floats, batch: number, length: number, onInput?: OnInput) => {
    const together = oneByOne ? 1 : batch
    for (let b = 0; b < batch; b += together) {
      const part = x.subarray(b * length * width, (b + together) * length * width)
      createBlock(scopeOf(together, length, { onInput }), layer, part, part).forward()
    }
  }
  const run = (inputs: Int32Array, batch: number, length: number) => {
    const x = enter(inputs, batch, length)
    for (let layer = 0; layer < config.layers; layer++) block(layer, x, batch, length)
    return x
  }
  const gather = (x: Floats, rows: Int32Array) => {
    const chosen = scopeOf(rows.length, 1).keep('chosen', rows.length * width)
    for (let i = 0; i < rows.length; i++) chosen.set(x.subarray(rows[i] * width, (rows[i] + 1) * width), i * width)
    return chosen
  }
  const finishLosses = (x: Floats, targets: Int32Array) => {
    checkTargets(config, x.length / width, targets)
    const losses = kernels.allocate(targets.length)
    // the head is the costliest matrix of a small model: only rows that are scored go through it, unless nearly all are
    const scored = rowsScored(targets)
    if (scored.length > 0.95 * targets.length) {
      createHead(scopeOf(targets.length, 1)).losses(x, targets, losses)
      return losses
    }
    const found = kernels.allocate(scored.length)
    createHead(scopeOf(scored.length, 1)).losses(gather(x, scored), targets.filter(isScored), found)
    for (let i = 0; i < scored.length; i++) losses[scored[i]] = found[i]
    return losses
  }
  const finishLogits = (x: Floats, rows: Int32Array) => {
    const logits = kernels.allocate(rows.length * config.vocab)
    createHead(scopeOf(rows.length, 1)).logits(gather(x, rows), logits)
    return logits
  }
  return {
    config,
    embed: (inputs, batch, length) => enter(inputs, batch, length, kernels.allocate(batch * length * width)),
    block,
    finishLosses,
    finishLogits,
    losses(inputs, targets, batch, length) {
      checkTargets(config, batch * length, targets)
      return finishLosses(run(inputs, batch, length), targets)
    },
    logits: (inputs, batch, length, rows) => finishLogits(run(inputs, batch, length), rows),
  }
}

/** Whether a row's rounding depends on that row alone, so that sequences may be rounded together. */
function isRowWise(format: Format | null): boolean {
  if (format === null || format.kind === 'plain') return true
  return format.kind === 'scaled' && (format.shares === 'channel' || format.shares === 'token')
}

const isScored = (target: number) => target >= 0

/** Numbers of the rows whose target is not -1. */
function rowsScored(targets: Int32Array): Int32Array {
  const rows = new Int32Array(targets.length)
  let count = 0
  for (let i = 0; i < targets.length; i++) if (isScored(targets[i])) rows[count++] = i
  return rows.subarray(0, count)
}
