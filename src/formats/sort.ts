// Sorting of a whole tensor's values, which quantile books are estimated from: by digits of their bit patterns, as a
// comparison sort would cost several times what all the rest of an encoding does.

/** Bits of a digit; three make up a float32 pattern. */
const DIGIT = 11
const MASK = (1 << DIGIT) - 1

/** The finite values in ascending order, -0 before 0. */
export function sortedFinite(x: ArrayLike<number>): Float32Array | Float64Array {
  if (x instanceof Float32Array) return sortedFloats(x)
  const finite = new Float64Array(x.length)
  let count = 0
  for (let i = 0; i < x.length; i++) if (Number.isFinite(x[i])) finite[count++] = x[i]
  return finite.subarray(0, count).sort()
}

function sortedFloats(x: Float32Array): Float32Array {
  const words = new Uint32Array(x.buffer, x.byteOffset, x.length)
  let from = new Uint32Array(x.length)
  const counts = new Uint32Array(3 * (MASK + 1))
  let count = 0
  for (let i = 0; i < words.length; i++) {
    const word = words[i]
    if ((word & 0x7f800000) === 0x7f800000) continue
    // Patterns of negative numbers fall as the numbers rise: turned over, and the others put above them.
    const key = word ^ (word >> 31) ^ (~(word >> 31) & 0x80000000)
    from[count++] = key
    counts[key & MASK]++
    counts[MASK + 1 + ((key >>> DIGIT) & MASK)]++
    counts[2 * (MASK + 1) + (key >>> (2 * DIGIT))]++
  }
  let to = new Uint32Array(count)
  from = from.subarray(0, count)
  for (let digit = 0; digit < 3; digit++) {
    const places = counts.subarray(digit * (MASK + 1), (digit + 1) * (MASK + 1))
    let place = 0
    for (let i = 0; i <= MASK; i++) {
      const here = places[i]
      places[i] = place
      place += here
    }
    const shift = digit * DIGIT
    for (let i = 0; i < count; i++) {
      const key = from[i]
      to[places[(key >>> shift) & MASK]++] = key
    }
    const swap = from
    from = to
    to = swap
  }
  for (let i = 0; i < count; i++) {
    const key = from[i]
    from[i] = key & 0x80000000 ? key ^ 0x80000000 : ~key
  }
  return new Float32Array(from.buffer, from.byteOffset, count)
}
