// Seeded random numbers by counter: the number at a place depends on the seed, a name and that place alone, so that
// tensors can be filled in any order and a resumed run draws what an uninterrupted one would have drawn.

/** A 32-bit integer whose every bit depends on every bit of `x` (the finaliser of MurmurHash3). */
function mix(x: number): number {
  let h = x | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** 32 random bits of a counter under a 64-bit key: mixing rounds that take the two halves of the key in turn. */
function bits(low: number, high: number, counter: number): number {
  let h = mix(counter ^ low)
  h = mix(h + high)
  h = mix((h ^ Math.floor(counter / 2 ** 32)) + low)
  return mix(h ^ high)
}

/** A key of 64 bits, as two halves, from a seed and a name. */
function key(seed: number, name: string): [number, number] {
  let low = mix(seed | 0)
  let high = mix(Math.floor(seed / 2 ** 32) ^ 0x9e3779b9 ^ low)
  for (let i = 0; i < name.length; i++) {
    low = mix(low ^ name.charCodeAt(i))
    high = mix(high + low)
  }
  return [low, high]
}

/** Uniform numbers in (0, 1) by counter. */
export function createUniform(seed: number, name: string): (counter: number) => number {
  const [low, high] = key(seed, name)
  return counter => (bits(low, high, counter) + 0.5) / 2 ** 32
}

/** 32 random bits by counter: seeds of what draws numbers of its own. */
export function createSeeds(seed: number, name: string): (counter: number) => number {
  const [low, high] = key(seed, name)
  return counter => bits(low, high, counter)
}

/** Standard normal numbers by counter (Box and Muller's transform of two uniform numbers). */
export function createNormal(seed: number, name: string): (counter: number) => number {
  const uniform = createUniform(seed, name)
  return counter => Math.sqrt(-2 * Math.log(uniform(2 * counter))) * Math.cos(2 * Math.PI * uniform(2 * counter + 1))
}
