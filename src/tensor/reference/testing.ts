// What the tests of the reference share: repeatable numbers, products written out, closeness, and a list of formats.
import { expect } from 'vitest'
import type { Floats, Rounding } from '../kernels.ts'

/** Repeatable numbers of mixed sizes. */
export function numbers(
  length: number,
  seed: number,
  kind: typeof Float64Array | typeof Float32Array = Float64Array,
): Floats {
  let state = seed * 2654435761 + 12345
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32 - 0.5
  }
  const out = new kind(length)
  for (let i = 0; i < length; i++) out[i] = next() * 4 * 2 ** Math.round(next() * 6)
  return out
}

/** A rounding of nothing, with what differs. */
export function rounding(options: Partial<Rounding> = {}): Rounding {
  return {
    weights: null,
    activations: null,
    gradients: null,
    straightThrough: 'full',
    absmaxRatio: { weights: 1, activations: 1 },
    compute: 'float',
    ...options,
  }
}

/** a (rows, inner) times b (columns, inner) transposed. */
export function product(a: Floats, b: Floats, rows: number, columns: number, inner: number): Float64Array {
  const out = new Float64Array(rows * columns)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      for (let i = 0; i < inner; i++) out[r * columns + c] += a[r * inner + i] * b[c * inner + i]
  return out
}

/** a (rows, columns) as (columns, rows). */
export function transpose(a: Floats, rows: number, columns: number): Float64Array {
  return Float64Array.from({ length: rows * columns }, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)])
}

/** Expects |a - b| within `tolerance` of the largest |b| everywhere. */
export function expectClose(a: Floats, b: Floats, tolerance: number): void {
  expect(a.length).toBe(b.length)
  const size = Math.max(1e-30, ...Array.from(b, Math.abs))
  for (let i = 0; i < a.length; i++) expect(Math.abs(a[i] - b[i]), `at ${i}`).toBeLessThanOrEqual(tolerance * size)
}

/** A format of every kind. */
export const FORMATS = [
  'int2@channel/exact', 'int4@channel/exact', 'int8@tensor/exact', 'int4@token', 'int8@channel/bf16', 'int12@channel/exact',
  'ternary@tensor/fp32', 'int4@64', 'nf4@32', 'fp4e2m1@32/exact', 'uint4@channel/exact', 'int4full@tensor', 'int3@channel+clip',
  'mxfp4', 'nvfp4', 'q4_0', 'bf16', 'fp16', 'int8@tensor/e4m3', 'int4@channel/e8m0', 'int4@channel/exact+sr', 'int4@32+hadamard',
] // biome-ignore format: a list
