// Quantized checkpoints, by `quantization_config` of config.json: packed tensors appear as the weights they stand for,
// `<layer>.weight` in float32 and oriented (out, in), and the tensors they are made of disappear.
import { RequestError } from '../formats/error.ts'
import { compressedWeights } from './compressed-tensors.ts'
import { gptqWeights } from './gptq.ts'
import type { TensorFile } from './tensors.ts'

/** One weight that is stored as several tensors. */
export interface PackedWeight {
  /** (out, in) */
  shape: readonly [number, number]
  /** Names of the tensors that it is made of. */
  from: readonly string[]
  /** The values; float32, row major. */
  read(): Float32Array<ArrayBuffer>
}

/** A reader of one layout: the packed weights of a file by the name of the plain tensor. */
export type PackedReader = (tensors: TensorFile, config: Readonly<Record<string, unknown>>) => Map<string, PackedWeight>

/** Layouts by `quant_method`. Bitlaw's own (`bitlaw`) is by parameter, not by tensor: see encoded.ts. */
const PACKED_READERS: Readonly<Record<string, PackedReader>> = {
  'compressed-tensors': compressedWeights,
  gptq: gptqWeights,
}

/** A checkpoint with its packed weights as plain ones; throws RequestError for a layout that is not known. */
export function openPacked(tensors: TensorFile, config: Readonly<Record<string, unknown>>): TensorFile {
  const method = String(config['quant_method'])
  if (!Object.hasOwn(PACKED_READERS, method))
    throw new RequestError(
      `config.json has quantization_config.quant_method '${method.slice(0, 50)}', expected one of ${['bitlaw', ...Object.keys(PACKED_READERS)].join(', ')}`,
    )
  const weights = PACKED_READERS[method](tensors, config)
  const used = new Set([...weights.values()].flatMap(weight => weight.from))
  return {
    names: [...tensors.names.filter(name => !used.has(name)), ...weights.keys()],
    metadata: tensors.metadata,
    has: name => weights.has(name) || (!used.has(name) && tensors.has(name)),
    info(name) {
      const weight = weights.get(name)
      if (!weight) return tensors.info(name)
      return { dtype: 'F32', shape: weight.shape, bytes: 4 * weight.shape[0] * weight.shape[1], oriented: true }
    },
    read(name) {
      const weight = weights.get(name)
      return weight ? new Uint8Array(weight.read().buffer) : tensors.read(name)
    },
    close: tensors.close,
  }
}
