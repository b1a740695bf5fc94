// How many bits a format stores: by formula without a shape, and with one everything that a tensor stores, counted.
import type { Element, FormatLike, ScaledFormat, ScaleKind } from './format.ts'
import { layoutOf } from './layout.ts'
import { ggmlType, microscaling } from './preset.ts'
import { parseFormat } from './spelling.ts'

/** Bits of one scale in its block; e4m3 has one f32 a tensor and dyn8x256 one f32 for each 256 and one a tensor beside. */
const SCALE_BITS: Record<ScaleKind, number> = { fp16: 16, bf16: 16, fp32: 32, exact: 32, e8m0: 8, e4m3: 8, dyn8x256: 8 }

/** Bits of a code: log2(3) of a ternary one. */
function elementBits(element: Element): number {
  return element.kind === 'ternary' ? Math.log2(3) : element.bits
}

/** Bits that a block stores beside its codes: scale, zero point, mean. */
function blockBits({ element, scale, centered }: ScaledFormat): number {
  const zero = element.kind === 'uint' ? element.bits : 0
  const mean = centered ? (scale === 'fp32' || scale === 'exact' ? 32 : 16) : 0
  return SCALE_BITS[scale] + zero + mean
}

function scaledFormula(format: ScaledFormat): number {
  const { element, shares, scale, proxy } = format
  const bits = elementBits(element)
  // Where a row or a tensor shares, what its scale adds to one parameter depends on the shape: not in the formula.
  const shared = typeof shares === 'number' ? (blockBits(format) + (scale === 'dyn8x256' ? 32 / 256 : 0)) / shares : 0
  return bits + shared + (proxy * (16 - bits)) / 100
}

function scaledTotal(format: ScaledFormat, shape: readonly number[]): number {
  const { element, shares, scale, proxy } = format
  const { size, width, rows, count } = layoutOf(shape, shares)
  const bits = elementBits(element)
  let total = size * bits + count * blockBits(format)
  if (scale === 'e4m3') total += 32
  if (scale === 'dyn8x256') total += 32 * Math.ceil(count / 256) + 32
  if (element.kind === 'quantile' && element.book.endsWith('_sample')) total += 32 * 2 ** element.bits
  if (proxy > 0) {
    const kept = Math.round((proxy * width) / 100)
    // A rotation leaves codes for all columns; without one the kept have none.
    total += kept * (rows * (format.hadamard ? 16 : 16 - bits) + 32)
  }
  return total
}

/** All bits that a tensor of that shape stores: codes, scales, zero points, means, kept dimensions and their indices, estimated levels. */
export function totalBits(format: FormatLike, shape: readonly number[]): number {
  const record = parseFormat(format)
  const { size, width } = layoutOf(shape, 'tensor')
  if (size === 0) return 0
  if (record.kind === 'plain') return size * (record.name === 'fp32' ? 32 : 16)
  if (record.kind === 'scaled') return scaledTotal(record, shape)
  const mx = microscaling(record.name)
  if (mx)
    return size * (mx.element?.bits ?? 8) + 8 * layoutOf(shape, mx.block).count + (record.name === 'nvfp4' ? 32 : 0)
  const { block, bytes } = ggmlType(record.name)!
  return (size / width) * Math.ceil(width / block) * bytes * 8
}

/**
 * Bits per parameter: all that is stored for a tensor of that shape over its values; without a shape the formula for
 * blocks (of a scale that a row or the tensor shares, and of single numbers a tensor, nothing).
 */
export function bitsPerParameter(format: FormatLike, shape?: readonly number[]): number {
  const record = parseFormat(format)
  if (shape !== undefined && layoutOf(shape, 'tensor').size > 0)
    return totalBits(record, shape) / layoutOf(shape, 'tensor').size
  if (record.kind === 'plain') return record.name === 'fp32' ? 32 : 16
  if (record.kind === 'scaled') return scaledFormula(record)
  const mx = microscaling(record.name)
  if (mx) return (mx.element?.bits ?? 8) + 8 / mx.block
  const { block, bytes } = ggmlType(record.name)!
  return (bytes * 8) / block
}

/** Nominal bits of one code: the k of k-bit; of ggml's types without their scales. */
export function codeBits(format: FormatLike): number {
  const record = parseFormat(format)
  if (record.kind === 'plain') return record.name === 'fp32' ? 32 : 16
  if (record.kind === 'scaled') return elementBits(record.element)
  const mx = microscaling(record.name)
  if (mx) return mx.element?.bits ?? 8
  return record.name.startsWith('tq') ? Math.log2(3) : Number(/\d/.exec(record.name)![0])
}
