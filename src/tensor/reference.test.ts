// The reference kernels against definitions written out plainly, and against the formats' oracle. Linear layers,
// attention and activations are tested beside their files.
import { describe, expect, test } from 'vitest'
import { fakeQuantize } from '../formats/encode.ts'
import { fromBfloat16, toBfloat16 } from '../formats/index.ts'
import { parseFormat } from '../formats/spelling.ts'
import { roundEven, toBf16 } from './reference/numbers.ts'
import { FORMATS, numbers, product } from './reference/testing.ts'
import { createReference } from './reference.ts'

const kernels = createReference({ float: 'float64' })
const single = createReference({ float: 'float32' })

describe('rounding', () => {
  test('bf16: nearest, ties to even, as the formats have it; float32 subnormals are flushed', () => {
    for (const x of [...numbers(2000, 1, Float32Array), 1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.3e38, 2 ** -126, -(2 ** -126)])
      expect(toBf16(x)).toBe(fromBfloat16(toBfloat16(Math.fround(x))))
    expect(toBf16(2 ** -127)).toBe(0)
    expect(toBf16(-(2 ** -140))).toBe(-0)
    expect(toBf16(3.4e38)).toBe(Infinity)
    expect(toBf16(-Infinity)).toBe(-Infinity)
    expect(toBf16(Number.NaN)).toBeNaN()
  })

  test('to the even integer', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999999, 127.5].map(roundEven)).toEqual([0, 2, 2, 0, -2, 2, 128])
  })

  test.each(FORMATS)('fakeQuantize in %s is the formats’ own, in both number types', spelling => {
    const format = parseFormat(spelling)
    for (const [reference, kind] of [
      [kernels, Float64Array],
      [single, Float32Array],
    ] as const)
      for (const [rows, width] of [
        [5, 64],
        [1, 96],
        [0, 32],
        [3, 32],
      ]) {
        const x = numbers(rows * width, 3, kind)
        const expected = fakeQuantize(x, [rows, width], format)
        const out = reference.allocate(x.length)
        reference.fakeQuantize(x, rows, width, format, out)
        expect(out).toEqual(expected)
        reference.fakeQuantize(x, rows, width, format, x)
        expect(x).toEqual(expected)
      }
  })
})

describe('the ends', () => {
  const [rows, width, vocab] = [9, 5, 70]
  const x = numbers(rows * width, 1)
  const weight = numbers(vocab * width, 2)
  const bias = numbers(vocab, 3)
  const targets = Int32Array.from({ length: rows }, (_, i) => (i === 2 ? -1 : (i * 13) % vocab))

  test('crossEntropy is the log-softmax at the target', () => {
    for (const softcap of [undefined, 1.5]) {
      const losses = kernels.allocate(rows)
      const shape = { rows, width, vocab, compute: 'float' as const, ...(softcap ? { softcap } : {}) }
      kernels.crossEntropy(x, weight, bias, targets, losses, shape)
      const logits = product(x, weight, rows, vocab, width)
      for (let i = 0; i < logits.length; i++) {
        logits[i] += bias[i % vocab]
        if (softcap) logits[i] = softcap * Math.tanh(logits[i] / softcap)
      }
      kernels.logSoftmax(logits, rows, vocab)
      for (let r = 0; r < rows; r++)
        expect(losses[r]).toBeCloseTo(targets[r] < 0 ? 0 : -logits[r * vocab + targets[r]], 12)
    }
  })

  test('embed and its gradient with positions', () => {
    const ids = Int32Array.of(3, 3, 0, 69)
    const table = numbers(20, 8)
    const out = kernels.allocate(4 * width)
    kernels.embed(weight, ids, width, out, 2, { table, length: 2, offset: 1 })
    for (let i = 0; i < out.length; i++) {
      const [r, c] = [Math.floor(i / width), i % width]
      expect(out[i]).toBe(weight[ids[r] * width + c] * 2 + table[(1 + (r % 2)) * width + c])
    }
    const dTable = kernels.allocate(weight.length)
    const dPositions = kernels.allocate(table.length)
    kernels.embedBackward(out, ids, width, dTable, 2, { dTable: dPositions, length: 2, offset: 1 })
    expect(dTable[3 * width]).toBe(out[0] * 2 + out[width] * 2)
    expect(dPositions[width]).toBe(out[0] + out[2 * width])
  })
})
