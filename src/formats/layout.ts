// Which values of a tensor share a scale. Every share is a run of the flattened tensor, so a layout is one length.
import { RequestError } from './error.ts'
import type { Shares } from './format.ts'

/** A tensor cut into runs that share a scale: run b is values b * length … min((b + 1) * length, size) - 1. */
export interface Layout {
  readonly size: number
  /** Length of the last axis: a weight's inputs, an activation's features. */
  readonly width: number
  readonly rows: number
  readonly length: number
  readonly count: number
}

/** Checks a shape; throws RequestError where it is none, or its size is not `size`. */
export function sizeOf(shape: readonly number[], size?: number): number {
  let product = 1
  for (const axis of shape) {
    if (!Number.isSafeInteger(axis) || axis < 0)
      throw new RequestError(`bad shape [${shape.join(', ')}], expected whole numbers of at least 0`)
    product *= axis
  }
  if (size !== undefined && product !== size)
    throw new RequestError(`shape [${shape.join(', ')}] has ${product} values, the array has ${size}`)
  return product
}

/** Layout of a tensor of that shape: blocks run on across rows and the last may be short; channel and token are the rows of the last axis. */
export function layoutOf(shape: readonly number[], shares: Shares): Layout {
  const size = sizeOf(shape)
  const width = shape.length === 0 ? 1 : shape[shape.length - 1]
  const length = typeof shares === 'number' ? shares : shares === 'tensor' ? size : width
  return { size, width, rows: width === 0 ? 0 : size / width, length, count: size === 0 ? 0 : Math.ceil(size / length) }
}
