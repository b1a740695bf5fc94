// One training step's loss and gradients, in buffers that are made once.
import { RequestError } from '../formats/error.ts'
import type { Compute, Floats, Kernels } from '../tensor/kernels.ts'
import { createBlock } from './block.ts'
import { type ParameterSpec, type Precision, parameterSpecs } from './config.ts'
import { createEmbedding } from './layers/embedding.ts'
import { createHead } from './layers/head.ts'
import type { Scope } from './layers/scope.ts'
import type { Model } from './model.ts'
import { parsePrecision } from './precision.ts'
import { createSeeds } from './random.ts'
import { layerRope } from './rope.ts'
import { checkLength, checkTokens } from './tokens.ts'

/** How a training step computes, and the shape of its batch. */
export interface TrainingOptions {
  precision?: Precision | null
  /** Sequences a call. */
  batch: number
  /** Positions a sequence. */
  length: number
  /** `bf16` unless given. */
  compute?: Compute
  /** What rounding by chance (+sr) draws from, with the tensor's name and the number of the step (see `draw`); 0 unless given. */
  seed?: number
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
  /** The number of the step to come, 0 at first: rounding by chance draws anew in each, and the same again in the same. */
  draw(step: number): void
  /** Sets every gradient to 0. */
  clear(): void
  /** Bytes of the buffers: gradients and activations. */
  readonly bytes: number
}

/** A step over `model`, whose parameters must be of the kernels' number type (see widenModel) and are used in place. */
export function createTrainingStep(model: Model, kernels: Kernels, options: TrainingOptions): TrainingStep {
  const { config } = model
  const { batch, length, compute = 'bf16', seed = 0 } = options
  checkLength(config, length)
  let bytes = 0
  const allocate = (size: number) => {
    const array = kernels.allocate(size)
    bytes += array.byteLength
    return array
  }
  const parameters = trainedParameters(model, kernels, allocate)
  const gradients = new Map(parameters.map(({ name, gradient }) => [name, gradient]))
  const weights = new Map(parameters.map(({ name, weight }) => [name, weight]))
  const shared = new Map<string, Floats>()
  const share = (name: string, size: number) => {
    const old = shared.get(name)
    if (old !== undefined && old.length >= size) return old.subarray(0, size)
    const made = allocate(size)
    shared.set(name, made)
    return made
  }
  let drawing = 0
  const scope: Scope = {
    kernels,
    config,
    batch,
    length,
    first: 0,
    compute,
    ...parsePrecision(options.precision, compute),
    rope: layerRope(config, kernels, length),
    weight: name => weights.get(name)!,
    vector: name => weights.get(name) ?? null,
    gradient: name => gradients.get(name) ?? null,
    keep: (_name, size) => allocate(size),
    scratch: share,
    backwardScratch: share,
    seed(name) {
      const seeds = createSeeds(seed, `draws ${name}`)
      return () => seeds(drawing)
    },
  }
  const rows = batch * length
  const residuals = Array.from({ length: config.layers + 1 }, () => allocate(rows * config.width))
  const embedding = createEmbedding(scope, residuals[0])
  const blocks = residuals.slice(1).map((out, layer) => createBlock(scope, layer, residuals[layer], out))
  const head = createHead(scope)
  const last = residuals[config.layers]
  const losses = allocate(rows)
  const dx = allocate(rows * config.width)
  const forward = (inputs: Int32Array, targets: Int32Array) => {
    checkTokens(config, rows, inputs, targets)
    embedding.forward(inputs)
    for (const block of blocks) block.forward()
  }
  return {
    parameters,
    loss(inputs, targets) {
      forward(inputs, targets)
      head.losses(last, targets, losses)
      return meanLoss(losses, targets)
    },
    gradients(inputs, targets, scale = 1 / Math.max(1, countScored(targets))) {
      forward(inputs, targets)
      head.backward(last, targets, losses, dx, scale)
      for (let layer = blocks.length - 1; layer >= 0; layer--) blocks[layer].backward(dx)
      embedding.backward(inputs, dx)
      return meanLoss(losses, targets)
    },
    draw(step) {
      drawing = step
    },
    clear() {
      for (const { gradient } of parameters) gradient.fill(0)
    },
    bytes,
  }
}

function trainedParameters(
  { config, parameters }: Model,
  kernels: Kernels,
  allocate: (size: number) => Floats,
): TrainedParameter[] {
  const kind = kernels.allocate(0).constructor
  return parameterSpecs(config).map(spec => {
    const weight = parameters.get(spec.name)
    if (weight === undefined) throw new RequestError(`the model has no parameter '${spec.name}'`)
    if (weight.constructor !== kind || weight instanceof Uint16Array)
      throw new RequestError(
        `parameter '${spec.name}' is not in the number type that is trained in, widen the model first`,
      )
    const { name, shape } = spec
    return { name, kind: spec.kind, decay: shape.length === 2, weight, gradient: allocate(weight.length) }
  })
}

function countScored(targets: Int32Array): number {
  let count = 0
  for (let i = 0; i < targets.length; i++) if (targets[i] >= 0) count++
  return count
}

/** Mean of the losses over scored targets, in nats. */
function meanLoss(losses: Floats, targets: Int32Array): number {
  let sum = 0
  for (let i = 0; i < losses.length; i++) sum += losses[i]
  return sum / Math.max(1, countScored(targets))
}
