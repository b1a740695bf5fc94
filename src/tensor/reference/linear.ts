// The linear layer: y = Qa(x) Qw(w)^T + bias, and both products of its backward pass.
import type { Floats, LinearBackwardPart, LinearPart, Rounding, Weights } from '../kernels.ts'
import { load, toBf16, type Workspace } from './numbers.ts'
import { type Operand, roundOperand } from './operand.ts'
import { addProducts, products } from './products.ts'

/** Outputs whose weights are widened at a time, and rows whose gradients are summed before they are stored. */
const PANEL = 64

/** See Kernels.linear. */
export function linear(
  x: Floats,
  rows: number,
  inputs: number,
  parts: readonly LinearPart[],
  rounding: Rounding,
  single: boolean,
  work: Workspace,
): void {
  const a = activationOperand(x, rows, inputs, rounding, single, parts[0]?.seed ?? 0, work)
  for (const part of parts) {
    const { outputs, y } = part
    const w = weightOperand(part.weight, outputs, inputs, rounding, single, part.seed ?? 0, work)
    const sums = work.floats('sums', rows * PANEL)
    for (let o = 0; o < outputs; o += PANEL) {
      const width = Math.min(PANEL, outputs - o)
      products(a.values, rows, panelOf(part.weight, w, o, width, inputs, rounding, work), width, inputs, sums, PANEL)
      for (let r = 0; r < rows; r++) {
        const rowScale = a.rowScales === null ? a.scale : a.rowScales[r]
        for (let j = 0; j < width; j++) {
          const at = r * outputs + o + j
          let value = sums[r * PANEL + j] * rowScale
          if (w !== null) value *= w.rowScales === null ? w.scale : w.rowScales[o + j]
          if (part.bias !== undefined) value += part.bias[o + j]
          y[at] = part.residual === undefined ? value : part.residual[at] + value
        }
      }
    }
  }
}

/** See Kernels.linearBackward. */
export function linearBackward(
  x: Floats,
  rows: number,
  inputs: number,
  parts: readonly LinearBackwardPart[],
  dx: Floats | null,
  accumulate: boolean,
  rounding: Rounding,
  single: boolean,
  work: Workspace,
): void {
  const a = activationOperand(x, rows, inputs, rounding, single, parts[0]?.seed ?? 0, work)
  const sums = work.floats('dx', dx === null ? 0 : rows * inputs).fill(0, 0, dx === null ? 0 : rows * inputs)
  for (const part of parts) {
    const { outputs } = part
    const dy = gradientOperand(part.dy, rows, outputs, rounding, single, part.seed ?? 0, work)
    const w = weightOperand(part.weight, outputs, inputs, rounding, single, part.seed ?? 0, work)
    const d = work.floats('dyScaled', rows * outputs)
    if (dx !== null) {
      readGradient(dy, rows, outputs, w === null ? null : w.rowScales, false, rounding, d)
      const scale = w === null || w.rowScales !== null ? 1 : w.scale
      inputGradient(part.weight, w, d, rows, outputs, inputs, scale, rounding, sums, work)
    }
    if (part.dWeight !== undefined) {
      readGradient(dy, rows, outputs, a.rowScales, true, rounding, d)
      weightGradient(a, d, rows, outputs, inputs, w?.clipped ?? null, part.dWeight, work)
    }
    if (part.dBias !== undefined) {
      for (let o = 0; o < outputs; o++) {
        let sum = 0
        for (let r = 0; r < rows; r++) sum += part.dy[r * outputs + o]
        part.dBias[o] += sum
      }
    }
  }
  if (dx === null) return
  for (let i = 0; i < rows * inputs; i++) {
    const value = a.clipped !== null && a.clipped[i] === 1 ? 0 : sums[i]
    dx[i] = accumulate ? dx[i] + value : value
  }
}

function activationOperand(
  x: Floats,
  rows: number,
  inputs: number,
  r: Rounding,
  single: boolean,
  seed: number,
  work: Workspace,
): Operand {
  const clipped = r.straightThrough === 'clipped'
  const { activations: format, compute } = r
  return roundOperand(
    'a',
    x,
    rows,
    inputs,
    { format, absmaxRatio: r.absmaxRatio.activations, clipped, compute, single, seed: seed + 2 },
    work,
  )
}

/** The quantized weights; null where there is no format: those are read a panel at a time. */
function weightOperand(
  weight: Weights,
  outputs: number,
  inputs: number,
  r: Rounding,
  single: boolean,
  seed: number,
  work: Workspace,
): Operand | null {
  if (r.weights === null) return null
  const clipped = r.straightThrough === 'clipped'
  const { weights: format, compute } = r
  const options = { format, absmaxRatio: r.absmaxRatio.weights, clipped, compute, single, seed }
  return roundOperand('w', weight, outputs, inputs, options, work)
}

function gradientOperand(
  dy: Floats,
  rows: number,
  outputs: number,
  r: Rounding,
  single: boolean,
  seed: number,
  work: Workspace,
): Operand {
  // Rounding to bf16 waits until the other operand's scales are multiplied in.
  const compute = r.gradients === null ? 'float' : r.compute
  const options = { format: r.gradients, absmaxRatio: 1, clipped: false, compute, single, seed: seed + 1 } as const
  return roundOperand('dy', dy, rows, outputs, options, work)
}

/** Rows o … o + width of the weights, in float64. */
function panelOf(
  weight: Weights,
  w: Operand | null,
  o: number,
  width: number,
  inputs: number,
  rounding: Rounding,
  work: Workspace,
): Float64Array {
  if (w !== null) return w.values.subarray(o * inputs, (o + width) * inputs)
  const panel = work.floats('panel', PANEL * inputs)
  load(weight, o * inputs, width * inputs, rounding.compute === 'bf16', panel)
  return panel
}

/**
 * dy with `along`, the other operand's scales along the reduction (one an output, or one a row where `byRow`), multiplied
 * in before it is rounded to bf16; with nothing to multiply, and one scale, integer codes stay exact.
 */
function readGradient(
  dy: Operand,
  rows: number,
  outputs: number,
  along: Float64Array | null,
  byRow: boolean,
  rounding: Rounding,
  out: Float64Array,
): void {
  const exact =
    rounding.compute === 'float' || dy.wide || (dy.coded && along === null && (dy.rowScales === null || !byRow))
  for (let r = 0; r < rows; r++) {
    const own = dy.rowScales === null ? dy.scale : dy.rowScales[r]
    for (let o = 0; o < outputs; o++) {
      const at = r * outputs + o
      const value = along === null ? dy.values[at] * own : dy.values[at] * own * along[byRow ? r : o]
      out[at] = exact ? value : toBf16(value)
    }
  }
}

/** sums (rows, inputs) += d w * scale. */
function inputGradient(
  weight: Weights,
  w: Operand | null,
  d: Float64Array,
  rows: number,
  outputs: number,
  inputs: number,
  scale: number,
  rounding: Rounding,
  sums: Float64Array,
  work: Workspace,
): void {
  if (scale !== 1) for (let i = 0; i < rows * outputs; i++) d[i] *= scale
  for (let o = 0; o < outputs; o += PANEL) {
    const width = Math.min(PANEL, outputs - o)
    const panel = panelOf(weight, w, o, width, inputs, rounding, work)
    addProducts(d.subarray(o), { row: outputs, column: 1 }, rows, panel, width, inputs, sums)
  }
}

/** dWeight += d^T a, a block of rows at a time; nothing where the weight was clipped. */
function weightGradient(
  a: Operand,
  d: Float64Array,
  rows: number,
  outputs: number,
  inputs: number,
  clipped: Uint8Array | null,
  dWeight: Floats,
  work: Workspace,
): void {
  const scale = a.rowScales === null ? a.scale : 1
  const sums = work.floats('dWeight', PANEL * inputs)
  for (let r = 0; r < rows; r += 4 * PANEL) {
    const height = Math.min(4 * PANEL, rows - r)
    const block = a.values.subarray(r * inputs, (r + height) * inputs)
    for (let o = 0; o < outputs; o += PANEL) {
      const size = Math.min(PANEL, outputs - o) * inputs
      sums.fill(0, 0, size)
      // the panel's outputs are rows of d transposed
      addProducts(d.subarray(r * outputs + o), { row: 1, column: outputs }, size / inputs, block, height, inputs, sums)
      const at = o * inputs
      for (let i = 0; i < size; i++) if (clipped === null || clipped[at + i] === 0) dWeight[at + i] += sums[i] * scale
    }
  }
}
