// The two ends of a model: looking tokens up, and their losses by the unembedding, a few rows of logits at a time.
import type { Compute, Floats, Weights } from '../kernels.ts'
import { fromBf16, load, toBf16, type Workspace } from './numbers.ts'
import { addProducts, products } from './products.ts'

/** See Kernels.embed. */
export function embed(
  table: Weights,
  ids: Int32Array,
  width: number,
  out: Floats,
  scale: number,
  positions?: { table: Weights; length: number; offset: number },
): void {
  const bits = table instanceof Uint16Array
  for (let r = 0; r < ids.length; r++) {
    const from = ids[r] * width
    const at = r * width
    if (bits) for (let i = 0; i < width; i++) out[at + i] = fromBf16(table[from + i]) * scale
    else for (let i = 0; i < width; i++) out[at + i] = table[from + i] * scale
    if (positions === undefined) continue
    const place = (positions.offset + (r % positions.length)) * width
    const rows = positions.table
    if (rows instanceof Uint16Array) for (let i = 0; i < width; i++) out[at + i] += fromBf16(rows[place + i])
    else for (let i = 0; i < width; i++) out[at + i] += rows[place + i]
  }
}

/** See Kernels.embedBackward; sums run in the order of the rows. */
export function embedBackward(
  dOut: Floats,
  ids: Int32Array,
  width: number,
  dTable: Floats,
  scale: number,
  positions?: { dTable: Floats; length: number; offset: number },
): void {
  for (let r = 0; r < ids.length; r++) {
    const to = ids[r] * width
    const at = r * width
    for (let i = 0; i < width; i++) dTable[to + i] += dOut[at + i] * scale
    if (positions === undefined) continue
    const place = (positions.offset + (r % positions.length)) * width
    for (let i = 0; i < width; i++) positions.dTable[place + i] += dOut[at + i]
  }
}

/** Shape of the unembedding: x is (rows, width), the weight (vocab, width). */
export interface HeadShape {
  rows: number
  width: number
  vocab: number
  softcap?: number
  compute: Compute
}

/** What the backward pass adds to. */
export interface HeadGradients {
  dx: Floats
  dWeight: Floats | null
  dBias: Floats | null
  /** Multiplies the gradient of the sum of losses. */
  scale: number
}

/** Outputs whose weights are widened at a time. */
const PANEL = 64

/** See Kernels.crossEntropy and, with gradients, Kernels.crossEntropyBackward. */
export function crossEntropy(
  x: Floats,
  weight: Weights,
  bias: Floats | null,
  targets: Int32Array,
  losses: Floats,
  shape: HeadShape,
  gradients: HeadGradients | null,
  work: Workspace,
): void {
  const { rows, width, vocab, softcap } = shape
  const round = shape.compute === 'bf16'
  const height = Math.max(1, Math.min(rows, Math.floor(2 ** 22 / vocab)))
  const a = work.floats('a', height * width)
  const logits = work.floats('logits', height * vocab)
  for (let from = 0; from < rows; from += height) {
    const count = Math.min(height, rows - from)
    load(x, from * width, count * width, round, a)
    for (let o = 0; o < vocab; o += PANEL)
      products(a, count, panelOf(weight, o, shape, work), Math.min(PANEL, vocab - o), width, logits.subarray(o), vocab)
    for (let r = 0; r < count; r++) {
      const row = logits.subarray(r * vocab, (r + 1) * vocab)
      if (bias !== null) for (let o = 0; o < vocab; o++) row[o] += bias[o]
      if (softcap !== undefined) for (let o = 0; o < vocab; o++) row[o] = softcap * Math.tanh(row[o] / softcap)
      const target = targets[from + r]
      const logSum = logSumExp(row)
      losses[from + r] = target < 0 ? 0 : logSum - row[target]
      if (gradients !== null) logitGradient(row, logSum, target, gradients.scale, softcap)
    }
    if (gradients !== null) headGradient(a, logits, weight, from, count, shape, gradients, work)
  }
}

function logSumExp(row: Floats): number {
  let max = row[0]
  for (let o = 1; o < row.length; o++) if (row[o] > max) max = row[o]
  let sum = 0
  for (let o = 0; o < row.length; o++) sum += Math.exp(row[o] - max)
  return max + Math.log(sum)
}

/** A row of (capped) logits becomes its gradient: scale * (softmax - one at the target), through the cap. */
function logitGradient(row: Float64Array, logSum: number, target: number, scale: number, softcap?: number): void {
  for (let o = 0; o < row.length; o++) {
    const logit = row[o]
    let d = target < 0 ? 0 : scale * (Math.exp(logit - logSum) - (o === target ? 1 : 0))
    if (softcap !== undefined) d *= 1 - (logit / softcap) ** 2
    row[o] = d
  }
}

/** dx, dWeight and dBias from `count` rows of the gradient of the logits. */
function headGradient(
  a: Float64Array,
  d: Float64Array,
  weight: Weights,
  from: number,
  count: number,
  shape: HeadShape,
  { dx, dWeight, dBias }: HeadGradients,
  work: Workspace,
): void {
  const { width, vocab } = shape
  if (dBias !== null) {
    for (let o = 0; o < vocab; o++) {
      let sum = 0
      for (let r = 0; r < count; r++) sum += d[r * vocab + o]
      dBias[o] += sum
    }
  }
  if (shape.compute === 'bf16') for (let i = 0; i < count * vocab; i++) d[i] = toBf16(d[i])
  const sums = work.floats('dx', count * width).fill(0, 0, count * width)
  for (let o = 0; o < vocab; o += PANEL) {
    const panel = panelOf(weight, o, shape, work)
    addProducts(d.subarray(o), { row: vocab, column: 1 }, count, panel, Math.min(PANEL, vocab - o), width, sums)
  }
  for (let i = 0; i < count * width; i++) dx[from * width + i] = sums[i]
  if (dWeight === null) return
  const rows = work.floats('dWeight', PANEL * width)
  for (let o = 0; o < vocab; o += PANEL) {
    const size = Math.min(PANEL, vocab - o) * width
    rows.fill(0, 0, size)
    addProducts(d.subarray(o), { row: 1, column: vocab }, size / width, a, count, width, rows)
    for (let i = 0; i < size; i++) dWeight[o * width + i] += rows[i]
  }
}

function panelOf(weight: Weights, o: number, { width, vocab, compute }: HeadShape, work: Workspace): Float64Array {
  const panel = work.floats('panel', PANEL * width)
  load(weight, o * width, Math.min(PANEL, vocab - o) * width, compute === 'bf16', panel)
  return panel
}

/** See Kernels.logSoftmax. */
export function logSoftmax(logits: Floats, rows: number, width: number): void {
  for (let r = 0; r < rows; r++) {
    const row = logits.subarray(r * width, (r + 1) * width)
    const logSum = logSumExp(row)
    for (let i = 0; i < width; i++) row[i] -= logSum
  }
}
