// A model and a format in, the quantized model out, with what every tensor lost and cost. Tensors are taken one after
// another, in the order of the blocks; what has been quantized is what calibration text then runs through.
import { roundToBf16, widenBf16 } from '../checkpoint/numbers.ts'
import { bitsPerParameter, type Format, printFormat, RequestError } from '../formats/index.ts'
import { type ParameterSpec, parameterSpecs } from '../model/config.ts'
import { createInference } from '../model/inference.ts'
import { LayeredParameters } from '../model/layered.ts'
import { type Model, sizeOf, widen } from '../model/model.ts'
import type { Kernels, Weights } from '../tensor/kernels.ts'
import { ALL_GROUPS, foldAwq } from './awq-fold.ts'
import { type Calibration, type InputMoments, inputGroup, startWalk } from './calibration.ts'
import type { GptqOptions } from './gptq.ts'
import { gptqMatrix, type QuantizedMatrix, rtnMatrix, squaredError } from './layer.ts'
import { keptInputs } from './outliers.ts'
import { type Chosen, type Selection, selectTensors } from './select.ts'
import { defaultSolvers, type Solvers } from './solvers.ts'

/** How codes are chosen. */
export type Method = 'rtn' | 'gptq' | 'awq'

/** What quantizeModel is told. */
export interface QuantizeOptions extends Selection {
  /** One spelling for all chosen tensors, or one a tensor (null: as stored). */
  format: string | ((spec: ParameterSpec) => string | null)
  method?: Method
  /** Needed by gptq and awq. */
  calibration?: Calibration
  /** Runs calibration; needed by gptq and awq. */
  kernels?: Kernels
  gptq?: GptqOptions
  /** `block`: the inputs of all linears of a block before any is quantized; `sequential`: q k v, then o, then gate up, then down. */
  order?: 'block' | 'sequential'
  seed?: number
  /** The checkpoint's own names of a tensor, which globs may use. */
  aliases?: (name: string) => readonly string[]
  /** Bits of numbers that stay as stored; by default as they are in memory. */
  storedBits?: (spec: ParameterSpec, model: Model) => number
  solvers?: Solvers
  /** Values are rounded once more, to bf16: what a dequantized checkpoint stores. */
  toBf16?: boolean
  /** false: the model that comes back keeps the weights as they were, which spares the memory of the new ones (rtn and gptq). */
  keepValues?: boolean
  /** Called with each finished tensor; what it is given is not kept here. */
  onTensor?: (tensor: QuantizedTensor, matrix: QuantizedMatrix) => void
  /** Weights of a tensor's input dimensions, for ggml's types. */
  importance?: (spec: ParameterSpec) => Float32Array | undefined
  /** A tensor that an earlier, interrupted run has finished. */
  isFinished?: (name: string, format: Format) => boolean
  finished?: (name: string, format: Format) => FinishedTensor | undefined
}

/** A tensor that is done, and what it lost. */
export interface FinishedTensor {
  matrix: QuantizedMatrix
  squaredError: number
  outputError: number | null
}

/** One tensor's account. */
export interface QuantizedTensor {
  name: string
  format: string
  shape: readonly number[]
  /** Everything stored, in bits. */
  bits: number
  /** Sum of squared differences of the weights. */
  squaredError: number
  /** Sum of squares of what the output of the layer changed by on the calibration text; null without one. */
  outputError: number | null
}

/** A quantized model, and what it cost. */
export interface QuantizedModel {
  model: Model
  tensors: QuantizedTensor[]
  squaredError: number
  /** Of the quantized tensors. */
  bitsPerParameter: number
  /** Of the whole model, what is not quantized as stored. */
  totalBits: number
}

/** Bits of one tensor in a format, everything counted. */
export function tensorBits(format: Format, shape: readonly number[]): number {
  return Math.round(bitsPerParameter(format, shape) * sizeOf(shape))
}

/** Quantizes a model; throws RequestError for a selection or format that cannot be, or calibration that is missing. */
export function quantizeModel(model: Model, options: QuantizeOptions): QuantizedModel {
  const { method = 'rtn', seed = 0, solvers = defaultSolvers() } = options
  const chosen = selectTensors(model.config, options.format, options, options.aliases)
  if (method === 'awq')
    for (const { format } of chosen)
      if (format.kind === 'scaled' && format.proxy > 0)
        throw new RequestError(`method awq does not combine with +proxy in '${printFormat(format)}'`)
  const parameters = new LayeredParameters(model.parameters)
  const quantized = { config: model.config, parameters }
  const tensors: QuantizedTensor[] = []

  const dropLater: (() => unknown)[] = []
  const finish = ({ spec, format }: Chosen, { matrix, squaredError, outputError }: FinishedTensor) => {
    const tensor: QuantizedTensor = {
      name: spec.name,
      format: printFormat(format),
      shape: spec.shape,
      bits: tensorBits(format, spec.shape) + orderBits(matrix.order),
      squaredError,
      outputError,
    }
    tensors.push(tensor)
    options.onTensor?.(tensor, matrix)
    if (options.keepValues === false && method === 'rtn') return
    if (options.toBf16) matrix.values = widenBf16(roundToBf16(matrix.values))
    parameters.set(spec.name, matrix.values)
    // Calibration text still runs through the values of a block; then they go.
    if (options.keepValues === false) dropLater.push(() => parameters.delete(spec.name))
  }
  const quantizeOne = (each: Chosen, moments?: InputMoments) => {
    const { spec, format } = each
    const done = options.finished?.(spec.name, format)
    if (done) return finish(each, done)
    const weight = floatsOf(parameters.get(spec.name)!)
    const linear = spec.name.replace(/\.weight$/, '')
    const keep =
      format.kind === 'scaled' && format.proxy > 0
        ? keptInputs(model.config, model.parameters, linear, format.proxy)
        : undefined
    const matrix =
      method === 'gptq' && moments
        ? gptqMatrix(
            weight,
            spec.shape,
            format,
            moments.hessian,
            { ...options.gptq, seed, keep },
            solvers.gptq,
            solvers,
          )
        : rtnMatrix(weight, spec.shape, format, { seed, keep, importance: options.importance?.(spec) }, solvers)
    if (options.toBf16) matrix.values = widenBf16(roundToBf16(matrix.values))
    const [rows, columns] = spec.shape
    finish(each, {
      matrix,
      squaredError: squaredError(weight, matrix.values),
      outputError: moments ? solvers.outputError(weight, matrix.values, moments.hessian, rows, columns) : null,
    })
  }

  if (method === 'rtn') for (const each of chosen) quantizeOne(each)
  else
    walkBlocks(quantized, chosen, quantizeOne, options, solvers, () => {
      for (const drop of dropLater.splice(0)) drop()
    })

  if (options.toBf16 && options.keepValues !== false)
    for (const [name, weights] of parameters)
      if (!(weights instanceof Uint16Array)) parameters.set(name, widenBf16(roundToBf16(weights)))
  const order = new Map(chosen.map(({ spec }, i) => [spec.name, i]))
  tensors.sort((a, b) => order.get(a.name)! - order.get(b.name)!)
  return { model: quantized, tensors, ...account(quantized, tensors, options) }
}

/** Block after block: gathers moments of the inputs, quantizes, and lets the calibration text through what came out. */
function walkBlocks(
  model: { config: Model['config']; parameters: LayeredParameters },
  chosen: readonly Chosen[],
  quantizeOne: (each: Chosen, moments?: InputMoments) => void,
  options: QuantizeOptions,
  solvers: Solvers,
  leave: () => void,
): void {
  const { method, calibration, kernels, order = 'block', seed = 0 } = options
  if (!calibration || !kernels) throw new RequestError(`method ${method} needs calibration text (--calibration FILE)`)
  const { parameters } = model
  // Numbers that are read from a file are held while they are needed more than once: for the embedding, and for a block.
  const hold = (names: readonly string[]) => {
    const held = names.filter(name => !parameters.owns(name))
    for (const name of held) parameters.set(name, parameters.get(name)!)
    const values = new Map(held.map(name => [name, parameters.get(name)]))
    return () => {
      for (const [name, value] of values) if (parameters.get(name) === value) parameters.delete(name)
    }
  }
  const names = [...parameters.keys()]
  let release = hold(names.filter(name => !name.startsWith('layers.') && !name.startsWith('head.')))
  const walk = startWalk(createInference(model, kernels, { compute: 'float' }), calibration, solvers.addToHessian)
  const inBlock = (each: Chosen, layer: number) => each.spec.name.startsWith(`layers.${layer}.`)
  const groupOf = (each: Chosen) => inputGroup(each.spec.name.replace(/\.weight$/, ''))
  release()
  for (let layer = 0; layer < model.config.layers; layer++) {
    release = hold(names.filter(name => name.startsWith(`layers.${layer}.`)))
    const mine = chosen.filter(each => inBlock(each, layer))
    if (method === 'awq') {
      const moments = walk.collect(layer, ALL_GROUPS, { magnitudes: true })
      const formats = new Map(mine.map(each => [each.spec.name, each.format]))
      foldAwq(
        model.config,
        parameters,
        layer,
        moments,
        name => formats.get(name),
        (weight, rows, columns, format) =>
          rtnMatrix(Float32Array.from(weight), [rows, columns], format, { seed }, solvers).values,
      )
      for (const each of mine) quantizeOne(each, moments.get(groupOf(each)))
    } else
      for (const groups of order === 'block' ? [ALL_GROUPS] : ALL_GROUPS.map(group => [group])) {
        const now = mine.filter(each => groups.includes(groupOf(each)))
        if (now.length === 0) continue
        // What an interrupted run has finished needs no moments any more.
        const left = now.filter(each => !options.isFinished?.(each.spec.name, each.format))
        const moments = left.length > 0 ? walk.collect(layer, [...new Set(left.map(groupOf))]) : new Map()
        for (const each of now) quantizeOne(each, moments.get(groupOf(each)))
      }
    if (layer < model.config.layers - 1) walk.advance(layer)
    leave()
    release()
  }
  for (const each of chosen) if (!each.spec.name.startsWith('layers.')) quantizeOne(each)
  leave()
}

/** Bits of an order of columns: an index of 32 bits each, as the files store it. */
function orderBits(order: Int32Array | null): number {
  return order ? order.length * 32 : 0
}

function floatsOf(weights: Weights): Float32Array {
  return weights instanceof Float32Array ? weights : (widen(weights, new Float32Array(weights.length)) as Float32Array)
}

/** Totals over tensors: of the quantized ones, and of the whole model. */
export function account(
  model: Model,
  tensors: readonly QuantizedTensor[],
  { storedBits }: Pick<QuantizeOptions, 'storedBits'> = {},
) {
  let squared = 0
  let bits = 0
  let count = 0
  for (const tensor of tensors) {
    squared += tensor.squaredError
    bits += tensor.bits
    count += sizeOf(tensor.shape)
  }
  const names = new Set(tensors.map(tensor => tensor.name))
  let totalBits = bits
  const inMemory = ({ name }: { name: string }) => model.parameters.get(name)!.BYTES_PER_ELEMENT * 8
  for (const spec of parameterSpecs(model.config))
    if (!names.has(spec.name)) totalBits += sizeOf(spec.shape) * (storedBits ?? inMemory)(spec, model)
  return { squaredError: squared, bitsPerParameter: count > 0 ? bits / count : 0, totalBits }
}
