// RMS norm and layer norm, and the rotation of queries and keys.
import type { Floats, NormShape } from '../kernels.ts'
import type { Workspace } from './numbers.ts'

/** See Kernels.norm. */
export function norm(
  x: Floats,
  gain: Floats | null,
  bias: Floats | null,
  out: Floats,
  saved: Floats,
  { kind, rows, width, eps }: NormShape,
): void {
  for (let r = 0; r < rows; r++) {
    const at = r * width
    let mean = 0
    if (kind === 'layer') {
      for (let i = 0; i < width; i++) mean += x[at + i]
      mean /= width
      saved[rows + r] = mean
    }
    let squares = 0
    for (let i = 0; i < width; i++) squares += (x[at + i] - mean) ** 2
    const inverse = 1 / Math.sqrt(squares / width + eps)
    saved[r] = inverse
    for (let i = 0; i < width; i++) {
      let value = (x[at + i] - mean) * inverse
      if (gain !== null) value *= gain[i]
      if (bias !== null) value += bias[i]
      out[at + i] = value
    }
  }
}

/** See Kernels.normBackward: with n the normalised x and g = dy * gain, dx = (g - mean(g) - n mean(g n)) / std, without mean(g) for RMS norm. */
export function normBackward(
  x: Floats,
  gain: Floats | null,
  saved: Floats,
  dy: Floats,
  dx: Floats,
  accumulate: boolean,
  dGain: Floats | null,
  dBias: Floats | null,
  { kind, rows, width }: NormShape,
  work: Workspace,
): void {
  const gains = work.floats('gains', width).fill(0, 0, width)
  const biases = work.floats('biases', width).fill(0, 0, width)
  for (let r = 0; r < rows; r++) {
    const at = r * width
    const inverse = saved[r]
    const mean = kind === 'layer' ? saved[rows + r] : 0
    let sum = 0
    let sumNormal = 0
    for (let i = 0; i < width; i++) {
      const normal = (x[at + i] - mean) * inverse
      const g = gain === null ? dy[at + i] : dy[at + i] * gain[i]
      sum += g
      sumNormal += g * normal
      gains[i] += dy[at + i] * normal
      biases[i] += dy[at + i]
    }
    const meanG = kind === 'layer' ? sum / width : 0
    const meanNormal = sumNormal / width
    for (let i = 0; i < width; i++) {
      const normal = (x[at + i] - mean) * inverse
      const g = gain === null ? dy[at + i] : dy[at + i] * gain[i]
      const value = (g - meanG - normal * meanNormal) * inverse
      dx[at + i] = accumulate ? dx[at + i] + value : value
    }
  }
  if (dGain !== null) for (let i = 0; i < width; i++) dGain[i] += gains[i]
  if (dBias !== null) for (let i = 0; i < width; i++) dBias[i] += biases[i]
}

/** See Kernels.rotary. */
export function rotary(
  x: Floats,
  rows: number,
  heads: number,
  headSize: number,
  cos: Floats,
  sin: Floats,
  pairs: number,
  length: number,
  inverse: boolean,
): void {
  for (let r = 0; r < rows; r++) {
    const angle = (r % length) * pairs
    for (let h = 0; h < heads; h++) {
      const at = (r * heads + h) * headSize
      for (let i = 0; i < pairs; i++) {
        const c = cos[angle + i]
        const s = inverse ? -sin[angle + i] : sin[angle + i]
        const a = x[at + i]
        const b = x[at + pairs + i]
        x[at + i] = a * c - b * s
        x[at + pairs + i] = b * c + a * s
      }
    }
  }
}
