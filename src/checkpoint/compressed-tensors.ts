// compressed-tensors (llm-compressor, vLLM): integer codes packed into int32 along the inputs, or whole int8 and fp8
// weights, each with weight_scale by group, channel or tensor.
import { RequestError } from '../formats/error.ts'
import { unpackBits } from './bits.ts'
import { widen } from './numbers.ts'
import type { PackedWeight } from './packed.ts'
import type { TensorFile } from './tensors.ts'

/** The settings of one group of layers. */
interface WeightSettings {
  bits: number
  groupSize: number | null
}

/** Settings of the only group of layers; throws RequestError where there are several that differ, or activations are quantized too. */
function readSettings(config: Readonly<Record<string, unknown>>): WeightSettings {
  const groups = Object.values((config['config_groups'] ?? {}) as Record<string, Record<string, unknown>>)
  const settings = groups.map(group => {
    if (config['ignore_activations'] !== true && (group['input_activations'] || group['output_activations']))
      throw new RequestError(
        'quantization_config quantizes activations, which is not supported; --ignore-config quantization_config.activations goes on with weights alone',
      )
    const weights = (group['weights'] ?? {}) as Record<string, unknown>
    return {
      bits: Number(weights['num_bits']),
      groupSize: typeof weights['group_size'] === 'number' && weights['group_size'] > 0 ? weights['group_size'] : null,
    }
  })
  if (settings.length === 0) throw new RequestError('quantization_config has no config_groups')
  if (settings.some(one => one.bits !== settings[0].bits || one.groupSize !== settings[0].groupSize))
    throw new RequestError('quantization_config has several config_groups that differ, which is not supported')
  const { bits } = settings[0]
  if (!Number.isInteger(bits) || bits < 2 || bits > 8)
    throw new RequestError(`quantization_config has num_bits ${bits}, expected 2 to 8`)
  return settings[0]
}

/** Packed weights of a compressed-tensors checkpoint; `config` is its quantization_config. */
export function compressedWeights(
  tensors: TensorFile,
  config: Readonly<Record<string, unknown>>,
): Map<string, PackedWeight> {
  const settings = readSettings(config)
  const weights = new Map<string, PackedWeight>()
  for (const name of tensors.names) {
    if (name.endsWith('.weight_packed')) {
      const layer = name.slice(0, -'.weight_packed'.length)
      weights.set(`${layer}.weight`, packedWeight(tensors, layer, settings))
    } else if (
      name.endsWith('.weight_scale') &&
      tensors.has(name.replace(/_scale$/, '')) &&
      !tensors.has(name.replace(/_scale$/, '_packed'))
    ) {
      const layer = name.slice(0, -'.weight_scale'.length)
      weights.set(`${layer}.weight`, scaledWeight(tensors, layer))
    }
  }
  return weights
}

/** Scales as float32 with their rows and columns (out, groups). */
function readScales(tensors: TensorFile, name: string) {
  const { dtype, shape } = tensors.info(name)
  const [rows, columns] = shape.length === 2 ? shape : [shape.length === 1 ? shape[0] : 1, 1]
  return { scales: () => widen(tensors.read(name), dtype, shape), rows, columns }
}

/** A weight of packed codes: signed, stored with 2^(bits-1) added. */
function packedWeight(tensors: TensorFile, layer: string, { bits }: WeightSettings): PackedWeight {
  const at = (part: string) => `${layer}.weight_${part}`
  const packed = tensors.info(at('packed'))
  const perWord = Math.floor(32 / bits)
  const shapeInfo = tensors.info(at('shape'))
  const [outputs, inputs] = widen(tensors.read(at('shape')), shapeInfo.dtype, shapeInfo.shape)
  const words = Math.ceil(inputs / perWord)
  const { scales, rows, columns } = readScales(tensors, at('scale'))
  if (packed.dtype !== 'I32' || packed.shape[0] !== outputs || packed.shape[1] !== words)
    throw new Error(
      `tensor '${at('packed')}' is ${packed.dtype} [${packed.shape.join(', ')}], expected I32 [${outputs}, ${words}]`,
    )
  if (rows !== outputs && rows !== 1) throw new Error(`tensor '${at('scale')}' has ${rows} rows, expected ${outputs}`)
  if (columns < 1 || inputs % columns !== 0)
    throw new Error(`tensor '${at('scale')}' has ${columns} groups for ${inputs} inputs`)
  const zeros = tensors.has(at('zero_point')) ? tensors.info(at('zero_point')) : undefined
  const hasOrder = tensors.has(at('g_idx'))
  if (
    zeros &&
    (zeros.dtype !== 'I32' || zeros.shape[0] !== Math.ceil(rows / perWord) || (zeros.shape[1] ?? 1) !== columns)
  )
    throw new Error(
      `tensor '${at('zero_point')}' is ${zeros.dtype} [${zeros.shape.join(', ')}], expected I32 [${Math.ceil(rows / perWord)}, ${columns}]`,
    )
  return {
    shape: [outputs, inputs],
    from: ['packed', 'scale', 'shape', ...(zeros ? ['zero_point'] : []), ...(hasOrder ? ['g_idx'] : [])].map(at),
    read() {
      const bytes = tensors.read(at('packed'))
      const scale = scales()
      const offset = 2 ** (bits - 1)
      const zeroWords = zeros ? new Uint32Array(tensors.read(at('zero_point')).buffer) : undefined
      const zeroOf = (row: number, group: number) => {
        if (!zeroWords) return 0
        const word = zeroWords[Math.floor(row / perWord) * columns + group]
        return ((word >>> ((row % perWord) * bits)) & (2 * offset - 1)) - offset
      }
      const order = hasOrder ? new Int32Array(tensors.read(at('g_idx')).buffer) : undefined
      if (order && order.length !== inputs)
        throw new Error(`tensor '${at('g_idx')}' has ${order.length} entries, expected ${inputs}`)
      const out = new Float32Array(outputs * inputs)
      for (let output = 0; output < outputs; output++) {
        const row = rows === 1 ? 0 : output
        for (let word = 0; word < words; word++) {
          const codes = unpackBits(
            bytes,
            bits,
            Math.min(perWord, inputs - word * perWord),
            (output * words + word) * 32,
          )
          for (let i = 0; i < codes.length; i++) {
            const input = word * perWord + i
            const group = order ? order[input] : Math.floor(input / (inputs / columns))
            if (!(group >= 0 && group < columns))
              throw new Error(`tensor '${at('g_idx')}' names group ${group} of ${columns}`)
            out[output * inputs + input] = (codes[i] - offset - zeroOf(row, group)) * scale[row * columns + group]
          }
        }
      }
      return out
    },
  }
}

/** A weight of int8 or fp8 numbers that are multiplied by scales. */
function scaledWeight(tensors: TensorFile, layer: string): PackedWeight {
  const name = `${layer}.weight`
  const { dtype, shape } = tensors.info(name)
  const { scales, rows, columns } = readScales(tensors, `${name}_scale`)
  const [outputs, inputs] = shape
  if (shape.length !== 2 || (rows !== outputs && rows !== 1) || inputs % columns !== 0)
    throw new Error(`tensor '${name}_scale' has ${rows} x ${columns} scales for [${shape.join(', ')}]`)
  if (tensors.has(`${name}_zero_point`)) throw new RequestError(`tensor '${name}_zero_point' is not supported`)
  return {
    shape: [outputs, inputs],
    from: [name, `${name}_scale`],
    read() {
      const values = widen(tensors.read(name), dtype, shape)
      const scale = scales()
      for (let i = 0; i < values.length; i++) {
        const row = rows === 1 ? 0 : Math.floor(i / inputs)
        values[i] *= scale[row * columns + Math.floor(((i % inputs) * columns) / inputs)]
      }
      return values
    },
  }
}
