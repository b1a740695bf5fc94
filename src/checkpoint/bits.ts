// Codes of k bits as a stream of bits, the lowest first: how packed checkpoints store them.

/** Writes codes (`least` … least + 2^bits - 1, bits 1 to 16) one behind the other; the last byte is filled with zeros. */
export function packBits(codes: ArrayLike<number>, bits: number, least = 0): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil((codes.length * bits) / 8))
  let word = 0 // bits that are not written yet, fewer than 8 before each code
  let filled = 0
  let to = 0
  for (let i = 0; i < codes.length; i++) {
    word |= (codes[i] - least) << filled
    filled += bits
    while (filled >= 8) {
      out[to++] = word
      word >>>= 8
      filled -= 8
    }
  }
  if (filled > 0) out[to] = word
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
