// AWQ (arXiv 2306.00978): input dimensions that carry large activations are multiplied up before rounding and divided
// back afterwards, so that their weights are rounded more finely. How much is one exponent, found by trying it out
// on the error of the layer's output. Several matrices that read one input (q, k and v) share the scales.
import type { Floats } from '../tensor/kernels.ts'
import { outputError } from './hessian.ts'

/** A matrix that reads the input, (rows, columns). */
export interface AwqLinear {
  weight: Floats
  rows: number
  roundTrip: RoundTrip
}

/** Round trip of a matrix (rows, columns) through the format. */
export type RoundTrip = (weight: Float64Array, rows: number, columns: number) => Floats

/** The exponents that are tried: 0, .05, … .95. */
const AWQ_ALPHAS: readonly number[] = Array.from({ length: 20 }, (_, i) => i / 20)

/** Scales of the input dimensions: mean magnitude (at least 1e-4) to the power alpha, centred on 1. */
function awqScales(meanMagnitude: Floats, alpha: number): Float64Array {
  const scales = Float64Array.from(meanMagnitude, m => Math.max(m, 1e-4) ** alpha)
  let low = Number.POSITIVE_INFINITY
  let high = 0
  for (const scale of scales) {
    low = Math.min(low, scale)
    high = Math.max(high, scale)
  }
  const centre = Math.sqrt(low * high)
  return scales.map(scale => scale / centre)
}

/** Weight with column c times scales[c]; in float64. */
function scaleColumns(weight: Floats, rows: number, columns: number, scales: Float64Array): Float64Array {
  const scaled = new Float64Array(rows * columns)
  for (let i = 0; i < scaled.length; i++) scaled[i] = weight[i] * scales[i % columns]
  return scaled
}

/** Output error of all matrices at each exponent, and the scales of the least; hessian = 2 X'X (columns, columns). */
export function searchAwq(
  linears: readonly AwqLinear[],
  columns: number,
  hessian: Float64Array,
  meanMagnitude: Floats,
  {
    alphas = AWQ_ALPHAS,
    constrain = (scales: Float64Array) => scales,
  }: { alphas?: readonly number[]; constrain?: (scales: Float64Array) => Float64Array } = {},
): { alpha: number; error: number; scales: Float64Array; errors: number[] } {
  const errors: number[] = []
  let best = { alpha: 0, error: Number.POSITIVE_INFINITY, scales: awqScales(meanMagnitude, 0) }
  for (const alpha of alphas) {
    const scales = constrain(awqScales(meanMagnitude, alpha))
    let error = 0
    for (const { weight, rows, roundTrip } of linears) {
      const back = Float64Array.from(roundTrip(scaleColumns(weight, rows, columns, scales), rows, columns))
      for (let i = 0; i < back.length; i++) back[i] /= scales[i % columns]
      error += outputError(weight, back, hessian, rows, columns)
    }
    errors.push(error)
    if (error < best.error) best = { alpha, error, scales }
  }
  return { ...best, errors }
}
