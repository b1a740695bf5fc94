// fp16 numbers in the bytes of ggml's block types.
import { fromFloat16, toFloat16 } from './elements.ts'

/** The fp16 number at an offset. */
export function readHalf(bytes: Uint8Array, offset: number): number {
  return fromFloat16(bytes[offset] | (bytes[offset + 1] << 8))
}

/** Writes a number as fp16; a finite one beyond the range saturates. */
export function writeHalf(bytes: Uint8Array, offset: number, x: number): void {
  const half = toFloat16(Math.min(Math.max(x, -65504), 65504))
  bytes[offset] = half & 255
  bytes[offset + 1] = half >> 8
}

/** The fp16 number nearest to x; beyond the range the largest. */
export function nearestHalf(x: number): number {
  return fromFloat16(toFloat16(Math.min(Math.max(x, -65504), 65504)))
}
