// Frontiers of very many candidates over typed arrays: those that no other beats in everything at once. Candidates are
// put in order by a radix sort of the bits of their numbers, so a million of them take a fraction of a second.

const BUCKETS = 65_536

/** Order of numbers from least to largest (NaN last), equal ones as `from` has them; four passes of 16 bits. */
export function orderOf(values: Float64Array, from?: Uint32Array): Uint32Array {
  const count = values.length
  const words = new Uint32Array(values.buffer, values.byteOffset, 2 * count)
  let order = from?.slice() ?? new Uint32Array(count)
  if (!from) for (let i = 0; i < count; i++) order[i] = i
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

/** Bins of each of two numbers in the sieve. */
const BINS = 256

/** Bin of each number by its leading bits, least first: roughly its logarithm. */
function binsOf(values: Float64Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length)
  const keyOf = (i: number) => {
    const high = words[2 * i + 1]
    return (high >>> 31 ? ~high : high | 0x80000000) >>> 0
  }
  let low = 0xffffffff
  let high = 0
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue
    const key = keyOf(i)
    if (key < low) low = key
    if (key > high) high = key
  }
  const scale = BINS / (high - low + 1)
  const bins = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) if (Number.isFinite(values[i])) bins[i] = (keyOf(i) - low) * scale
  return bins
}

/** Numbers of the candidates that are left when those are dropped that one in lower bins of both a and b equals or beats in c: a sieve in linear time. */
function sieve(a: Float64Array, b: Float64Array, c: Float64Array): Uint32Array {
  const count = a.length
  const binA = binsOf(a)
  const binB = binsOf(b)
  const width = BINS + 1
  // Least c of bins below (x, y) in both; row and column 0 have none below.
  const least = new Float64Array(width * width).fill(Number.POSITIVE_INFINITY)
  const finite = (i: number) => Number.isFinite(a[i]) && Number.isFinite(b[i]) && Number.isFinite(c[i])
  for (let i = 0; i < count; i++) {
    if (!finite(i)) continue
    const cell = (binA[i] + 1) * width + binB[i] + 1
    if (c[i] < least[cell]) least[cell] = c[i]
  }
  for (let x = 1; x < width; x++)
    for (let y = 1; y < width; y++) {
      const cell = x * width + y
      least[cell] = Math.min(least[cell], least[cell - 1], least[cell - width])
    }
  const kept = new Uint32Array(count)
  let left = 0
  for (let i = 0; i < count; i++) if (finite(i) && !(least[binA[i] * width + binB[i]] <= c[i])) kept[left++] = i
  return kept.subarray(0, left)
}

/** Which candidates no other beats: none is at most equal in each number and less in one. Infinite and NaN ones are never among them; of equal ones all are. */
export function frontierOf(a: Float64Array, b: Float64Array, c?: Float64Array): Uint8Array {
  const marks = new Uint8Array(a.length)
  if (c === undefined) {
    const order = orderOf(a, orderOf(b))
    let least = Number.POSITIVE_INFINITY
    let leastA = Number.NaN
    for (const i of order) {
      if (!Number.isFinite(a[i]) || !Number.isFinite(b[i])) continue
      if (b[i] < least || (b[i] === least && a[i] === leastA)) {
        marks[i] = 1
        least = b[i]
        leastA = a[i]
      }
    }
    return marks
  }
  const kept = sieve(a, b, c)
  const pick = (values: Float64Array) => {
    const few = new Float64Array(kept.length)
    for (let i = 0; i < kept.length; i++) few[i] = values[kept[i]]
    return few
  }
  for (const i of frontierOfFew(pick(a), pick(b), pick(c))) marks[kept[i]] = 1
  return marks
}

/** Frontier of finite triples: they come in order of a, then b, then c; a tree over the ranks of b holds the least c seen at a rank or below. */
function frontierOfFew(a: Float64Array, b: Float64Array, c: Float64Array): number[] {
  const count = a.length
  const byB = orderOf(b, orderOf(c))
  const rank = new Uint32Array(count)
  let ranks = 0
  for (let k = 0; k < count; k++) {
    if (k === 0 || b[byB[k]] !== b[byB[k - 1]]) ranks++
    rank[byB[k]] = ranks
  }
  const tree = new Float64Array(ranks + 1).fill(Number.POSITIVE_INFINITY)
  const found: number[] = []
  let last = -1
  let lastBeaten = false
  for (const i of orderOf(a, byB)) {
    const same = last >= 0 && a[i] === a[last] && b[i] === b[last] && c[i] === c[last]
    let beaten: boolean = same && lastBeaten
    if (!same) for (let r = rank[i]; r > 0 && !beaten; r -= r & -r) beaten = tree[r] <= c[i]
    if (!beaten) {
      found.push(i)
      for (let r = rank[i]; r <= ranks; r += r & -r) if (c[i] < tree[r]) tree[r] = c[i]
    }
    last = i
    lastBeaten = beaten
  }
  return found
}
