// Every native kernel against the reference on each instruction path that this processor has (and the tile products of
// AMX by their emulation), on odd shapes, empty and one-row inputs; any number of threads must give the same bits.
import { describe, expect, test } from 'vitest'
import { parseFormat } from '../formats/index.ts'
import { missingReason, PATHS, pathsHere } from './addon.ts'
import type { AttentionShape, Compute, Floats, Kernels, Rounding } from './kernels.ts'
import { createNative } from './native.ts'
import { createReference } from './reference.ts'

const here = pathsHere()
if (here.length === 0) console.log(`skipped: native kernels are not built: ${missingReason()}`)
for (const path of PATHS)
  if (here.length > 0 && !here.includes(path)) console.log(`skipped: this processor has no ${path}`)
const paths = here.includes('avx512bf16') ? [...here, 'amx-emulated'] : here

const reference = createReference({ float: 'float32' })

/** Repeatable numbers between about -3 and 3. */
function numbers(length: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32 - 0.5
  }
  return Float32Array.from({ length }, () => 2 * (next() + next() + next()))
}

/** Largest difference over the largest magnitude expected (or `least`); NaN where one is not a number. */
function distance(actual: Floats, expected: Floats, least: number): number {
  let most = 0
  let size = least
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i] - expected[i])
    if (!(d <= most)) most = d
    size = Math.max(size, Math.abs(expected[i]))
  }
  return most / size
}

/** The same calls on both; each array that comes back is compared. */
function compare(native: Kernels, tolerance: number, calls: (kernels: Kernels) => Floats[], least = 1e-12): void {
  const expected = calls(reference)
  const actual = calls(native)
  for (const [i, values] of expected.entries())
    expect(distance(actual[i], values, least), `array ${i}`).toBeLessThan(tolerance)
}

function rounding(
  options: { w?: string; a?: string; g?: string; compute?: Compute; clipped?: boolean; ratio?: number } = {},
): Rounding {
  const { w, a, g, compute = 'bf16', clipped = false, ratio = clipped ? 0.6 : 1 } = options
  return {
    weights: w === undefined ? null : parseFormat(w),
    activations: a === undefined ? null : parseFormat(a),
    gradients: g === undefined ? null : parseFormat(g),
    straightThrough: clipped ? 'clipped' : 'full',
    absmaxRatio: { weights: ratio, activations: ratio === 1 ? 1 : ratio - 0.1 },
    compute,
  }
}

function linearCalls(rows: number, inputs: number, outputs: readonly [number, number], r: Rounding) {
  return (kernels: Kernels): Floats[] => {
    const x = numbers(rows * inputs, 1)
    const [w1, w2] = outputs.map((o, i) => numbers(o * inputs, 2 + i))
    const [dy1, dy2] = outputs.map((o, i) => numbers(rows * o, 5 + i))
    const [y1, y2] = outputs.map(o => new Float32Array(rows * o))
    const residual = numbers(rows * outputs[1], 8)
    const forward = [
      { weight: w1, outputs: outputs[0], bias: numbers(outputs[0], 9), y: y1, seed: 4_000_000_000 },
      { weight: w2, outputs: outputs[1], residual, y: y2, seed: 17 },
    ]
    kernels.linear(x, rows, inputs, forward, r)
    const dx = numbers(rows * inputs, 10)
    const [dw1, dw2] = outputs.map((o, i) => numbers(o * inputs, 11 + i))
    const dBias = numbers(outputs[0], 13)
    const backward = [
      { weight: w1, outputs: outputs[0], dy: dy1, dWeight: dw1, dBias, seed: 4_000_000_000 },
      { weight: w2, outputs: outputs[1], dy: dy2, dWeight: dw2, seed: 17 },
    ]
    kernels.linearBackward(x, rows, inputs, backward, dx, true, r)
    const alone = new Float32Array(rows * inputs)
    kernels.linearBackward(x, rows, inputs, [{ weight: w1, outputs: outputs[0], dy: dy1 }], alone, false, r)
    return [y1, y2, dx, dw1, dw2, dBias, alone]
  }
}

const SHAPES: [number, number, [number, number]][] = [
  [0, 5, [3, 2]],
  [1, 1, [1, 1]],
  [3, 150, [70, 33]],
  [5, 7, [3, 9]],
  [40, 130, [70, 33]],
  [200, 96, [128, 64]],
  [1300, 32, [40, 72]],
]

const ROUNDINGS = {
  'not quantized, bf16': rounding(),
  'not quantized, float': rounding({ compute: 'float' }),
  'w4a8': rounding({ w: 'int4@channel/exact', a: 'int8@tensor/exact' }),
  'w3a4 by token': rounding({ w: 'int3@channel/exact', a: 'int4@token/exact' }),
  'w8a8, scales in fp16': rounding({ w: 'int8@channel', a: 'int8@tensor' }),
  'weights by tensor': rounding({ w: 'int4@tensor/exact' }),
  'ternary weights, scales in e8m0': rounding({ w: 'ternary@channel/e8m0', a: 'int8@token/bf16' }),
  'codes of 12 and 16 bits': rounding({ w: 'int12@channel/exact', a: 'int16@tensor/exact' }),
  'w4a8 in float': rounding({ w: 'int4@channel/exact', a: 'int8@tensor/exact', compute: 'float' }),
  'gradients by tensor': rounding({ g: 'int8@tensor/exact' }),
  'gradients by token': rounding({ g: 'int8@token/exact' }),
  'gradients with w4a8': rounding({ w: 'int4@channel/exact', a: 'int8@tensor/exact', g: 'int8@tensor/exact' }),
  'gradients in bf16': rounding({ w: 'int4@channel/exact', g: 'bf16' }),
  'clipped w4a8': rounding({ w: 'int4@channel/exact', a: 'int8@tensor/exact', clipped: true }),
  'code books and fp8': rounding({ w: 'nf4@tensor', a: 'fp8e4m3@tensor/exact', g: 'fp8e5m2@token/exact' }),
  'blocks': rounding({ w: 'int4@16', a: 'fp4e2m1@16/exact', g: 'bf16' }),
  'clipped code book': rounding({ w: 'nf4@channel', clipped: true }),
  'by chance': rounding({ w: 'int4@channel/exact+sr', a: 'int8@tensor+sr', g: 'int8@token/bf16+sr' }),
  'by chance, a book and wide codes': rounding({ w: 'nf4@16+sr', a: 'int12@tensor/exact+sr', compute: 'float' }),
  'by chance, clipped': rounding({ w: 'int4@channel+sr', a: 'int8@token+sr', clipped: true }),
  'searched scales': rounding({ w: 'int4@channel/exact+clip', a: 'int8@token+clip', g: 'int8@tensor+clip' }),
  'searched scales clip': rounding({ w: 'int4@channel/exact+clip', a: 'int4@token+clip', clipped: true, ratio: 1 }),
  'searched scales of a book clip': rounding({ w: 'nf4@channel+clip', a: 'fp4e2m1@16+clip', clipped: true, ratio: 1 }),
} // biome-ignore format: a table

const ATTENTION: Record<string, Omit<AttentionShape, 'compute' | 'scale'>> = {
  'one position': { batch: 1, length: 1, heads: 1, kvHeads: 1, headSize: 8, window: null },
  'grouped queries': { batch: 2, length: 17, heads: 4, kvHeads: 2, headSize: 8, window: null },
  'several blocks of keys': { batch: 1, length: 300, heads: 2, kvHeads: 1, headSize: 32, window: null },
  'several stretches of queries': { batch: 1, length: 530, heads: 1, kvHeads: 1, headSize: 12, window: null },
  'a window': { batch: 1, length: 560, heads: 1, kvHeads: 1, headSize: 16, window: 100 },
  'a short window, wide heads': { batch: 1, length: 90, heads: 2, kvHeads: 1, headSize: 80, window: 7 },
  'slopes and a cap': { batch: 2, length: 70, heads: 4, kvHeads: 4, headSize: 24, window: null, softcap: 5, slopes: Float64Array.of(0.5, 0.25, 0.125, 0.0625) },
  'nothing': { batch: 0, length: 4, heads: 1, kvHeads: 1, headSize: 8, window: null },
} // biome-ignore format: a table

function attentionCalls(shape: AttentionShape) {
  const { batch, length, heads, kvHeads, headSize } = shape
  const rows = batch * length
  return (kernels: Kernels): Floats[] => {
    const [q, dOut] = [1, 4].map(seed => numbers(rows * heads * headSize, seed))
    const [k, v] = [2, 3].map(seed => numbers(rows * kvHeads * headSize, seed))
    const out = new Float32Array(q.length)
    const logSums = new Float32Array(rows * heads)
    const [dq, dk, dv] = [q, k, v].map(({ length }) => numbers(length, 7))
    kernels.attention(q, k, v, out, logSums, shape)
    kernels.attentionBackward(q, k, v, out, logSums, dOut, dq, dk, dv, shape)
    return [out, logSums, dq, dk, dv]
  }
}

function headCalls(rows: number, width: number, vocab: number, compute: Compute, softcap?: number) {
  return (kernels: Kernels): Floats[] => {
    const x = numbers(rows * width, 1)
    const weight = numbers(vocab * width, 2)
    const bias = numbers(vocab, 3)
    const targets = Int32Array.from({ length: rows }, (_, i) => (i % 7 === 3 ? -1 : (i * 37) % vocab))
    const shape = {
      rows,
      width,
      vocab,
      compute,
      scale: 1 / Math.max(rows, 1),
      ...(softcap !== undefined && { softcap }),
    }
    const [plain, losses] = [0, 1].map(() => new Float32Array(rows))
    const dx = numbers(rows * width, 4)
    const dWeight = numbers(vocab * width, 5).map(value => value / 100)
    const dBias = new Float32Array(vocab)
    kernels.crossEntropy(x, weight, bias, targets, plain, shape)
    kernels.crossEntropyBackward(x, weight, bias, targets, losses, dx, dWeight, dBias, shape)
    return [plain, losses, dx, dWeight, dBias]
  }
}

function normCalls(kind: 'rms' | 'layer', rows: number, width: number) {
  return (kernels: Kernels): Floats[] => {
    const shape = { kind, rows, width, eps: 1e-5 }
    const [x, dy] = [1, 2].map(seed => numbers(rows * width, seed))
    const [gain, bias] = [3, 4].map(seed => numbers(width, seed))
    const out = new Float32Array(x.length)
    const saved = new Float32Array(2 * rows)
    const dx = numbers(x.length, 5)
    const [dGain, dBias] = [6, 7].map(seed => numbers(width, seed))
    kernels.norm(x, gain, bias, out, saved, shape)
    kernels.normBackward(x, gain, saved, dy, dx, true, dGain, dBias, shape)
    const plain = new Float32Array(x.length)
    kernels.norm(x, null, null, plain, saved, shape)
    return [out, plain, saved.subarray(0, kind === 'layer' ? 2 * rows : rows), dx, dGain, dBias]
  }
}

describe.each(paths)('%s', isa => {
  const native = createNative({ threads: 2, isa })!

  test('names its path', () => {
    expect(native.isa).toBe(isa)
    expect(native.name).toBe('native')
    expect(native.build.length).toBeGreaterThan(0)
  })

  test.each(Object.entries(ROUNDINGS))('linear layers: %s', (_, r) => {
    for (const [rows, inputs, outputs] of SHAPES) compare(native, 2e-6, linearCalls(rows, inputs, outputs, r))
  })

  test('bf16 weights are read as they are', () => {
    for (const compute of ['bf16', 'float'] as const)
      compare(native, 2e-6, kernels => {
        const [rows, inputs, outputs] = [21, 50, 35]
        const weight = Uint16Array.from(
          numbers(outputs * inputs, 1),
          value => new Uint32Array(Float32Array.of(value).buffer)[0] >>> 16,
        )
        const y = new Float32Array(rows * outputs)
        const rounded = new Float32Array(rows * outputs)
        const x = numbers(rows * inputs, 2)
        kernels.linear(x, rows, inputs, [{ weight, outputs, y }], rounding({ compute }))
        kernels.linear(x, rows, inputs, [{ weight, outputs, y: rounded }], rounding({ w: 'int4@channel', compute }))
        const losses = new Float32Array(rows)
        kernels.crossEntropy(x, weight, null, new Int32Array(rows), losses, {
          rows,
          width: inputs,
          vocab: outputs,
          compute,
        })
        return [y, rounded, losses]
      })
  })

  test('an int4 x int8 product is the integer product exactly', () => {
    const [rows, inputs, outputs] = [19, 4096, 37]
    const x = Float32Array.from({ length: rows * inputs }, (_, i) => ((i * 7919) % 255) - 127)
    const weight = Float32Array.from({ length: outputs * inputs }, (_, i) => ((i * 104729) % 15) - 7)
    for (let r = 0; r < rows; r++) x[r * inputs] = 127
    for (let o = 0; o < outputs; o++) weight[o * inputs] = 7
    const y = new Float32Array(rows * outputs)
    native.linear(
      x,
      rows,
      inputs,
      [{ weight, outputs, y }],
      rounding({ w: 'int4@channel/exact', a: 'int8@tensor/exact' }),
    )
    const exact = y.map((_, at) => {
      const [r, o] = [Math.floor(at / outputs), at % outputs]
      let sum = 0
      for (let i = 0; i < inputs; i++) sum += x[r * inputs + i] * weight[o * inputs + i]
      return sum
    })
    expect(y).toEqual(exact)
  })

  test.each(Object.entries(ATTENTION))('attention: %s', (_, shape) => {
    const scale = 1 / Math.sqrt(shape.headSize)
    compare(native, 3e-6, attentionCalls({ ...shape, scale, compute: 'float' }), 1)
    // A weight that lies next to a tie between two bf16 numbers may be rounded the other way.
    compare(native, 2e-3, attentionCalls({ ...shape, scale, compute: 'bf16' }), 1)
  })

  test.each([
    [0, 3, 5],
    [1, 3, 5],
    [50, 40, 100],
    [130, 64, 1000],
    [30, 33, 77],
  ])('cross-entropy of %d rows, width %d, vocabulary %d', (rows, width, vocab) => {
    for (const compute of ['bf16', 'float'] as const) {
      compare(native, compute === 'bf16' ? 2e-5 : 4e-6, headCalls(rows, width, vocab, compute))
      compare(native, compute === 'bf16' ? 2e-5 : 4e-6, headCalls(rows, width, vocab, compute, 3))
    }
  })

  test.each([
    [0, 4],
    [1, 1],
    [3, 7],
    [70, 128],
    [33, 300],
  ])('norms of %d rows of %d', (rows, width) => {
    for (const kind of ['rms', 'layer'] as const) compare(native, 1e-6, normCalls(kind, rows, width))
  })

  test.each(['silu', 'gelu', 'geluTanh', 'relu'] as const)('activation %s', kind => {
    for (const length of [0, 1, 1003])
      compare(native, 1e-6, kernels => {
        const gate = numbers(length, 1).map((value, i) => (i % 50 === 0 ? value * 30 : value * 3))
        const [up, dOut] = [2, 3].map(seed => numbers(length, seed))
        const [out, plain, dGate, dUp, dPlain] = [0, 1, 2, 3, 4].map(() => new Float32Array(length))
        kernels.activation(gate, up, out, kind)
        kernels.activation(gate, null, plain, kind)
        kernels.activationBackward(gate, up, dOut, dGate, dUp, kind)
        kernels.activationBackward(gate, null, dOut, dPlain, null, kind)
        return [out, plain, dGate, dUp, dPlain]
      })
  })

  test('rotation and its inverse', () => {
    compare(native, 1e-6, kernels => {
      const [x, back] = [0, 1].map(() => numbers(5 * 3 * 20, 1))
      const [cos, sin] = [2, 3].map(seed => numbers(4 * 7, seed))
      kernels.rotary(x, 5, 3, 20, cos, sin, 7, 4, false)
      kernels.rotary(back, 5, 3, 20, cos, sin, 7, 4, true)
      return [x, back]
    })
  })

  test('embedding, log-softmax, sums and the optimizer', () => {
    compare(native, 1e-6, kernels => {
      const ids = Int32Array.from({ length: 50 }, (_, i) => (i * 13) % 30)
      const out = new Float32Array(50 * 24)
      const dTable = numbers(30 * 24, 1)
      const dPositions = numbers(20 * 24, 2)
      kernels.embed(numbers(30 * 24, 3), ids, 24, out, 3, { table: numbers(20 * 24, 4), length: 17, offset: 2 })
      kernels.embedBackward(numbers(50 * 24, 5), ids, 24, dTable, 3, { dTable: dPositions, length: 17, offset: 2 })
      const logits = numbers(50 * 41, 6)
      kernels.logSoftmax(logits, 50, 41)
      const [w, m, g] = [7, 8, 9].map(seed => numbers(40003, seed))
      const v = numbers(40003, 10).map(Math.abs)
      kernels.adamw(w, g, m, v, {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weightDecay: 0.1,
        step: 3,
        gradientScale: 0.7,
      })
      kernels.add(g, m)
      return [out, dTable, dPositions, logits, w, m, v, g, Float32Array.of(kernels.sumSquares(w))]
    })
  })

  test('fake quantization equals the reference, bit for bit', () => {
    const formats = ['int4@channel/exact', 'int6@tensor/exact', 'int8@token', 'int3@channel/bf16', 'int4@channel/e8m0', 'ternary@channel', 'bf16', 'fp16', 'nf4@64', 'fp8e4m3@tensor/exact', 'mxfp4', 'nvfp4', 'uint4@32', 'int4@32+clip', 'int4@channel/exact+clip', 'int8@tensor/exact+hadamard', 'int4@token+sr', 'fp32', 'int12@32', 'mxfp8e4m3', 'q4_0'] // biome-ignore format: a list
    for (const spelling of formats)
      for (const rows of [0, 1, 10]) {
        const x = numbers(rows * 96, 3)
        if (rows > 1) x.fill(0, 96, 192)
        const [actual, expected] = [native, reference].map(kernels => {
          const out = new Float32Array(x.length)
          kernels.fakeQuantize(x, rows, 96, parseFormat(spelling), out)
          return out
        })
        expect(
          actual.map(value => value + 0),
          `${spelling}, ${rows} rows`,
        ).toEqual(expected.map(value => value + 0))
      }
  })

  test('ties are rounded to even codes', () => {
    const x = Float32Array.from({ length: 127 * 4 }, (_, i) => (i === 0 ? 127 : Math.floor(i / 4) + 0.5))
    const [actual, expected] = [native, reference].map(kernels => {
      const out = new Float32Array(x.length)
      kernels.fakeQuantize(x, 1, x.length, parseFormat('int8@tensor/exact'), out)
      return out
    })
    expect(actual).toEqual(expected)
  })

  test.skipIf(isa === 'amx-emulated')('kept weights give the same bits', () => {
    const [rows, inputs, outputs] = [37, 80, 130]
    const [x, weight, residual] = [numbers(rows * inputs, 1), numbers(outputs * inputs, 2), numbers(rows * outputs, 3)]
    for (const [name, r] of Object.entries(ROUNDINGS)) {
      const [fresh, again] = [0, 1].map(() => new Float32Array(rows * outputs))
      native.linear(x, rows, inputs, [{ weight, outputs, y: fresh, residual }], r)
      const kept = native.keep!(weight, outputs, inputs, r)
      native.linear(x, rows, inputs, [{ weight, kept, outputs, y: again, residual }], r)
      expect(again, name).toEqual(fresh)
    }
    const compute = 'bf16'
    const shape = { rows, width: inputs, vocab: outputs, compute } as const
    const targets = new Int32Array(rows).fill(7)
    const kept = native.keep!(weight, outputs, inputs, rounding({ compute }))
    const [fresh, again] = [{}, { kept }].map(more => {
      const losses = new Float32Array(rows)
      native.crossEntropy(x, weight, null, targets, losses, { ...shape, ...more })
      return losses
    })
    expect(again).toEqual(fresh)
    expect(() => native.linear(x, rows, inputs, [{ weight, kept, outputs, y: residual }], ROUNDINGS['w4a8'])).toThrow(
      /kept must be packed from this weight/,
    )
  })

  // The emulation is slow, and splits its work as the AVX-512 path does.
  test.skipIf(isa === 'amx-emulated')('one, two and five threads give the same bits', () => {
    const [one, five] = [1, 5].map(threads => createNative({ threads, isa })!)
    const shape = { ...ATTENTION['several stretches of queries'], scale: 0.3, compute: 'bf16' as const }
    const all = (kernels: Kernels) => [
      ...linearCalls(2100, 96, [130, 64], ROUNDINGS['w4a8'])(kernels),
      ...linearCalls(1300, 40, [70, 33], ROUNDINGS['not quantized, float'])(kernels),
      ...linearCalls(200, 96, [130, 64], ROUNDINGS['not quantized, bf16'])(kernels),
      ...attentionCalls(shape)(kernels),
      ...headCalls(1100, 40, 300, 'bf16')(kernels),
      ...normCalls('rms', 700, 64)(kernels),
      Float32Array.of(kernels.sumSquares(numbers(100_003, 1))),
    ]
    const expected = all(one)
    expect(all(native)).toEqual(expected)
    expect(all(five)).toEqual(expected)
  })

  test('rounding by chance draws anew from another seed', () => {
    const [x, weight] = [numbers(9 * 40, 1), numbers(6 * 40, 2)]
    const product = (r: Rounding, seed: number) => {
      const y = new Float32Array(9 * 6)
      native.linear(x, 9, 40, [{ weight, outputs: 6, y, seed }], r)
      return y
    }
    for (const options of [{ w: 'int4@channel/exact+sr' }, { a: 'int4@tensor/exact+sr' }, { w: 'nf4@16+sr' }]) {
      const r = rounding(options)
      expect(product(r, 1)).toEqual(product(r, 1))
      expect(product(r, 1)).not.toEqual(product(r, 4))
    }
    for (const kernels of [native, reference]) {
      const [a, b, c] = [3, 3, 5].map(seed => {
        const out = new Float32Array(x.length)
        kernels.fakeQuantize(x, 9, 40, parseFormat('int4@tensor/exact+sr'), out, seed)
        return out
      })
      expect(a).toEqual(b)
      expect(a).not.toEqual(c)
    }
  })

  test('numbers that are not finite are not hidden by quantization', () => {
    const x = numbers(64, 1)
    x[5] = Number.NaN
    const y = new Float32Array(8)
    native.linear(x, 2, 32, [{ weight: numbers(4 * 32, 2), outputs: 4, y }], ROUNDINGS['w4a8'])
    expect(y.slice(0, 4).every(Number.isNaN)).toBe(true)
  })
})

test.skipIf(here.length === 0)('wrong lengths and ids are refused', () => {
  const native = createNative({ threads: 1 })!
  const x = new Float32Array(8)
  const part = { weight: new Float32Array(8), outputs: 2, y: new Float32Array(4) }
  expect(() => native.linear(new Float32Array(7), 2, 4, [part], rounding())).toThrow(
    /x must be of length 8 or more, but has 7/,
  )
  expect(() => native.linear(x, 2, 4, [{ ...part, y: new Float32Array(3) }], rounding())).toThrow(
    /y must be of length 4/,
  )
  expect(() => native.linear(new Float64Array(8), 2, 4, [part], rounding())).toThrow(/x must be a Float32Array/)
  expect(() => native.embed(x, Int32Array.of(2), 4, new Float32Array(4), 1)).toThrow(
    /ids must be between 0 and 1, but holds 2/,
  )
  const shape = { rows: 1, width: 4, vocab: 2, compute: 'bf16' as const }
  expect(() => native.crossEntropy(x, x, null, Int32Array.of(2), new Float32Array(1), shape)).toThrow(
    /targets must be between -1 and 1/,
  )
  expect(() => createNative({ threads: 1, isa: 'neon' })).toThrow(/unknown instruction path 'neon'/)
})
