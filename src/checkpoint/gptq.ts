// GPTQ's layout (AutoGPTQ and after): qweight packs codes along the inputs, qzeros zero points along the outputs,
// scales (groups, out), g_idx the group of each input. The first version stores zero points minus 1.
import { RequestError } from '../formats/error.ts'
import { unpackBits } from './bits.ts'
import { widen } from './numbers.ts'
import type { PackedWeight } from './packed.ts'
import type { TensorFile } from './tensors.ts'

/** Packed weights of a GPTQ checkpoint; `config` is its quantization_config. */
export function gptqWeights(tensors: TensorFile, config: Readonly<Record<string, unknown>>): Map<string, PackedWeight> {
  const bits = config['bits']
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8)
    throw new RequestError(`quantization_config.bits is ${String(bits)}, expected 2, 3, 4 or 8`)
  const second = config['checkpoint_format'] === 'gptq_v2'
  const weights = new Map<string, PackedWeight>()
  for (const name of tensors.names) {
    if (!name.endsWith('.qweight')) continue
    const layer = name.slice(0, -'.qweight'.length)
    weights.set(`${layer}.weight`, gptqWeight(tensors, layer, bits, second ? 0 : 1))
  }
  return weights
}

/** One layer's weight, its tensors' shapes checked against each other. */
function gptqWeight(tensors: TensorFile, layer: string, bits: number, zeroOffset: number): PackedWeight {
  const at = (part: string) => `${layer}.${part}`
  const [words, outputs] = tensors.info(at('qweight')).shape
  const inputs = (words * 32) / bits
  const [groups] = tensors.info(at('scales')).shape
  const expect = (part: string, dtypes: readonly string[], ...shape: number[]) => {
    const info = tensors.info(at(part))
    if (
      !dtypes.includes(info.dtype) ||
      info.shape.length !== shape.length ||
      info.shape.some((size, i) => size !== shape[i])
    )
      throw new Error(
        `tensor '${at(part)}' is ${info.dtype} [${info.shape.join(', ')}], expected ${dtypes.join(' or ')} [${shape.join(', ')}]`,
      )
  }
  if (!Number.isInteger(inputs))
    throw new Error(`tensor '${at('qweight')}' has ${words} rows, which is no whole number of codes of ${bits} bits`)
  expect('qweight', ['I32'], words, outputs)
  expect('qzeros', ['I32'], groups, (outputs * bits) / 32)
  expect('scales', ['F16', 'BF16', 'F32'], groups, outputs)
  const hasOrder = tensors.has(at('g_idx'))
  if (hasOrder) expect('g_idx', ['I32'], inputs)
  else if (inputs % groups !== 0) throw new Error(`layer '${layer}' has ${groups} groups for ${inputs} inputs`)
  return {
    shape: [outputs, inputs],
    from: ['qweight', 'qzeros', 'scales', ...(hasOrder ? ['g_idx'] : [])].map(at),
    read() {
      const packed = new Uint32Array(tensors.read(at('qweight')).buffer)
      const zeros = unpackBits(tensors.read(at('qzeros')), bits, groups * outputs)
      const { dtype, shape } = tensors.info(at('scales'))
      const scales = widen(tensors.read(at('scales')), dtype, shape)
      const order = hasOrder ? new Int32Array(tensors.read(at('g_idx')).buffer) : undefined
      const groupOf = (input: number) => (order ? order[input] : Math.floor(input / (inputs / groups)))
      const out = new Float32Array(outputs * inputs)
      const column = new Uint32Array(words)
      const mask = 2 ** bits - 1
      for (let output = 0; output < outputs; output++) {
        for (let word = 0; word < words; word++) column[word] = packed[word * outputs + output]
        const codes = unpackBits(new Uint8Array(column.buffer), bits, inputs)
        for (let input = 0; input < inputs; input++) {
          const group = groupOf(input)
          if (!(group >= 0 && group < groups))
            throw new Error(`tensor '${at('g_idx')}' names group ${group} of ${groups}`)
          const zero = (zeros[group * outputs + output] + zeroOffset) & mask
          out[output * inputs + input] = scales[group * outputs + output] * (codes[input] - zero)
        }
      }
      return out
    },
  }
}
