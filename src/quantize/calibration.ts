// Calibration text streamed through a model: block after block, what enters each linear is gathered as second moments,
// the block's matrices are replaced, and the inputs of the next block are those of the model as quantized so far.
import type { createInference, OnInput } from '../model/inference.ts'
import type { Floats } from '../tensor/kernels.ts'
import { addToHessian } from './hessian.ts'

/** Token ids of equally long sequences, (sequences, length). */
export interface Calibration {
  ids: Int32Array
  length: number
}

/** What is known of the inputs of one or several linears. */
export interface InputMoments {
  columns: number
  /** 2 X'X (columns, columns). */
  hessian: Float64Array
  /** Sum of magnitudes of each input dimension, where it was asked for; else zeros. */
  magnitude: Float64Array
  rows: number
}

/** Linears of a block that read the same input, in the order in which a block runs. */
export const INPUT_GROUPS: readonly (readonly string[])[] = [['q', 'k', 'v'], ['o'], ['gate', 'up'], ['down']]

/** Index in INPUT_GROUPS of a linear like `layers.0.q`. */
export function inputGroup(linear: string): number {
  const part = linear.slice(linear.lastIndexOf('.') + 1)
  return INPUT_GROUPS.findIndex(group => group.includes(part))
}

/** Adds to a Hessian, natively or not. */
export type AddToHessian = (hessian: Float64Array, x: Floats, rows: number, columns: number) => void

/** Thrown to leave a block when all inputs that were asked for have come by. */
const ENOUGH = Symbol('enough')

/** Most tokens that go through a block at once. */
const CHUNK_TOKENS = 4096

/** A walk over the blocks: the activations between them are all that it keeps. */
export interface Walk {
  /** Moments of the inputs of the given groups of this block, on the activations that have come so far. */
  collect(layer: number, groups: readonly number[], options?: { magnitudes?: boolean }): Map<number, InputMoments>
  /** Runs the block as it now is. */
  advance(layer: number): void
}

/** Embeds all calibration sequences and stands before block 0. */
export function startWalk(
  inference: ReturnType<typeof createInference>,
  { ids, length }: Calibration,
  add: AddToHessian = addToHessian,
): Walk {
  const sequences = Math.floor(ids.length / length)
  const perChunk = Math.max(1, Math.floor(CHUNK_TOKENS / length))
  const chunks: { x: Floats; batch: number }[] = []
  for (let first = 0; first < sequences; first += perChunk) {
    const batch = Math.min(perChunk, sequences - first)
    chunks.push({
      x: inference.embed(ids.subarray(first * length, (first + batch) * length), batch, length).slice(),
      batch,
    })
  }
  return {
    collect(layer, groups, { magnitudes = false } = {}) {
      const found = new Map<number, InputMoments>()
      const seen = new Set<number>()
      const onInput: OnInput = (linear, x, rows, columns) => {
        const group = inputGroup(linear)
        if (!groups.includes(group) || seen.has(group)) return
        seen.add(group)
        let moments = found.get(group)
        if (!moments) {
          moments = {
            columns,
            hessian: new Float64Array(columns * columns),
            magnitude: new Float64Array(columns),
            rows: 0,
          }
          found.set(group, moments)
        }
        add(moments.hessian, x, rows, columns)
        if (magnitudes)
          for (let r = 0; r < rows; r++)
            for (let c = 0; c < columns; c++) moments.magnitude[c] += Math.abs(x[r * columns + c])
        moments.rows += rows
        if (seen.size === groups.length) throw ENOUGH
      }
      for (const { x, batch } of chunks) {
        seen.clear()
        try {
          inference.block(layer, x.slice(), batch, length, onInput)
        } catch (error) {
          if (error !== ENOUGH) throw error
        }
      }
      for (const [group, { columns, hessian }] of found)
        for (let i = 0; i < columns; i++)
          if (!Number.isFinite(hessian[i * columns + i]))
            throw new Error(
              `what enters ${INPUT_GROUPS[group].join(', ')} of block ${layer} is not finite on the calibration text: are there nan or infinite weights before it?`,
            )
      return found
    },
    advance(layer) {
      for (const { x, batch } of chunks) inference.block(layer, x, batch, length)
    },
  }
}
