// Quantized matrices in the layouts that vLLM and transformers load: compressed-tensors for 4 and 8 bits, AutoGPTQ's for
// 2 and 3. Only what these layouts say exactly goes into them (codes, a step and a zero point a group of one row); every
// other format goes into Bitlaw's own layout (checkpoint/encoded.ts). The readers are in checkpoint/.
import { packBits } from '../checkpoint/bits.ts'
import type { TensorToWrite } from '../checkpoint/safetensors.ts'
import { type Format, fromFloat16, parseFormat, toFloat16 } from '../formats/index.ts'
import { isStepped, largestStep } from '../formats/scaled.ts'
import type { QuantizedMatrix } from './layer.ts'

/** Layouts of a packed folder. */
export type Layout = 'bitlaw' | 'compressed-tensors' | 'gptq'

/** Integer codes of a matrix with a step and zero point for each group of a row. */
interface Steps {
  bits: number
  /** (rows, columns), 0 … 2^bits - 1, columns as in the model. */
  codes: Uint8Array
  /** (rows, groups) */
  scales: Float32Array
  zeros: Uint8Array
  groups: number
  /** Group of each column where they do not stand in order. */
  groupOf: Int32Array | null
}

/** The layout that says a format exactly, for a matrix (rows, columns); `bitlaw` where no other does. */
export function layoutFor(format: Format, [rows, columns]: readonly number[]): Layout {
  if (format.kind !== 'scaled') return 'bitlaw'
  const { element, shares, scale, centered, proxy, hadamard } = format
  if (
    centered ||
    proxy > 0 ||
    hadamard ||
    shares === 'tensor' ||
    (scale !== 'fp16' && scale !== 'bf16' && scale !== 'fp32')
  )
    return 'bitlaw'
  if (typeof shares === 'number' && columns % shares !== 0) return 'bitlaw'
  const grid = element.kind === 'full' || element.kind === 'uint'
  if (!grid && !(isStepped(format) && element.kind === 'int' && element.bits === 8)) return 'bitlaw'
  const bits = 'bits' in element ? element.bits : 0
  if (bits === 4 || bits === 8) return 'compressed-tensors'
  return (bits === 2 || bits === 3) && columns % 32 === 0 && rows % 32 === 0 ? 'gptq' : 'bitlaw'
}

function stepsOf({ encoded, order }: QuantizedMatrix): Steps {
  const format = parseFormat(encoded.format)
  if (format.kind !== 'scaled' || !('bits' in format.element))
    throw new Error(`'${encoded.format}' has no integer codes`)
  const [rows, columns] = encoded.shape
  const scales = encoded.scales as Float32Array
  const groups = scales.length / rows
  const offset = isStepped(format) ? largestStep(format.element) + 1 : 0
  const inPlace = encoded.codes as Uint8Array | Int8Array
  const codes = new Uint8Array(rows * columns)
  for (let i = 0; i < codes.length; i++) {
    const place = i % columns
    codes[order ? i - place + order[place] : i] = inPlace[i] + offset
  }
  const zeros = encoded.zeros instanceof Uint8Array ? encoded.zeros : new Uint8Array(scales.length).fill(offset)
  let groupOf: Int32Array | null = null
  if (order) {
    groupOf = new Int32Array(columns)
    for (let place = 0; place < columns; place++) groupOf[order[place]] = Math.floor(place / (columns / groups))
  }
  return { bits: format.element.bits, codes, scales, zeros, groups, groupOf }
}

/** Scales in their own type: halves where the format has them, else bf16 or float32. */
function scaleTensor(name: string, shape: readonly number[], scales: Float32Array, spelling: string): TensorToWrite {
  const format = parseFormat(spelling)
  const kind = format.kind === 'scaled' ? format.scale : 'fp32'
  if (kind === 'fp16' && scales.every(x => fromFloat16(toFloat16(x)) === x))
    return { name, dtype: 'F16', shape, data: () => Uint16Array.from(scales, toFloat16) }
  if (kind === 'bf16') {
    const words = new Uint32Array(scales.buffer, scales.byteOffset, scales.length)
    return { name, dtype: 'BF16', shape, data: () => Uint16Array.from(words, word => word >>> 16) }
  }
  return { name, dtype: 'F32', shape, data: () => scales }
}

/** Words of 32 / bits codes each, along rows of `length` codes. */
function packRows(codes: Uint8Array, length: number, bits: number): Int32Array {
  const perWord = 32 / bits
  const words = Math.ceil(length / perWord)
  const out = new Int32Array((codes.length / length) * words)
  for (let i = 0; i < codes.length; i++) {
    const place = i % length
    out[Math.floor(i / length) * words + Math.floor(place / perWord)] |= codes[i] << ((place % perWord) * bits)
  }
  return out
}

function transpose<T extends Uint8Array | Float32Array>(values: T, rows: number): T {
  const columns = values.length / rows
  const out = values.slice() as T
  for (let i = 0; i < values.length; i++) out[(i % columns) * rows + Math.floor(i / columns)] = values[i]
  return out
}

/** Tensors of one layer (its name without `.weight`) in compressed-tensors' layout. */
export function compressedTensors(layer: string, matrix: QuantizedMatrix): TensorToWrite[] {
  const [rows, columns] = matrix.encoded.shape
  const { bits, codes, scales, zeros, groups, groupOf } = stepsOf(matrix)
  const packed = packRows(codes, columns, bits)
  const tensors: TensorToWrite[] = [
    { name: `${layer}.weight_packed`, dtype: 'I32', shape: [rows, packed.length / rows], data: () => packed },
    scaleTensor(`${layer}.weight_scale`, [rows, groups], scales, matrix.encoded.format),
    {
      name: `${layer}.weight_shape`,
      dtype: 'I64',
      shape: [2],
      data: () => new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer),
    },
  ]
  if (parseElementKind(matrix.encoded.format) === 'uint') {
    const words = Math.ceil(rows / (32 / bits))
    const byGroup = packRows(transpose(zeros, rows), rows, bits) // (groups, words)
    const turned = new Int32Array(byGroup.length)
    for (let i = 0; i < byGroup.length; i++) turned[(i % words) * groups + Math.floor(i / words)] = byGroup[i]
    tensors.push({ name: `${layer}.weight_zero_point`, dtype: 'I32', shape: [words, groups], data: () => turned })
  }
  if (groupOf) tensors.push({ name: `${layer}.weight_g_idx`, dtype: 'I32', shape: [columns], data: () => groupOf })
  return tensors
}

function parseElementKind(spelling: string): string {
  const format = parseFormat(spelling)
  return format.kind === 'scaled' ? format.element.kind : format.kind
}

/** Tensors of one layer in AutoGPTQ's layout, zero points as they are (`gptq_v2`). */
export function gptqTensors(layer: string, matrix: QuantizedMatrix): TensorToWrite[] {
  const [rows, columns] = matrix.encoded.shape
  const { bits, codes, scales, zeros, groups, groupOf } = stepsOf(matrix)
  const words = (columns * bits) / 32
  const weight = new Uint32Array(words * rows)
  for (let r = 0; r < rows; r++) {
    const stream = new Uint32Array(packBits(codes.subarray(r * columns, (r + 1) * columns), bits).buffer)
    for (let word = 0; word < words; word++) weight[word * rows + r] = stream[word]
  }
  const zeroBytes = packBits(transpose(zeros, rows), bits)
  const index = groupOf ?? Int32Array.from({ length: columns }, (_, c) => Math.floor(c / (columns / groups)))
  return [
    { name: `${layer}.qweight`, dtype: 'I32', shape: [words, rows], data: () => new Int32Array(weight.buffer) },
    { name: `${layer}.qzeros`, dtype: 'I32', shape: [groups, (rows * bits) / 32], data: () => zeroBytes },
    scaleTensor(`${layer}.scales`, [groups, rows], transpose(scales, rows), matrix.encoded.format),
    { name: `${layer}.g_idx`, dtype: 'I32', shape: [columns], data: () => index },
  ]
}

/** `quantization_config` of a folder whose linears have one format; `ignore` names the linear layers that are not quantized. */
export function packedConfig(
  layout: 'compressed-tensors' | 'gptq',
  spelling: string,
  ignore: readonly string[],
  actOrder: boolean,
): Record<string, unknown> {
  const format = parseFormat(spelling)
  if (format.kind !== 'scaled' || !('bits' in format.element)) throw new Error(`'${spelling}' has no integer codes`)
  const { bits, kind } = format.element
  const group = typeof format.shares === 'number' ? format.shares : -1
  const symmetric = kind !== 'uint'
  if (layout === 'gptq')
    return {
      quant_method: 'gptq',
      checkpoint_format: 'gptq_v2',
      bits,
      group_size: group,
      sym: symmetric,
      desc_act: actOrder,
      modules_to_not_convert: ignore,
    }
  return {
    quant_method: 'compressed-tensors',
    format: 'pack-quantized',
    quantization_status: 'compressed',
    global_compression_ratio: null,
    kv_cache_scheme: null,
    ignore,
    config_groups: {
      group_0: {
        targets: ['Linear'],
        input_activations: null,
        output_activations: null,
        weights: {
          num_bits: bits,
          type: 'int',
          symmetric,
          strategy: group > 0 ? 'group' : 'channel',
          group_size: group > 0 ? group : null,
          dynamic: false,
          actorder: actOrder ? 'group' : null,
          block_structure: null,
          observer: 'minmax',
          observer_kwargs: {},
        },
      },
    },
  }
}
