// Random bits by counting, so that any order of work, any number of threads and any language give the same.

/** 32 random bits of (seed, index): two rounds of multiply and shift. */
export function randomBits(seed: number, index: number): number {
  let h = Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(Math.floor(index / 0x100000000), 0x85ebca77)
  h = Math.imul(h ^ (index | 0), 0x21f0aaad)
  h = Math.imul(h ^ (h >>> 15), 0xd35a2d97)
  h = Math.imul(h ^ (h >>> 15) ^ (index | 0), 0x21f0aaad)
  h = Math.imul(h ^ (h >>> 16), 0x735a2d97)
  return (h ^ (h >>> 15)) >>> 0
}

/** A number from 0 to below 1 of (seed, index). */
export function randomUniform(seed: number, index: number): number {
  return randomBits(seed, index) / 0x100000000
}

/** A standard normal number of (seed, index), for Monte Carlo: Box and Muller's transform. */
export function randomNormal(seed: number, index: number): number {
  const u = (randomBits(seed, 2 * index) + 0.5) / 0x100000000
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * randomUniform(seed, 2 * index + 1))
}
