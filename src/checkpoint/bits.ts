// Codes of k bits as a stream of bits, the lowest first: how packed checkpoints store them.

/** Writes codes (`least` … least + 2^bits - 1, bits 1 to 16) one behind the other; the last byte is filled with zeros. */
export function packBits(codes: ArrayLike<number>, bits: number, least = 0): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil((codes.length * bits) / 8))
  if (bits === 4 && codes.length % 2 === 0) {
    for (let i = 0; i < out.length; i++) out[i] = (codes[2 * i] - least) | ((codes[2 * i + 1] - least) << 4)
    return out
  }
  if (bits === 8) {
    for (let i = 0; i < out.length; i++) out[i] = codes[i] - least
    return out
  }
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

/** Writes numbers from `least` to `least` + 2, five in a byte as digits to base 3, the first the lowest. */
export function packTrits(codes: ArrayLike<number>, least = 0): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil(codes.length / 5))
  for (let i = codes.length - 1; i >= 0; i--) {
    const byte = Math.floor(i / 5)
    out[byte] = out[byte] * 3 + (codes[i] - least)
  }
  return out
}

/** Reads `count` digits to base 3. */
export function unpackTrits(bytes: Uint8Array, count: number): Uint8Array {
  const out = new Uint8Array(count)
  for (let i = 0; i < count; i++) out[i] = Math.floor(bytes[Math.floor(i / 5)] / 3 ** (i % 5)) % 3
  return out
}
