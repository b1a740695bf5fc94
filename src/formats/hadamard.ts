// Random-sign Hadamard rotation of input dimensions: spreads outliers over a whole block, and is undone exactly in decoding.
import type { Floats } from './format.ts'
import { randomBits } from './random.ts'

/** The largest power of two that divides a row's width: the size of the rotated blocks. */
export function hadamardBlock(width: number): number {
  let block = 1
  while (width > 0 && width % (block * 2) === 0) block *= 2
  return block
}

/** Signs of the input dimensions, the same for every row: +1 or -1 from the seed. */
export function hadamardSigns(width: number, seed: number): Int8Array {
  return Int8Array.from({ length: width }, (_, i) => (randomBits(seed, i) & 1 ? -1 : 1))
}

/** Butterflies of one block in place, without the factor 1 / sqrt(size). */
function transform(block: Float64Array): void {
  const size = block.length
  for (let half = 1; half < size; half *= 2)
    for (let start = 0; start < size; start += 2 * half)
      for (let i = start; i < start + half; i++) {
        const a = block[i]
        const b = block[i + half]
        block[i] = a + b
        block[i + half] = a - b
      }
}

/**
 * Rotates each row of x (rows * width) in place: signs, then an orthonormal Hadamard transform of each block of the
 * largest power of two that divides the width; `inverse` undoes it. Sums are kept in float64.
 */
export function rotateRows(x: Floats, width: number, seed: number, inverse = false): void {
  const size = hadamardBlock(width)
  const signs = hadamardSigns(width, seed)
  const factor = 1 / Math.sqrt(size)
  const block = new Float64Array(size)
  for (let start = 0; start < x.length; start += size) {
    const column = start % width
    for (let i = 0; i < size; i++) block[i] = inverse ? x[start + i] : x[start + i] * signs[column + i]
    transform(block)
    for (let i = 0; i < size; i++) x[start + i] = block[i] * factor * (inverse ? signs[column + i] : 1)
  }
}
