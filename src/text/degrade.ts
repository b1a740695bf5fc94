// Degraded text: the same stream of tokens in which a share is replaced by tokens from elsewhere in it. Length,
// vocabulary and word counts stay; what a token's neighbours say of it is partly lost. Quality of data as an axis.
import type { TokenStream } from './shards.ts'

/** Tokens that take their replacements from one other place of the stream. */
const PIECE = 64

/** A 32-bit hash of two numbers (murmur's finish). */
function hash(seed: number, index: number): number {
  let x = (Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b)) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/** The stream with a share (0 to 1) of its tokens replaced; which, and by what, depends on seed and place alone. */
export function degradeStream(stream: TokenStream, share: number, seed: number): TokenStream {
  if (share === 0) return stream
  const threshold = Math.round(share * 2 ** 32)
  const other = new Int32Array(PIECE)
  return {
    ...stream,
    length: stream.length,
    read(start, out) {
      stream.read(start, out)
      for (let at = start; at < start + out.length; ) {
        const piece = Math.floor(at / PIECE)
        const end = Math.min(start + out.length, (piece + 1) * PIECE)
        const source = hash(seed, piece) % Math.max(1, stream.length - PIECE)
        const available = Math.min(PIECE, stream.length - source)
        stream.read(source, other.subarray(0, available))
        for (; at < end; at++)
          if (hash(seed ^ 0x5bd1e995, at) < threshold) out[at - start] = other[(at % PIECE) % available]
      }
    },
  }
}
