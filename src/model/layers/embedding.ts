// The way in: tokens, positions where they are learned, the projection to the width, and the norm behind it.
import type { Floats } from '../../tensor/kernels.ts'
import { createLinear } from './linear.ts'
import { createNorm } from './norm.ts'
import type { Scope } from './scope.ts'

/** From ids to the residual stream and back. */
export interface Embedding {
  forward(ids: Int32Array): void
  /** dx, the gradient of the result, is overwritten. */
  backward(ids: Int32Array, dx: Floats): void
}

/** The embedding into `out` (batch * length, width). */
export function createEmbedding(scope: Scope, out: Floats): Embedding {
  const { kernels, config, length } = scope
  const { width, embeddingWidth, embeddingScale, position } = config
  const table = scope.weight('embedding.weight')
  const projected = embeddingWidth !== width
  const looked = projected ? scope.keep('looked', scope.batch * length * embeddingWidth) : null
  const projection = projected
    ? createLinear(scope, embeddingWidth, [{ name: 'projectIn', outputs: width, y: out }], scope.plain)
    : null
  const positions =
    position.kind === 'learned'
      ? { table: scope.weight('position.weight'), length, offset: position.offset + scope.first }
      : undefined
  const norm = config.embeddingNorm ? createNorm(scope, 'embeddingNorm') : null
  const entered = norm === null ? out : scope.keep('entered', out.length)
  // positions are added after the projection: looked up alone there, by their own numbers
  const places = positions === undefined || !projected ? null : placesOf(scope, positions.offset)
  const positionRows = scope.scratch('positionRows', places === null ? 0 : out.length)
  const dEntered = scope.backwardScratch('dEntered', norm === null ? 0 : out.length)
  const dLooked = scope.backwardScratch('dLooked', looked?.length ?? 0)
  const dTable = scope.gradient('embedding.weight')
  const dPositionTable = scope.gradient('position.weight')
  const dPositions = positions && dPositionTable ? { ...positions, dTable: dPositionTable } : undefined
  return {
    forward(ids) {
      if (projection === null || looked === null) kernels.embed(table, ids, width, entered, embeddingScale, positions)
      else {
        kernels.embed(table, ids, embeddingWidth, looked, embeddingScale)
        projection.forward(looked)
        if (entered !== out) entered.set(out)
        if (places !== null && positions !== undefined) {
          kernels.embed(positions.table, places, width, positionRows, 1)
          kernels.add(entered, positionRows)
        }
      }
      norm?.forward(entered, out)
    },
    backward(ids, dx) {
      let d = dx
      if (norm !== null) {
        d = dEntered
        norm.backward(entered, dx, d, false)
      }
      if (dTable === null) return
      if (projection === null || looked === null) {
        kernels.embedBackward(d, ids, width, dTable, embeddingScale, dPositions)
        return
      }
      if (places !== null && dPositions !== undefined) kernels.embedBackward(d, places, width, dPositions.dTable, 1)
      projection.backward(looked, [d], dLooked, false)
      kernels.embedBackward(dLooked, ids, embeddingWidth, dTable, embeddingScale)
    },
  }
}

/** The row of the position table of every place of the batch. */
function placesOf({ batch, length }: Scope, offset: number): Int32Array {
  return Int32Array.from({ length: batch * length }, (_, i) => offset + (i % length))
}
