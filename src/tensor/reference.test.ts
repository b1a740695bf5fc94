// The reference kernels against definitions written out plainly, and against the formats' oracle.
import { describe, expect, test } from 'vitest'
import { encode, fakeQuantize } from '../formats/encode.ts'
import { fromBfloat16, toBfloat16 } from '../formats/index.ts'
import { parseFormat } from '../formats/spelling.ts'
import type { AttentionShape, Compute, Floats, Rounding } from './kernels.ts'
import { activation, activationBackward, erf } from './reference/activation.ts'
import { roundEven, toBf16 } from './reference/numbers.ts'
import { createReference } from './reference.ts'

const kernels = createReference({ float: 'float64' })
const single = createReference({ float: 'float32' })

/** Repeatable numbers of mixed sizes. */
function numbers(length: number, seed: number, kind: typeof Float64Array | typeof Float32Array = Float64Array): Floats {
  let state = seed * 2654435761 + 12345
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32 - 0.5
  }
  const out = new kind(length)
  for (let i = 0; i < length; i++) out[i] = next() * 4 * 2 ** Math.round(next() * 6)
  return out
}

function rounding(options: Partial<Rounding> = {}): Rounding {
  return {
    weights: null,
    activations: null,
    gradients: null,
    straightThrough: 'full',
    absmaxRatio: { weights: 1, activations: 1 },
    compute: 'float',
    ...options,
  }
}

/** a (rows, inner) times b (columns, inner) transposed. */
function product(a: Floats, b: Floats, rows: number, columns: number, inner: number): Float64Array {
  const out = new Float64Array(rows * columns)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      for (let i = 0; i < inner; i++) out[r * columns + c] += a[r * inner + i] * b[c * inner + i]
  return out
}

function transpose(a: Floats, rows: number, columns: number): Float64Array {
  return Float64Array.from({ length: rows * columns }, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)])
}

function expectClose(a: Floats, b: Floats, tolerance: number): void {
  expect(a.length).toBe(b.length)
  const size = b.reduce === undefined ? 1 : Math.max(1e-30, ...Array.from(b, Math.abs))
  for (let i = 0; i < a.length; i++) expect(Math.abs(a[i] - b[i]), `at ${i}`).toBeLessThanOrEqual(tolerance * size)
}

const FORMATS = [
  'int2@channel/exact', 'int4@channel/exact', 'int8@tensor/exact', 'int4@token', 'int8@channel/bf16', 'int12@channel/exact',
  'ternary@tensor/fp32', 'int4@64', 'nf4@32', 'fp4e2m1@32/exact', 'uint4@channel/exact', 'int4full@tensor', 'int3@channel+clip',
  'mxfp4', 'nvfp4', 'q4_0', 'bf16', 'fp16', 'int8@tensor/e4m3', 'int4@channel/e8m0', 'int4@channel/exact+sr', 'int4@32+hadamard',
] // biome-ignore format: a list

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
    const [rows, inputs, outputs] = [4, 64, 6]
    const x = numbers(rows * inputs, 4)
    const weight = numbers(outputs * inputs, 5)
    const dy = numbers(rows * outputs, 6)
    const y = kernels.allocate(rows * outputs)
    const dx = kernels.allocate(x.length)
    const dWeight = kernels.allocate(weight.length)
    const quantized = rounding({ weights: format, activations: format })
    kernels.linear(x, rows, inputs, [{ weight, outputs, y }], quantized)
    kernels.linearBackward(x, rows, inputs, [{ weight, outputs, dy, dWeight }], dx, false, quantized)
    const qx = fakeQuantize(x, [rows, inputs], format)
    const qw = fakeQuantize(weight, [outputs, inputs], format)
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
      const qdy = fakeQuantize(dy, [rows, outputs], format)
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

describe('attention', () => {
  const shape = (options: Partial<AttentionShape>): AttentionShape => ({
    batch: 2, length: 7, heads: 4, kvHeads: 2, headSize: 6, scale: 0.3, window: null, compute: 'float', ...options,
  }) // biome-ignore format: short

  /** Softmax with the whole matrix of scores. */
  function plainly(q: Floats, k: Floats, v: Floats, s: AttentionShape): Float64Array {
    const out = new Float64Array(q.length)
    for (let b = 0; b < s.batch; b++)
      for (let h = 0; h < s.heads; h++)
        for (let t = 0; t < s.length; t++) {
          const at = ((b * s.length + t) * s.heads + h) * s.headSize
          const scores: number[] = []
          for (let u = 0; u <= t; u++) {
            const from = ((b * s.length + u) * s.kvHeads + Math.floor((h * s.kvHeads) / s.heads)) * s.headSize
            let score = 0
            for (let i = 0; i < s.headSize; i++) score += q[at + i] * k[from + i] * s.scale
            if (s.softcap) score = s.softcap * Math.tanh(score / s.softcap)
            if (s.slopes) score -= s.slopes[h] * (t - u)
            scores.push(s.window !== null && t - u >= s.window ? -Infinity : score)
          }
          const sum = scores.reduce((total, score) => total + Math.exp(score), 0)
          for (let u = 0; u <= t; u++) {
            const from = ((b * s.length + u) * s.kvHeads + Math.floor((h * s.kvHeads) / s.heads)) * s.headSize
            for (let i = 0; i < s.headSize; i++) out[at + i] += (Math.exp(scores[u]) / sum) * v[from + i]
          }
        }
    return out
  }

  const variants: [string, Partial<AttentionShape>][] = [
    ['grouped queries', {}],
    ['one position', { length: 1 }],
    ['window', { window: 3 }],
    ['window of one', { window: 1 }],
    ['slopes', { slopes: Float64Array.of(0.5, 0.25, 0.1, 0) }],
    ['softcap', { softcap: 2, window: 4, slopes: Float64Array.of(0.5, 0.25, 0.1, 0) }],
  ]
  test.each(variants)('%s: forward', (_name, options) => {
    const s = shape(options)
    const [q, k, v] = [0, 1, 2].map(i => numbers(s.batch * s.length * (i ? s.kvHeads : s.heads) * s.headSize, 20 + i))
    const out = kernels.allocate(q.length)
    const logSums = kernels.allocate(s.batch * s.heads * s.length)
    kernels.attention(q, k, v, out, logSums, s)
    expectClose(out, plainly(q, k, v, s), 1e-13)
  })

  test('bf16 computing stays within the rounding of its operands', () => {
    const s = shape({ length: 40 })
    const [q, k, v] = [0, 1, 2].map(i => numbers(s.batch * s.length * (i ? s.kvHeads : s.heads) * s.headSize, 20 + i))
    const run = (compute: Compute) => {
      const out = kernels.allocate(q.length)
      const logSums = kernels.allocate(s.batch * s.heads * s.length)
      const grads = [q, k, v].map(x => kernels.allocate(x.length))
      kernels.attention(q, k, v, out, logSums, { ...s, compute })
      kernels.attentionBackward(q, k, v, out, logSums, q, grads[0], grads[1], grads[2], { ...s, compute })
      return [out, ...grads]
    }
    const exact = run('float')
    run('bf16').forEach((rounded, i) => {
      expectClose(rounded, exact[i], 0.05)
      expect(rounded).not.toEqual(exact[i])
    })
  })
})

describe('activation', () => {
  test('erf', () => {
    const known = [[0, 0], [0.5, 0.5204998778130465], [1, 0.8427007929497149], [2, 0.9953222650189527], [2.999, 0.9999777698314002], [3.5, 0.9999992569016276], [5, 0.9999999999984626], [7, 1]] // biome-ignore format: pairs
    for (const [x, value] of known) {
      expect(erf(x)).toBeCloseTo(value, 14)
      expect(erf(-x)).toBeCloseTo(-value, 14)
    }
    expect(erf(3 - 1e-12)).toBeCloseTo(erf(3), 11)
  })

  test.each(['silu', 'gelu', 'geluTanh', 'relu'] as const)('%s: derivative', kind => {
    const gate = numbers(200, 12)
    const up = numbers(200, 13)
    const h = 1e-6
    const at = (x: Floats, y: Floats | null) => {
      const out = kernels.allocate(x.length)
      activation(x, y, out, kind)
      return out
    }
    const ones = gate.map(() => 1)
    for (const second of [null, up]) {
      const dGate = kernels.allocate(gate.length)
      const dUp = kernels.allocate(gate.length)
      activationBackward(gate, second, ones, dGate, second && dUp, kind)
      const [above, below] = [
        at(
          gate.map(x => x + h),
          second,
        ),
        at(
          gate.map(x => x - h),
          second,
        ),
      ]
      expectClose(
        dGate,
        above.map((a, i) => (a - below[i]) / (2 * h)),
        1e-8,
      )
      if (second !== null) expectClose(dUp, at(gate, null), 1e-15)
    }
  })

  test('large inputs stay finite', () => {
    for (const kind of ['silu', 'gelu', 'geluTanh', 'relu'] as const) {
      const out = kernels.allocate(2)
      activation(Float64Array.of(-1e4, 1e4), null, out, kind)
      expect(Array.from(out, x => x + 0)).toEqual([0, 1e4])
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
