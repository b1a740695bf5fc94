// The second moments of a layer's inputs, H = 2 X'X: all that GPTQ and a layer's output error need of calibration data.
import type { Floats } from '../tensor/kernels.ts'

/** Adds 2 X'X of `rows` inputs x (rows, columns) to hessian (columns, columns), which stays symmetric. */
export function addToHessian(hessian: Float64Array, x: Floats, rows: number, columns: number): void {
  for (let r = 0; r < rows; r++) {
    const at = r * columns
    for (let i = 0; i < columns; i++) {
      const twice = 2 * x[at + i]
      if (twice === 0) continue
      const row = i * columns
      for (let j = i; j < columns; j++) hessian[row + j] += twice * x[at + j]
    }
  }
  for (let i = 0; i < columns; i++)
    for (let j = i + 1; j < columns; j++) hessian[j * columns + i] = hessian[i * columns + j]
}

/** Sum of squares of (W - Q) X' over the inputs that made the hessian: the error that a layer's output gets. */
export function outputError(
  weight: Floats,
  quantized: Floats,
  hessian: Float64Array,
  rows: number,
  columns: number,
): number {
  const difference = new Float64Array(columns)
  let total = 0
  for (let r = 0; r < rows; r++) {
    const at = r * columns
    for (let j = 0; j < columns; j++) difference[j] = weight[at + j] - quantized[at + j]
    for (let i = 0; i < columns; i++) {
      if (difference[i] === 0) continue
      const row = i * columns
      let sum = 0
      for (let j = 0; j < columns; j++) sum += hessian[row + j] * difference[j]
      total += difference[i] * sum
    }
  }
  return total / 2
}
