// Codes of k bits as a stream of bits, the lowest first: how packed checkpoints store them.

/** Writes codes (0 … 2^bits - 1) one behind the other; the last byte is filled with zeros. */
export function packBits(codes: ArrayLike<number>, bits: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil((codes.length * bits) / 8))
  for (let i = 0, at = 0; i < codes.length; i++, at += bits) {
    for (let done = 0; done < bits; ) {
      const bit = at + done
      const take = Math.min(bits - done, 8 - (bit & 7))
      out[bit >> 3] |= ((codes[i] >> done) & ((1 << take) - 1)) << (bit & 7)
      done += take
    }
  }
  return out
}

/** Reads `count` codes of `bits` (1 to 16) from `start` bits into a stream. */
export function unpackBits(bytes: Uint8Array, bits: number, count: number, start = 0): Uint16Array {
  const out = new Uint16Array(count)
  const mask = (1 << bits) - 1
  for (let i = 0, at = start; i < count; i++, at += bits) {
    const byte = Math.floor(at / 8)
    const word = bytes[byte] | (bytes[byte + 1] << 8) | (bytes[byte + 2] << 16)
    out[i] = (word >> (at - 8 * byte)) & mask
  }
  return out
}
