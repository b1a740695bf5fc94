// The random numbers of data: which documents are held out, in which order windows are read. Integers only, so every
// machine draws the same ones. (Weights and stochastic rounding draw theirs elsewhere, from the same seed.)

/** Scrambles 32 bits (the finalizer of MurmurHash3). */
function scramble(x: number): number {
  let h = x | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** A stream of 32-bit integers that depends on every one of the keys: (seed, what it is for, epoch …). */
export function randomStream(...keys: number[]): () => number {
  let a = 0x9e3779b9
  let b = 0x7f4a7c15
  for (const key of keys) {
    a = scramble(a ^ key)
    b = scramble((b + a) ^ Math.floor(key / 2 ** 32))
  }
  let counter = 0
  return () => {
    counter = (counter + 0x9e3779b9) | 0
    return scramble(scramble(counter ^ a) + b)
  }
}

/** A whole number from 0 to `below - 1` (below at most 2^32), each equally likely. */
export function randomBelow(random: () => number, below: number): number {
  const limit = 2 ** 32 - (2 ** 32 % below)
  for (;;) {
    const draw = random()
    if (draw < limit) return draw % below
  }
}

/** The numbers 0 … length-1 in an order that depends on the stream alone. */
export function permutation(length: number, random: () => number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i)
  for (let i = length - 1; i > 0; i--) {
    const j = randomBelow(random, i + 1)
    const swap = order[i]
    order[i] = order[j]
    order[j] = swap
  }
  return order
}
