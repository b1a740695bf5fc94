// Proxy quantization (k-bit inference scaling laws, arXiv 2212.09720): the input dimensions of a layer that are worth
// 16 bits are guessed from the weights of the layer before it, as those hidden units whose incoming weights spread most.
import type { Floats } from '../tensor/kernels.ts'

/** Standard deviation (n) of each row of a matrix (rows, columns): the score of the hidden unit that the row makes. */
export function rowDeviations(weight: Floats, rows: number, columns: number): Float64Array {
  const deviations = new Float64Array(rows)
  for (let r = 0; r < rows; r++) {
    let sum = 0
    for (let i = r * columns; i < (r + 1) * columns; i++) sum += weight[i]
    const mean = sum / columns
    let squares = 0
    for (let i = r * columns; i < (r + 1) * columns; i++) squares += (weight[i] - mean) ** 2
    deviations[r] = Math.sqrt(squares / columns)
  }
  return deviations
}

/** Indices by falling score, equal scores by index. */
export function ranking(scores: Floats): Int32Array {
  return Int32Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b)
}

/** Dimensions kept in 16 bits: those of the `percent` highest scores (at least one), in rising order. */
export function proxyDimensions(scores: Floats, percent: number): Int32Array {
  const count = Math.max(1, Math.round((scores.length * percent) / 100))
  return ranking(scores).slice(0, count).sort()
}
