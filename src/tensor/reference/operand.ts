// One operand of a product, quantized and rounded as the design says. Integer codes whose scale is shared by a row or
// by the whole tensor stay codes when computing in bf16, their scales apart; everything else is the value that the
// format stores, rounded to bf16 then. In `float` computing every operand is its values.

import { encode, fakeQuantize } from '../../formats/encode.ts'
import type { Format, ScaledFormat } from '../../formats/format.ts'
import { roundScale, type SingleScale } from '../../formats/scale.ts'
import { absmaxOf, isStepped, largestStep } from '../../formats/scaled.ts'
import type { Compute, Floats, Weights } from '../kernels.ts'
import { load, roundEven, type Workspace } from './numbers.ts'

/** A matrix (rows, columns) that equals values * scale * rowScales[row]. */
export interface Operand {
  values: Float64Array
  /** The values are integer codes: exact whatever is computed in. */
  coded: boolean
  /** Codes of more than 8 bits, which bf16 would not hold. */
  wide: boolean
  rowScales: Float64Array | null
  scale: number
  /** 1 where the value was outside the format's range; null: asked for nowhere, or nowhere so. */
  clipped: Uint8Array | null
}

/** How an operand of a product is rounded. */
export interface OperandOptions {
  format: Format | null
  absmaxRatio: number
  /** Say what was clipped. */
  clipped: boolean
  compute: Compute
  /** Scales and quotients are float32 numbers. */
  single: boolean
  /** What rounding by chance draws from. */
  seed: number
}

/** The seed that a format is encoded with: `seed` where it rounds by chance, else 0, as a rotation's signs stay the same. */
export function seedOf(format: Format, seed: number): number {
  return format.kind === 'scaled' && format.stochastic ? seed : 0
}

/** Bits of a format whose codes are plain integers with one scale a row or a tensor; 0 for any other. */
export function codeBits(format: Format): number {
  if (format.kind !== 'scaled' || !isStepped(format)) return 0
  if (format.centered || format.hadamard || format.proxy > 0) return 0
  if (format.scale === 'e4m3' || format.scale === 'dyn8x256') return 0
  return format.element.kind === 'int' ? format.element.bits : 2
}

/** Rounds a matrix as an operand; `name` keeps its arrays apart from other operands' in the workspace. */
export function roundOperand(
  name: string,
  x: Weights,
  rows: number,
  columns: number,
  options: OperandOptions,
  work: Workspace,
): Operand {
  const { format, compute } = options
  const size = rows * columns
  const values = work.floats(name, size)
  const operand: Operand = { values, coded: false, wide: false, rowScales: null, scale: 1, clipped: null }
  const bits = format === null ? 0 : codeBits(format)
  if (format === null) load(x, 0, size, compute === 'bf16', values)
  else if (bits > 0) roundCodes(name, operand, bits, format as ScaledFormat, x, rows, columns, options, work)
  else {
    load(x, 0, size, false, values)
    const rounded = fakeQuantize(
      typed(values, size, options.single),
      [rows, columns],
      format,
      encoding(format, options),
    )
    if (options.clipped)
      operand.clipped = outside(name, values, rounded, rows, columns, format, options.absmaxRatio, work)
    load(rounded, 0, size, compute === 'bf16', values)
  }
  return operand
}

/** What encode is told. */
function encoding(format: Format, { absmaxRatio, seed }: OperandOptions) {
  return { absmaxRatio, seed: seedOf(format, seed) }
}

/** An array of the arithmetic that the format is computed in. */
function typed(values: Float64Array, size: number, single: boolean): Floats {
  return single ? Float32Array.from(values.subarray(0, size)) : values.subarray(0, size)
}

/** Integer codes: step = absmax * ratio / largest code, code = x / step to nearest, ties to even. */
function roundCodes(
  name: string,
  operand: Operand,
  bits: number,
  format: ScaledFormat,
  x: Weights,
  rows: number,
  columns: number,
  options: OperandOptions,
  work: Workspace,
): void {
  const { values } = operand
  const size = rows * columns
  load(x, 0, size, false, values)
  const groups = size === 0 ? 0 : format.shares === 'tensor' ? 1 : rows
  const each = groups === 0 ? 0 : size / groups
  const steps = work.floats(`${name}.steps`, groups)
  const largest = largestStep(format.element)
  // a searched scale, and codes by chance, are the formats' own business
  const searched = format.clip || format.stochastic
  const encoded = searched
    ? encode(typed(values, size, options.single), [rows, columns], format, encoding(format, options))
    : null
  if (encoded !== null) for (let g = 0; g < groups; g++) steps[g] = encoded.scales![g]
  else findSteps(steps, values, groups, each, largest, format, options)
  const { single } = options
  const asValues = options.compute === 'float'
  const clipped = options.clipped ? work.bytes(`${name}.clipped`, size).fill(0, 0, size) : null
  for (let g = 0; g < groups; g++) {
    const step = steps[g]
    for (let i = g * each; i < (g + 1) * each; i++) {
      const quotient = step === 0 ? 0 : single ? Math.fround(values[i] / step) : values[i] / step
      let code = roundEven(quotient)
      if (code > largest || code < -largest) {
        code = code > 0 ? largest : -largest
        if (clipped !== null) clipped[i] = 1
      }
      if (format.stochastic) code = encoded!.codes![i]
      values[i] = asValues ? (single ? Math.fround(code * step) : code * step) : code
    }
  }
  operand.clipped = clipped
  if (asValues) return
  operand.coded = true
  operand.wide = bits > 8
  if (format.shares === 'tensor') operand.scale = groups === 0 ? 1 : steps[0]
  else operand.rowScales = steps
}

/** The step of each group of `each` values, rounded to the scale's type. */
function findSteps(
  steps: Float64Array,
  values: Float64Array,
  groups: number,
  each: number,
  largest: number,
  format: ScaledFormat,
  { absmaxRatio, single }: OperandOptions,
): void {
  for (let g = 0; g < groups; g++) {
    const limit = absmaxOf(values, g * each, (g + 1) * each) * absmaxRatio
    const step = single ? Math.fround(Math.fround(limit) / largest) : limit / largest
    steps[g] = roundScale(step, format.scale as SingleScale)
  }
}

/**
 * What other formats clip: 1 where |x| is beyond its group's absmax * ratio (with a zero point, beyond min or max times ratio),
 * or beyond all that the group was rounded to, where the format searched its scale.
 */
function outside(
  name: string,
  x: Float64Array,
  rounded: Floats,
  rows: number,
  columns: number,
  format: Format,
  ratio: number,
  work: Workspace,
): Uint8Array | null {
  if (format.kind !== 'scaled' || (ratio >= 1 && !format.clip)) return null
  const size = rows * columns
  const group = format.shares === 'tensor' ? size : typeof format.shares === 'number' ? format.shares : columns
  const clipped = work.bytes(`${name}.clipped`, size)
  const range = format.clip ? rounded : x
  const share = format.clip ? 1 : ratio
  for (let from = 0; from < size; from += group) {
    const to = Math.min(from + group, size)
    let low = 0
    let high = 0
    for (let i = from; i < to; i++) {
      if (range[i] < low) low = range[i]
      if (range[i] > high) high = range[i]
    }
    if (format.element.kind !== 'uint') {
      high = Math.max(high, -low)
      low = -high
    }
    for (let i = from; i < to; i++) clipped[i] = x[i] > high * share || x[i] < low * share ? 1 : 0
  }
  return clipped
}

/** The values of an operand (rows, columns) as floats: what the format stores. */
export function storeValues(operand: Operand, rows: number, columns: number, out: Floats): void {
  for (let r = 0; r < rows; r++) {
    const scale = operand.rowScales === null ? operand.scale : operand.rowScales[r]
    for (let i = r * columns; i < (r + 1) * columns; i++) out[i] = operand.values[i] * scale
  }
}
