// Packed layouts against packers written here from the layouts' definitions: a stream of bits as one big number.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { packBits, unpackBits } from './bits.ts'
import { widen } from './numbers.ts'
import { openPacked } from './packed.ts'
import { openSafetensors, type TensorToWrite, writeSafetensors } from './safetensors.ts'

const scratch = mkdtempSync(join(tmpdir(), 'bitlaw-packed-'))
afterAll(() => rmSync(scratch, { recursive: true }))

/** Codes as 32-bit words of a stream of bits, the first lowest. */
function streamWords(codes: readonly number[], bits: number): number[] {
  let stream = 0n
  codes.forEach((code, i) => {
    stream |= BigInt(code) << BigInt(i * bits)
  })
  return Array.from({ length: Math.ceil((codes.length * bits) / 32) }, (_, i) =>
    Number((stream >> BigInt(32 * i)) & 0xffffffffn),
  )
}

/** Codes as 32-bit words of floor(32 / bits) codes each. */
function wordsOf(codes: readonly number[], bits: number): number[] {
  const each = Math.floor(32 / bits)
  return Array.from(
    { length: Math.ceil(codes.length / each) },
    (_, i) => streamWords(codes.slice(i * each, (i + 1) * each), bits)[0],
  )
}

const tensor = (
  name: string,
  dtype: string,
  shape: number[],
  data: Int32Array | Float32Array | Uint8Array,
): TensorToWrite => ({ name, dtype, shape, data: () => data })
const int32 = (words: readonly number[]) => Int32Array.from(words, word => word | 0)

/** The weight `x.weight` of a packed file. */
function readBack(tensors: TensorToWrite[], config: Record<string, unknown>) {
  const path = join(scratch, 'x.safetensors')
  writeSafetensors(path, tensors)
  const file = openPacked(openSafetensors(path), config)
  expect(file.names).toEqual(['x.weight'])
  const { dtype, shape } = file.info('x.weight')
  const values = widen(file.read('x.weight'), dtype, shape)
  file.close()
  return { shape, values: [...values] }
}

const sizes = fc.record({
  bits: fc.constantFrom(2, 3, 4, 8),
  outputs: fc.constantFrom(32, 64),
  groups: fc.integer({ min: 1, max: 3 }),
  seed: fc.nat(1000),
})

test('GPTQ, both versions of zero points, with and without an order of inputs', () => {
  fc.assert(
    fc.property(sizes, fc.boolean(), fc.boolean(), ({ bits, outputs, groups, seed }, second, ordered) => {
      const inputs = 32 * groups
      const code = (i: number) => (i * 7919 + seed * 31) % 2 ** bits
      const codes = Array.from({ length: outputs * inputs }, (_, i) => code(i))
      const zeros = Array.from({ length: groups * outputs }, (_, i) => (code(i + 5) % (2 ** bits - 1)) + 1)
      const scales = Float32Array.from(zeros, (_, i) => 2 ** -(i % 5) * (1 + (i % 3) / 4))
      const order = Int32Array.from({ length: inputs }, (_, i) => (ordered ? (i * 5) % groups : Math.floor(i / 32)))
      const columns = Array.from({ length: outputs }, (_, o) =>
        streamWords(codes.slice(o * inputs, (o + 1) * inputs), bits),
      )
      const words = columns[0].length
      const rows = Array.from({ length: words * outputs }, (_, i) => columns[i % outputs][Math.floor(i / outputs)])
      const zeroWords = Array.from({ length: groups }, (_, g) =>
        streamWords(
          zeros.slice(g * outputs, (g + 1) * outputs).map(zero => zero - (second ? 0 : 1)),
          bits,
        ),
      ).flat()
      const { shape, values } = readBack(
        [
          tensor('x.qweight', 'I32', [words, outputs], int32(rows)),
          tensor('x.qzeros', 'I32', [groups, (outputs * bits) / 32], int32(zeroWords)),
          tensor('x.scales', 'F32', [groups, outputs], scales),
          ...(ordered ? [tensor('x.g_idx', 'I32', [inputs], order)] : []),
        ],
        { quant_method: 'gptq', bits, ...(second && { checkpoint_format: 'gptq_v2' }) },
      )
      expect(shape).toEqual([outputs, inputs])
      expect(values).toEqual(
        codes.map((q, i) => {
          const at = order[i % inputs] * outputs + Math.floor(i / inputs)
          return Math.fround(scales[at] * (q - zeros[at]))
        }),
      )
    }),
    { numRuns: 30 },
  )
})

test('compressed-tensors, packed: symmetric and not', () => {
  fc.assert(
    fc.property(sizes, fc.boolean(), ({ bits, outputs, groups, seed }, symmetric) => {
      const inputs = 8 * groups
      const half = 2 ** (bits - 1)
      const codes = Array.from({ length: outputs * inputs }, (_, i) => ((i * 7919 + seed) % (2 * half)) - half)
      const zeros = Array.from({ length: outputs * groups }, (_, i) =>
        symmetric ? 0 : ((i * 31 + seed) % (2 * half)) - half,
      )
      const scales = Float32Array.from(zeros, (_, i) => 2 ** -(i % 4))
      const rows = Array.from({ length: outputs }, (_, o) =>
        wordsOf(
          codes.slice(o * inputs, (o + 1) * inputs).map(q => q + half),
          bits,
        ),
      )
      const zeroColumns = Array.from({ length: groups }, (_, g) =>
        wordsOf(
          Array.from({ length: outputs }, (_, o) => zeros[o * groups + g] + half),
          bits,
        ),
      )
      const zeroRows = zeroColumns[0].length
      const { shape, values } = readBack(
        [
          tensor('x.weight_packed', 'I32', [outputs, rows[0].length], int32(rows.flat())),
          tensor('x.weight_scale', 'F32', [outputs, groups], scales),
          tensor('x.weight_shape', 'I32', [2], Int32Array.of(outputs, inputs)),
          ...(symmetric
            ? []
            : [
                tensor(
                  'x.weight_zero_point',
                  'I32',
                  [zeroRows, groups],
                  int32(
                    Array.from(
                      { length: zeroRows * groups },
                      (_, i) => zeroColumns[i % groups][Math.floor(i / groups)],
                    ),
                  ),
                ),
              ]),
        ],
        {
          quant_method: 'compressed-tensors',
          config_groups: { group_0: { weights: { num_bits: bits, group_size: 8 } } },
        },
      )
      expect(shape).toEqual([outputs, inputs])
      expect(values).toEqual(
        codes.map((q, i) => {
          const at = Math.floor(i / inputs) * groups + Math.floor((i % inputs) / 8)
          return Math.fround((q - zeros[at]) * scales[at])
        }),
      )
    }),
    { numRuns: 30 },
  )
})

test('compressed-tensors, whole int8 numbers by channel', () => {
  const { values } = readBack(
    [
      tensor('x.weight', 'I8', [2, 2], Uint8Array.of(1, 255, 127, 0)),
      tensor('x.weight_scale', 'F32', [2, 1], Float32Array.of(0.5, 2)),
    ],
    { quant_method: 'compressed-tensors', config_groups: { group_0: { weights: { num_bits: 8 } } } },
  )
  expect(values).toEqual([0.5, -0.5, 254, 0])
})

test('unknown layouts and tensors that do not fit are refused', () => {
  const some = [
    tensor('x.qweight', 'I32', [4, 32], new Int32Array(128)),
    tensor('x.qzeros', 'I32', [2, 4], new Int32Array(8)),
    tensor('x.scales', 'F32', [1, 32], new Float32Array(32)),
  ]
  expect(() => readBack(some, { quant_method: 'gptq', bits: 4 })).toThrow(
    "tensor 'x.qzeros' is I32 [2, 4], expected I32 [1, 4]",
  )
  expect(() => readBack(some, { quant_method: 'gptq', bits: 5 })).toThrow('expected 2, 3, 4 or 8')
  expect(() => readBack(some, { quant_method: 'hqq' })).toThrow("quant_method 'hqq'")
  const active = {
    quant_method: 'compressed-tensors',
    config_groups: { group_0: { weights: { num_bits: 8 }, input_activations: { num_bits: 8 } } },
  }
  expect(() => readBack(some, active)).toThrow('quantizes activations')
})

test('bits come back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), fc.array(fc.nat(65535), { maxLength: 40 }), (bits, numbers) => {
      const codes = numbers.map(n => n % 2 ** bits)
      expect([...unpackBits(packBits(codes, bits), bits, codes.length)]).toEqual(codes)
    }),
  )
})
