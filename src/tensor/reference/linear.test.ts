// The linear layer and its gradients against products written out, in every kind of format.
import { describe, expect, test } from 'vitest'
import { encode, fakeQuantize } from '../../formats/encode.ts'
import { fromBfloat16, toBfloat16 } from '../../formats/index.ts'
import { parseFormat } from '../../formats/spelling.ts'
import { createReference } from '../reference.ts'
import { toBf16 } from './numbers.ts'
import { seedOf } from './operand.ts'
import { expectClose, FORMATS, numbers, product, rounding, transpose } from './testing.ts'

const kernels = createReference({ float: 'float64' })
const single = createReference({ float: 'float32' })

describe('linear', () => {
  const shapes: [rows: number, inputs: number, outputs: number[]][] = [
    [5, 7, [3, 9]], [1, 64, [130]], [70, 33, [1, 2, 65]], [0, 4, [3]], [3, 1, [1]],
  ] // biome-ignore format: a list

  test.each(shapes)('%i rows of %i inputs', (rows, inputs, widths) => {
    const x = numbers(rows * inputs, 1)
    const parts = widths.map((outputs, i) => ({
      weight: numbers(outputs * inputs, 10 + i),
      outputs,
      y: numbers(rows * outputs, 30 + i),
      bias: numbers(outputs, 50 + i),
    }))
    const residuals = parts.map(({ y }) => y.slice())
    kernels.linear(
      x,
      rows,
      inputs,
      parts.map((part, i) => (i === 0 ? { ...part, residual: part.y } : part)),
      rounding(),
    )
    parts.forEach(({ weight, outputs, y, bias }, p) => {
      const expected = product(x, weight, rows, outputs, inputs)
      for (let i = 0; i < y.length; i++) expected[i] += bias[i % outputs] + (p === 0 ? residuals[0][i] : 0)
      expectClose(y, expected, 1e-14)
    })
  })

  test.each(shapes)('backward: %i rows of %i inputs', (rows, inputs, widths) => {
    const x = numbers(rows * inputs, 1)
    const parts = widths.map((outputs, i) => ({
      weight: numbers(outputs * inputs, 10 + i),
      outputs,
      dy: numbers(rows * outputs, 30 + i),
      dWeight: numbers(outputs * inputs, 50 + i),
      dBias: numbers(outputs, 70 + i),
    }))
    const before = parts.map(({ dWeight, dBias }) => ({ dWeight: dWeight.slice(), dBias: dBias.slice() }))
    const dx = numbers(rows * inputs, 2)
    const expected = dx.slice()
    kernels.linearBackward(x, rows, inputs, parts, dx, true, rounding())
    parts.forEach(({ weight, outputs, dy, dWeight, dBias }, p) => {
      const dxPart = product(dy, transpose(weight, outputs, inputs), rows, inputs, outputs)
      for (let i = 0; i < dxPart.length; i++) expected[i] += dxPart[i]
      const dw = product(transpose(dy, rows, outputs), transpose(x, rows, inputs), outputs, inputs, rows)
      expectClose(
        dWeight,
        dw.map((g, i) => g + before[p].dWeight[i]),
        1e-13,
      )
      const sums = before[p].dBias.map(
        (b, o) => b + Array.from(dy).reduce((sum, d, i) => (i % outputs === o ? sum + d : sum), 0),
      )
      expectClose(dBias, sums, 1e-13)
    })
    expectClose(dx, expected, 1e-13)
  })

  test.each(FORMATS)('weights and activations in %s: products of what the format stores', spelling => {
    const format = parseFormat(spelling)
    const [rows, inputs, outputs, seed] = [4, 64, 6, 11]
    const x = numbers(rows * inputs, 4)
    const weight = numbers(outputs * inputs, 5)
    const dy = numbers(rows * outputs, 6)
    const y = kernels.allocate(rows * outputs)
    const dx = kernels.allocate(x.length)
    const dWeight = kernels.allocate(weight.length)
    const quantized = rounding({ weights: format, activations: format })
    kernels.linear(x, rows, inputs, [{ weight, outputs, y, seed }], quantized)
    kernels.linearBackward(x, rows, inputs, [{ weight, outputs, dy, dWeight, seed }], dx, false, quantized)
    const qx = fakeQuantize(x, [rows, inputs], format, { seed: seedOf(format, seed + 2) })
    const qw = fakeQuantize(weight, [outputs, inputs], format, { seed: seedOf(format, seed) })
    expectClose(y, product(qx, qw, rows, outputs, inputs), 1e-14)
    expectClose(dx, product(dy, transpose(qw, outputs, inputs), rows, inputs, outputs), 1e-14)
    expectClose(
      dWeight,
      product(transpose(dy, rows, outputs), transpose(qx, rows, inputs), outputs, inputs, rows),
      1e-14,
    )
  })

  test('codes of 4 and 8 bits multiply exactly in bf16 computing: scales are apart', () => {
    const [rows, inputs, outputs] = [3, 200, 5]
    const x = numbers(rows * inputs, 7, Float32Array)
    const weight = numbers(outputs * inputs, 8, Float32Array)
    const y = single.allocate(rows * outputs)
    const int8 = parseFormat('int8@token/exact')
    const int4 = parseFormat('int4@channel/exact')
    single.linear(
      x,
      rows,
      inputs,
      [{ weight, outputs, y }],
      rounding({ weights: int4, activations: int8, compute: 'bf16' }),
    )
    const a = encode(x, [rows, inputs], int8)
    const w = encode(weight, [outputs, inputs], int4)
    const integers = product(Float64Array.from(a.codes!), Float64Array.from(w.codes!), rows, outputs, inputs)
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outputs; o++)
        expect(y[r * outputs + o]).toBe(Math.fround(integers[r * outputs + o] * a.scales![r] * w.scales![o]))
  })

  test('bf16 computing rounds what is not codes; scales along the reduction multiply dy before it is rounded', () => {
    const [rows, inputs, outputs] = [3, 16, 5]
    const x = numbers(rows * inputs, 7)
    const weight = numbers(outputs * inputs, 8)
    const dy = numbers(rows * outputs, 9)
    const int4 = parseFormat('int4@channel/exact')
    const options = rounding({ weights: int4, compute: 'bf16' })
    const y = kernels.allocate(rows * outputs)
    const dx = kernels.allocate(x.length)
    const dWeight = kernels.allocate(weight.length)
    kernels.linear(x, rows, inputs, [{ weight, outputs, y }], options)
    kernels.linearBackward(x, rows, inputs, [{ weight, outputs, dy, dWeight }], dx, false, options)
    const { codes, scales } = encode(weight, [outputs, inputs], int4)
    const xs = x.map(toBf16)
    const values = weight.map((_, i) => codes![i] * scales![Math.floor(i / inputs)])
    expectClose(y, product(xs, values, rows, outputs, inputs), 1e-14)
    const scaled = dy.map((d, i) => toBf16(d * scales![i % outputs]))
    expectClose(
      dx,
      product(scaled, transpose(Float64Array.from(codes!), outputs, inputs), rows, inputs, outputs),
      1e-14,
    )
    const dys = dy.map(toBf16)
    expectClose(
      dWeight,
      product(transpose(dys, rows, outputs), transpose(xs, rows, inputs), outputs, inputs, rows),
      1e-14,
    )
  })

  test.each(FORMATS)(
    'gradients in %s: both backward products take them rounded, the bias the sum of dy itself',
    spelling => {
      const format = parseFormat(spelling)
      const [rows, inputs, outputs] = [4, 3, 64]
      const x = numbers(rows * inputs, 4)
      const weight = numbers(outputs * inputs, 5)
      const dy = numbers(rows * outputs, 6)
      const dx = kernels.allocate(x.length)
      const dWeight = kernels.allocate(weight.length)
      const dBias = kernels.allocate(outputs)
      kernels.linearBackward(
        x,
        rows,
        inputs,
        [{ weight, outputs, dy, dWeight, dBias }],
        dx,
        false,
        rounding({ gradients: format }),
      )
      const qdy = fakeQuantize(dy, [rows, outputs], format, { seed: seedOf(format, 1) })
      expectClose(dx, product(qdy, transpose(weight, outputs, inputs), rows, inputs, outputs), 1e-14)
      expectClose(
        dWeight,
        product(transpose(qdy, rows, outputs), transpose(x, rows, inputs), outputs, inputs, rows),
        1e-14,
      )
      expect(dBias[1]).toBeCloseTo(dy[1] + dy[outputs + 1] + dy[2 * outputs + 1] + dy[3 * outputs + 1], 10)
    },
  )

  test('quantized gradients in bf16 computing: codes where no scale lies along the reduction, else rounded once', () => {
    const [rows, inputs, outputs] = [3, 6, 5]
    const x = numbers(rows * inputs, 7)
    const weight = numbers(outputs * inputs, 8)
    const dy = numbers(rows * outputs, 9)
    const int8 = parseFormat('int8@token/exact')
    const int4 = parseFormat('int4@channel/exact')
    const dx = kernels.allocate(x.length)
    const dWeight = kernels.allocate(weight.length)
    const run = (weights: typeof int4 | null) =>
      kernels.linearBackward(
        x,
        rows,
        inputs,
        [{ weight, outputs, dy, dWeight }],
        dx,
        false,
        rounding({ weights, gradients: int8, compute: 'bf16' }),
      )
    const d = encode(dy, [rows, outputs], int8)
    const w = encode(weight, [outputs, inputs], int4)
    const values = dy.map((_, i) => d.codes![i] * d.scales![Math.floor(i / outputs)])
    const xs = x.map(toBf16)
    // dx sums over outputs: dy's scales are outside, the codes exact
    run(null)
    expectClose(dx, product(values, transpose(weight.map(toBf16), outputs, inputs), rows, inputs, outputs), 1e-14)
    // dWeight sums over rows, along which dy's scales lie
    const rounded = values.map(toBf16)
    expectClose(
      dWeight,
      product(transpose(rounded, rows, outputs), transpose(xs, rows, inputs), outputs, inputs, rows),
      1e-14,
    )
    run(int4)
    const scaled = values.map((value, i) => toBf16(value * w.scales![i % outputs]))
    expectClose(
      dx,
      product(scaled, transpose(Float64Array.from(w.codes!), outputs, inputs), rows, inputs, outputs),
      1e-14,
    )
  })

  test('clipped: no gradient where the code is outside the range', () => {
    const format = parseFormat('int4@tensor/exact')
    const options = rounding({
      weights: format,
      activations: format,
      straightThrough: 'clipped',
      absmaxRatio: { weights: 0.5, activations: 0.25 },
    })
    const x = Float64Array.of(1, -0.26, 0.25, 0.1)
    const weight = Float64Array.of(8, 4.1, -5, 3)
    const dx = kernels.allocate(4)
    const dWeight = kernels.allocate(4)
    kernels.linearBackward(x, 1, 4, [{ weight, outputs: 1, dy: Float64Array.of(1), dWeight }], dx, false, options)
    // steps are 0.25 / 7 and 4 / 7: 0.26 and 4.1 still round to code 7
    expect(Array.from(dx, d => d !== 0)).toEqual([false, true, true, true])
    expect(Array.from(dWeight, d => d !== 0)).toEqual([false, true, false, true])
  })

  test.each([
    ['fp4e2m1@4/exact', 0.5, [false, true, true, true, false, true, false, true]],
    ['int3@4+clip', 1, null],
    ['uint4@tensor', 0.5, [false, true, true, true, false, true, true, true]],
  ] as const)('clipped in %s: what the range of its group leaves out', (spelling, ratio, kept) => {
    const format = parseFormat(spelling)
    const weights = rounding({
      weights: format,
      straightThrough: 'clipped',
      absmaxRatio: { weights: ratio, activations: 1 },
    })
    const weight = Float64Array.of(8, 3, -2, 1, -4, 2, 2.5, 0.5)
    const dWeight = kernels.allocate(8)
    kernels.linearBackward(
      Float64Array.of(1),
      1,
      1,
      [{ weight, outputs: 8, dy: weight.map(() => 1), dWeight }],
      null,
      false,
      weights,
    )
    const rounded = fakeQuantize(weight, [8, 1], format)
    const largest = [0, 4].map(at => Math.max(...rounded.subarray(at, at + 4).map(Math.abs)))
    const expected = kept ?? Array.from(weight, (w, i) => Math.abs(w) <= largest[i >> 2])
    expect(Array.from(dWeight, d => d !== 0)).toEqual(expected)
  })

  test('bf16 weights are read as they are stored', () => {
    const bits = Uint16Array.from(numbers(12, 3), toBfloat16)
    const widened = Float64Array.from(bits, fromBfloat16)
    const x = numbers(8, 4)
    for (const format of [null, parseFormat('int4@channel/exact')]) {
      const [a, b] = [kernels.allocate(6), kernels.allocate(6)]
      kernels.linear(x, 2, 4, [{ weight: bits, outputs: 3, y: a }], rounding({ weights: format }))
      kernels.linear(x, 2, 4, [{ weight: widened, outputs: 3, y: b }], rounding({ weights: format }))
      expect(a).toEqual(b)
    }
  })
})
