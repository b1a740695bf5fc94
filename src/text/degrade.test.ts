import { expect, test } from 'vitest'
import { degradeStream } from './degrade.ts'
import type { TokenStream } from './shards.ts'

const ids = Int32Array.from({ length: 5000 }, (_, i) => (i * i) % 97)
const stream = {
  length: ids.length,
  read: (start: number, out: Int32Array) => out.set(ids.subarray(start, start + out.length)),
} as TokenStream

test('a share of the tokens is replaced, the same ones however they are read', () => {
  const degraded = degradeStream(stream, 0.25, 3)
  const whole = new Int32Array(5000)
  degraded.read(0, whole)
  const changed = whole.reduce((sum, id, i) => sum + Number(id !== ids[i]), 0)
  expect(changed / 5000).toBeGreaterThan(0.21)
  expect(changed / 5000).toBeLessThan(0.27)
  for (const [start, length] of [
    [0, 1],
    [63, 2],
    [100, 300],
    [4990, 10],
  ]) {
    const part = new Int32Array(length)
    degraded.read(start, part)
    expect(part).toEqual(whole.slice(start, start + length))
  }
  const other = new Int32Array(5000)
  degradeStream(stream, 0.25, 4).read(0, other)
  expect(other).not.toEqual(whole)
  expect(degradeStream(stream, 0, 3)).toBe(stream)
})
