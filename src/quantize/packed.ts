// Quantized matrices in the layouts that vLLM and transformers load: compressed-tensors for 4 and 8 bits, AutoGPTQ's for
// 2 and 3. Only what these layouts say exactly goes into them (codes, a step and a zero point a group of one row); every
// other format goes into Bitlaw's own layout (checkpoint/encoded.ts). The readers are in checkpoint/.
import { packBits } from '../checkpoint/bits.ts'
import { roundToBf16 } from '../checkpoint/numbers.ts'
import type { TensorToWrite } from '../checkpoint/safetensors.ts'
import { type Format, parseFormat, toFloat16 } from '../formats/index.ts'
import { isStepped, largestStep } from '../formats/scaled.ts'
import type { MatrixHead } from './finished.ts'
import type { QuantizedMatrix } from './layer.ts'

/** Layouts of a packed folder. */
export type Layout = 'bitlaw' | 'compressed-tensors' | 'gptq'

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

/** Integer codes (rows, columns) of a matrix, columns as in the model, 0 … 2^bits - 1; and zero points (rows, groups). */
function stepsOf({ encoded, order }: QuantizedMatrix): { codes: Uint8Array; zeros: Uint8Array } {
  const format = parseFormat(encoded.format)
  const [rows, columns] = encoded.shape
  const stepped = format.kind === 'scaled' && isStepped(format)
  const offset = stepped ? largestStep(format.element) + 1 : 0
  const inPlace = encoded.codes as Uint8Array | Int8Array
  const codes = new Uint8Array(rows * columns)
  for (let i = 0; i < codes.length; i++) {
    const place = i % columns
    codes[order ? i - place + order[place] : i] = inPlace[i] + offset
  }
  const zeros =
    encoded.zeros instanceof Uint8Array ? encoded.zeros : new Uint8Array(encoded.scales!.length).fill(offset)
  return { codes, zeros }
}

/** Group of each column. */
function groupOfColumns(order: Int32Array | null, columns: number, groups: number): Int32Array {
  const groupOf = new Int32Array(columns)
  for (let place = 0; place < columns; place++)
    groupOf[order ? order[place] : place] = Math.floor(place / (columns / groups))
  return groupOf
}

/** Scales in their own type: halves, bf16 or float32. */
function scaleTensor(
  name: string,
  shape: readonly number[],
  read: () => Float32Array,
  spelling: string,
): TensorToWrite {
  const format = parseFormat(spelling)
  const kind = format.kind === 'scaled' ? format.scale : 'fp32'
  if (kind === 'fp16') return { name, dtype: 'F16', shape, data: () => Uint16Array.from(read(), toFloat16) }
  if (kind === 'bf16') return { name, dtype: 'BF16', shape, data: () => roundToBf16(read()) }
  return { name, dtype: 'F32', shape, data: read }
}

/** Rows, columns, bits of a code, and groups of a row. */
function sizesOf({ format: spelling, shape }: MatrixHead) {
  const format = parseFormat(spelling)
  if (format.kind !== 'scaled' || !('bits' in format.element)) throw new Error(`'${spelling}' has no integer codes`)
  const [rows, columns] = shape
  return {
    rows,
    columns,
    bits: format.element.bits,
    groups: typeof format.shares === 'number' ? columns / format.shares : 1,
    asymmetric: format.element.kind === 'uint',
  }
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

/** Tensors of one layer (its name without `.weight`) in compressed-tensors' layout; `read` gives the matrix when their turn comes. */
export function compressedTensors(layer: string, head: MatrixHead, read: () => QuantizedMatrix): TensorToWrite[] {
  const { rows, columns, bits, groups, asymmetric } = sizesOf(head)
  const perWord = 32 / bits
  const zeroWords = Math.ceil(rows / perWord)
  const tensors: TensorToWrite[] = [
    {
      name: `${layer}.weight_packed`,
      dtype: 'I32',
      shape: [rows, Math.ceil(columns / perWord)],
      data: () => packRows(stepsOf(read()).codes, columns, bits),
    },
    scaleTensor(`${layer}.weight_scale`, [rows, groups], () => read().encoded.scales as Float32Array, head.format),
    {
      name: `${layer}.weight_shape`,
      dtype: 'I64',
      shape: [2],
      data: () => new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer),
    },
  ]
  if (asymmetric)
    tensors.push({
      name: `${layer}.weight_zero_point`,
      dtype: 'I32',
      shape: [zeroWords, groups],
      data() {
        const byGroup = packRows(transpose(read().encoded.zeros!, rows), rows, bits) // (groups, words)
        const turned = new Int32Array(byGroup.length)
        for (let i = 0; i < byGroup.length; i++)
          turned[(i % zeroWords) * groups + Math.floor(i / zeroWords)] = byGroup[i]
        return turned
      },
    })
  if (head.ordered)
    tensors.push({
      name: `${layer}.weight_g_idx`,
      dtype: 'I32',
      shape: [columns],
      data: () => groupOfColumns(read().order, columns, groups),
    })
  return tensors
}

/** Tensors of one layer in AutoGPTQ's layout, zero points as they are (`gptq_v2`); `read` gives the matrix when their turn comes. */
export function gptqTensors(layer: string, head: MatrixHead, read: () => QuantizedMatrix): TensorToWrite[] {
  const { rows, columns, bits, groups } = sizesOf(head)
  const words = (columns * bits) / 32
  return [
    {
      name: `${layer}.qweight`,
      dtype: 'I32',
      shape: [words, rows],
      data() {
        const { codes } = stepsOf(read())
        const weight = new Int32Array(words * rows)
        for (let r = 0; r < rows; r++) {
          const stream = new Int32Array(packBits(codes.subarray(r * columns, (r + 1) * columns), bits).buffer)
          for (let word = 0; word < words; word++) weight[word * rows + r] = stream[word]
        }
        return weight
      },
    },
    {
      name: `${layer}.qzeros`,
      dtype: 'I32',
      shape: [groups, (rows * bits) / 32],
      data: () => packBits(transpose(stepsOf(read()).zeros, rows), bits),
    },
    scaleTensor(
      `${layer}.scales`,
      [groups, rows],
      () => transpose(read().encoded.scales as Float32Array, rows),
      head.format,
    ),
    {
      name: `${layer}.g_idx`,
      dtype: 'I32',
      shape: [columns],
      data: () => groupOfColumns(read().order, columns, groups),
    },
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
