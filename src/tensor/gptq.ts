// Binding of the native GPTQ: Hessians, output errors and the column loop. What they compute is defined in quantize/.
import { createEngine } from './addon.ts'

/** A matrix to be rounded, and how; codes, scales and zeros are filled. */
export interface GptqCall {
  /** (rows, columns) */
  weight: Float32Array
  /** 2 X'X (columns, columns) */
  hessian: Float64Array
  rows: number
  columns: number
  /** Columns in the order of rounding; null: as stored. */
  order: Int32Array | null
  damp: number
  kind: 'affine' | 'step' | 'book'
  symmetric: boolean
  /** Largest code. */
  last: number
  scale: 'exact' | 'fp32' | 'fp16' | 'bf16'
  levels: Float64Array | null
  thresholds: Float64Array | null
  /** Columns that share a scale. */
  group: number
  /** Scales are found before any update; from rows with dead columns in, where a whole row shares one. */
  early: boolean
  /** Scales and zeros are given. */
  fixed: boolean
  rowScales: boolean
  /** Scales from weights as they were when their block of columns began. */
  stale: boolean
  /** Columns a block; whole groups. */
  block: number
  /** (rows, columns) */
  codes: Uint8Array
  /** (rows, groups) */
  scales: Float64Array
  zeros: Uint8Array
}

/** The native functions; `exact` computes in double. */
export interface NativeGptq {
  /** hessian += 2 X'X of x (rows, columns). */
  addToHessian(hessian: Float64Array, x: Float32Array, rows: number, columns: number, exact: boolean): void
  /** Sum of (a - b) hessian (a - b)' over rows. */
  quadraticError(
    a: Float32Array,
    b: Float32Array,
    hessian: Float64Array,
    rows: number,
    columns: number,
    exact: boolean,
  ): number
  /** Gives the sum of (W - Q) hessian (W - Q)'; throws where the damped Hessian is not positive definite. */
  solve(call: GptqCall, exact: boolean): number
}

const KINDS = { affine: 0, step: 1, book: 2 } as const
const SCALES = { exact: 0, fp32: 1, fp16: 2, bf16: 3 } as const

/** Native GPTQ on `threads` threads, or undefined where the kernels are not built. */
export function createNativeGptq({ threads, isa }: { threads: number; isa?: string }): NativeGptq | undefined {
  const made = createEngine({ threads, isa })
  if (!made) return undefined
  const { addon, engine } = made
  return {
    addToHessian: (hessian, x, rows, columns, exact) => addon.hessianAdd(engine, exact, rows, columns, x, hessian),
    quadraticError: (a, b, hessian, rows, columns, exact) =>
      addon.outputError(engine, exact, rows, columns, a, b, hessian),
    solve(call, exact) {
      const { rows, columns, weight, hessian, order, damp, kind, symmetric, last, scale, levels, thresholds } = call
      const { group, early, fixed, rowScales, stale, block, codes, scales, zeros } = call
      const error: number = addon.gptq(
        engine, exact, rows, columns, weight, hessian, order, damp, KINDS[kind], symmetric, last, SCALES[scale], levels,
        thresholds, group, early, fixed, rowScales, stale, block, codes, scales, zeros,
      ) // biome-ignore format: as gptq.cpp lists them
      if (Number.isNaN(error)) throw new Error('hessian is not positive definite, more damping is needed')
      return error
    },
  }
}
