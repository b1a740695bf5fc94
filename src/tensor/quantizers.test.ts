import { expect, test } from 'vitest'
import { codebook, decode, type Encoded, encode, parseFormat, type ScaledFormat } from '../formats/index.ts'
import { openAddon } from './addon.ts'
import { createNativeQuantizers } from './quantizers.ts'

const { addon, reason } = openAddon()
if (!addon) console.log(`skipped: native quantizers are not built: ${reason}`)

/** Every family, width and kind of share and scale; also those that only the definition knows. */
const FORMATS = [
  ...[2, 3, 4, 5, 6, 7, 8].flatMap(k => [`int${k}@64`, `int${k}full@32`, `uint${k}@64`, `nf${k}@64`, `dyn${k}@128`, `quantile${k}@64`, `int${k}@channel`]),
  ...[3, 4, 5, 6, 7, 8].flatMap(k => [`fp${k}e2m${k - 3}@64`, `fp${k}e1m${k - 2}@32`, `fp${k}e2m${k - 3}.bnb@64`]),
  'fp8e4m3@64', 'fp8e5m2@64', 'fp8e5m2@channel', 'fp4e3m0@64', 'ternary@64', 'ternary@channel', 'int8@tensor', 'uint4@channel', 'uint4@tensor', 'nf4@tensor',
  'nf4.bnb_table@64/fp32', 'fp4e2m1.bnb_table@64/fp32', 'dyn8@256/fp32', 'nf4@64/bf16', 'int4@64/exact', 'nf4@64/dyn8x256', 'fp4e2m1@32/e8m0', 'int4@16/e4m3', 'uint4@16/e4m3',
  'bf16', 'fp16', 'fp32', 'mxfp4', 'mxfp6e2m3', 'mxfp6e3m2', 'mxfp8e4m3', 'mxfp8e5m2', 'mxint8', 'nvfp4',
  'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'tq1_0', 'tq2_0',
  'int9@32', 'int12@64', 'int16@64/fp32', 'int12@channel', 'int16@tensor/exact', 'int12@48+clip', 'int12@64+sr',
  'nf4@64/e8m0', 'uint4@32/e8m0', 'int4@channel/e8m0', 'uint4@64/dyn8x256', 'dyn8@48/e4m3', 'int4full@32/fp32', 'uint8@64/exact', 'int4@1024', 'nf4@100', 'uint4@100',
  ...['+clip', '+centered', '+hadamard', '+sr', '+hadamard+clip', '+centered+sr'].flatMap(extra => [`int4@64${extra}`, `nf4@64/fp32${extra}`, `uint4@48${extra}`]),
  ...['int3@32/exact', 'int8@channel', 'int4@tensor/exact', 'ternary@64/bf16', 'int4@64/e8m0', 'int4@64/dyn8x256', 'fp4e2m1@32/e4m3', 'fp8e4m3@64', 'dyn8@64', 'quantile3@64', 'int4full@64/fp32', 'uint2@channel', 'uint8@64', 'nf3@tensor'].flatMap(f => [`${f}+clip`, `${f}+sr`]),
  'int4@64/exact+centered', 'int4@64/bf16+centered', 'int4@64/fp32+centered', 'int4@channel+centered', 'int8@tensor+centered', 'int4@64+proxy3%', 'nf4@64+proxy3%+hadamard',
] // biome-ignore format: a table

/** Rows of 256: random of several spreads, zeros, ties, tiny, huge, a nan, an infinity; bf16 numbers, so that ties are frequent. */
function inputs(): Float32Array {
  const rows = 24
  const x = new Float32Array(rows * 256)
  let state = 12345
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const bits = new Uint32Array(x.buffer)
  for (let i = 0; i < x.length; i++) {
    const row = Math.floor(i / 256)
    x[i] = (random() + random() + random() - 1.5) * 10 ** ((row % 6) - 4)
    if (row % 2) bits[i] &= 0xffff0000
    if (row === 8) x[i] = 0
    if (row === 9) x[i] = (i % 15) - 7
    if (row === 10) x[i] = (i % 29) / 14 - 1
    if (row === 11) x[i] *= 1e-42
    if (row === 12) x[i] *= 1e37
    if (row === 13) x[i] = -Math.abs(x[i])
    if (row === 14) x[i] = i % 2 ? -0 : 0
    if (row === 15) x[i] = Math.abs(x[i])
    if (row === 16) x[i] = (i % 256) / 255 - 0.5
    if (row === 17) x[i] = i % 64 ? 0 : 1e-3
    if (row === 18) x[i] = i % 64 ? x[i] * 1e-7 : -1
    if (row === 19) x[i] = (i % 2 ? 65520 : 65519.996) + (i % 5) * 32
  }
  return x
}

/** What formats/ says of each case, once for all paths. */
const definition = new Map<string, Encoded>()

if (addon)
  for (const isa of addon.paths() as string[]) {
    const native = createNativeQuantizers({ threads: 2, isa })!
    test(`encode and decode on ${isa} equal the definition`, () => {
      const usual = inputs()
      const broken = usual.slice()
      broken[5] = Number.NaN
      broken[700] = Number.POSITIVE_INFINITY
      const short = usual.slice(0, 5 * 96)
      const odd = usual.slice(1000, 1000 + 13 * 7)
      // Long enough for an index of the larger books, with values on, next to, and between their thresholds.
      const long = Float32Array.from({ length: 192 * 256 }, (_, i) => usual[i % usual.length] * (1 + (i >> 13) / 7))
      for (const spelling of ['dyn8@256/fp32', 'nf8@64', 'fp8e4m3@64'])
        codebook((parseFormat(spelling) as ScaledFormat).element).thresholds.forEach((t, i) => {
          long[64 * 3 * i + 5] = t
          long[64 * 3 * i + 6] = t * (1 + 2e-7)
          long[64 * 3 * i + 7] = t * (1 - 2e-7)
          long[64 * 3 * i] = 1
        })
      const problems: string[] = []
      for (const spelling of FORMATS)
        for (const [x, shape] of [
          [usual, [24, 256]],
          [broken, [24, 256]],
          [short, [5, 96]],
          [odd, [13, 7]],
          [odd, [91, 1]],
          [long, [192, 256]],
        ] as const) {
          if (x === long && !/^(dyn|nf|fp|quantile)[5-8]/.test(spelling)) continue
          if (
            /^(i?q|tq)\d/.test(spelling) &&
            shape[1] % (/_\d|nl/.test(spelling) && !spelling.startsWith('t') ? 32 : 256)
          )
            continue
          const format = parseFormat(spelling)
          const options = {
            seed: 3,
            ...(spelling.includes('proxy') && { keep: [0, shape[1] - 1] }),
            ...(x === short && { absmaxRatio: 0.7 }),
          }
          const label = `${spelling} of [${shape}]${x === broken ? ', broken' : ''}`
          const known = definition.get(label) ?? encode(x, shape, format, options)
          definition.set(label, known)
          const found = native.encode(x, shape, format, options)
          const { codes, scales, zeros, bytes, ...rest } = found
          const { codes: wantedCodes, scales: wantedScales, zeros: wantedZeros, bytes: wantedBytes, ...others } = known
          const compare = (part: string, a: ArrayLike<number> | undefined, b: ArrayLike<number> | undefined) => {
            if (a?.length !== b?.length)
              return problems.push(`${part}, ${label}: ${a?.length} not ${b?.length} numbers`)
            for (let i = 0; i < (a?.length ?? 0); i++)
              if (!Object.is(a![i], b![i]))
                return problems.push(`${part}, ${label}: ${a![i]} not ${b![i]} at ${i}, x ${x[i]}`)
          }
          compare('scales', scales, wantedScales)
          compare('zeros', zeros, wantedZeros)
          compare('codes', codes, wantedCodes)
          compare('bytes', bytes, wantedBytes)
          expect(rest, label).toEqual(others)
          expect(codes?.constructor, label).toBe(wantedCodes?.constructor)
          compare('values', native.decode(known), decode(known))
          if (wantedBytes === undefined) continue
          const importance = Float32Array.from({ length: shape[1] }, (_, c) => (c % 7 === 0 ? 0 : 1 + (c % 5)))
          const weighed = encode(x, shape, format, { importance }).bytes
          compare('bytes by importance', native.encode(x, shape, format, { importance }).bytes, weighed)
        }
      expect(problems).toEqual([])
    })
  }

if (addon)
  test('tensors of many tasks are the same on one thread and two', () => {
    const usual = inputs()
    const x = Float32Array.from({ length: 35 * 4096 }, (_, i) => usual[i % 2048] * (1 + (i >> 12)))
    const [one, two] = [1, 2].map(threads => createNativeQuantizers({ threads })!)
    const formats = ['int4@tensor', 'nf4@tensor/fp32', 'fp8e4m3@tensor/exact', 'uint4@tensor', 'int16@tensor/exact', 'int12@tensor', 'int8@tensor+sr', 'uint8@tensor+sr', 'int4@tensor/e4m3', 'nf4@tensor+centered', 'int4@64', 'int4@100/dyn8x256', 'nf4@channel/e8m0', 'int4@64+sr', 'int4@64+centered', 'uint4@48+hadamard', 'fp16', 'bf16', 'fp32', 'mxfp8e4m3', 'mxint8', 'nvfp4', 'q4_1', 'q8_0', 'tq1_0'] // biome-ignore format: a list
    const bytesOf = (part: unknown) =>
      ArrayBuffer.isView(part) ? Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('base64') : part
    const parts = (encoded: Encoded) => Object.entries(encoded).map(([name, part]) => [name, bytesOf(part)])
    const same = (a: Encoded, b: Encoded) =>
      expect(Object.fromEntries(parts(a)), a.format).toEqual(Object.fromEntries(parts(b)))
    for (const format of formats) {
      const wanted = encode(x, [35, 4096], format, { seed: 5 })
      const values = bytesOf(decode(wanted))
      for (const native of [one, two]) {
        const found = native.encode(x, [35, 4096], format, { seed: 5 })
        same(found, wanted)
        expect(bytesOf(native.decode(found)) === values, format).toBe(true)
      }
    }
    for (const format of ['int4@tensor+clip', 'nf4@64+clip', 'uint3@channel+clip', 'q4_k', 'iq4_nl'])
      same(two.encode(x, [35, 4096], format), one.encode(x, [35, 4096], format))
  })
