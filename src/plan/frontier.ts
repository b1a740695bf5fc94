// Frontiers of very many candidates over typed arrays: those that no other beats in everything at once. Candidates are
// put in order by a radix sort of the bits of their numbers, so a million of them take a fraction of a second.

const BUCKETS = 65_536

/** Order of numbers from least to largest (NaN last), equal ones as `from` has them; four passes of 16 bits. */
export function orderOf(values: Float64Array, from?: Uint32Array): Uint32Array {
  const count = values.length
  const words = new Uint32Array(values.buffer, values.byteOffset, 2 * count)
  let order = from ? from.slice() : Uint32Array.from({ length: count }, (_, i) => i)
  let next = new Uint32Array(count)
  const counts = new Uint32Array(BUCKETS + 1)
  for (let pass = 0; pass < 4; pass++) {
    const half = pass >> 1
    const shift = (pass & 1) * 16
    // A negative number has all its bits turned round, another one its sign: then order of bits is order of values.
    const keyOf = (i: number) => {
      const flip = words[2 * i + 1] >>> 31 ? 0xffffffff : half === 1 ? 0x80000000 : 0
      return ((words[2 * i + half] ^ flip) >>> shift) & 0xffff
    }
    counts.fill(0)
    for (let i = 0; i < count; i++) counts[keyOf(i) + 1]++
    if (counts.some(n => n === count)) continue
    for (let b = 0; b < BUCKETS; b++) counts[b + 1] += counts[b]
    for (let i = 0; i < count; i++) next[counts[keyOf(order[i])]++] = order[i]
    ;[order, next] = [next, order]
  }
  return order
}

/** Which candidates no other beats: none is at most equal in each number and less in one. Infinite and NaN ones are never among them; of equal ones all are. */
export function frontierOf(a: Float64Array, b: Float64Array, c?: Float64Array): Uint8Array {
  const count = a.length
  const marks = new Uint8Array(count)
  const finite = (i: number) => Number.isFinite(a[i]) && Number.isFinite(b[i]) && (c === undefined || Number.isFinite(c[i])) // biome-ignore format: one line
  const byB = orderOf(b)
  if (c === undefined) {
    const order = orderOf(a, byB)
    let least = Number.POSITIVE_INFINITY
    let leastA = Number.NaN
    for (const i of order) {
      if (!finite(i)) continue
      if (b[i] < least || (b[i] === least && a[i] === leastA)) {
        marks[i] = 1
        least = b[i]
        leastA = a[i]
      }
    }
    return marks
  }
  // Ranks of b; a tree over them holds the least c seen at a rank or below, candidates coming in order of a, b, c.
  const rank = new Uint32Array(count)
  let ranks = 0
  for (let k = 0; k < count; k++) {
    if (k === 0 || b[byB[k]] !== b[byB[k - 1]]) ranks++
    rank[byB[k]] = ranks
  }
  const order = orderOf(a, orderOf(b, orderOf(c)))
  const tree = new Float64Array(ranks + 1).fill(Number.POSITIVE_INFINITY)
  let last = -1
  for (const i of order) {
    if (!finite(i)) continue
    const same = last >= 0 && a[i] === a[last] && b[i] === b[last] && c[i] === c[last]
    let beaten = false
    if (!same) for (let r = rank[i]; r > 0 && !beaten; r -= r & -r) beaten = tree[r] <= c[i]
    else beaten = marks[last] === 0
    if (!beaten) {
      marks[i] = 1
      for (let r = rank[i]; r <= ranks; r += r & -r) if (c[i] < tree[r]) tree[r] = c[i]
    }
    last = i
  }
  return marks
}
