import { expect, test } from 'vitest'
import { codebook, decode, encode, parseFormat, type ScaledFormat } from '../formats/index.ts'
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
  'mxfp4', 'q8_0', 'int12@64', 'int4@64+clip', 'int4@64+centered', 'nf4@64+hadamard', 'int4@64+sr', 'bf16', 'q4_0', 'nvfp4',
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
  }
  return x
}

if (addon)
  for (const isa of addon.paths() as string[]) {
    const native = createNativeQuantizers({ threads: 2, isa })!
    test(`encode and decode on ${isa} equal the definition`, () => {
      const usual = inputs()
      const broken = usual.slice()
      broken[5] = Number.NaN
      broken[700] = Number.POSITIVE_INFINITY
      const short = usual.slice(0, 5 * 96)
      // Long enough for an index of the larger books, with values on, next to, and between their thresholds.
      const long = Float32Array.from({ length: 192 * 256 }, (_, i) => usual[i % usual.length] * (1 + (i >> 13) / 7))
      for (const spelling of ['dyn8@256/fp32', 'nf8@64', 'fp8e4m3@64'])
        codebook((parseFormat(spelling) as ScaledFormat).element).thresholds.forEach((t, i) => {
          long[64 * 3 * i + 5] = t
          long[64 * 3 * i + 6] = t * (1 + 2e-7)
          long[64 * 3 * i + 7] = t * (1 - 2e-7)
          long[64 * 3 * i] = 1
        })
      for (const spelling of FORMATS)
        for (const [x, shape] of [
          [usual, [24, 256]],
          [broken, [24, 256]],
          [short, [5, 96]],
          [long, [192, 256]],
        ] as const) {
          if (x === long && !/^(dyn|nf|fp|quantile)[5-8]/.test(spelling)) continue
          const format = parseFormat(spelling)
          const wanted = encode(x, shape, format, { seed: 3 })
          const found = native.encode(x, shape, format, { seed: 3 })
          const { codes, scales, zeros, bytes, ...rest } = found
          const {
            codes: wantedCodes,
            scales: wantedScales,
            zeros: wantedZeros,
            bytes: wantedBytes,
            ...wantedRest
          } = wanted
          const differs = (a: ArrayLike<number> | undefined, b: ArrayLike<number> | undefined) => {
            if (a?.length !== b?.length) return `${a?.length} and ${b?.length} numbers`
            for (let i = 0; i < (a?.length ?? 0); i++)
              if (!Object.is(a![i], b![i])) return `${a![i]} not ${b![i]} at ${i}, x ${x[i]}`
            return null
          }
          const label = `${spelling} of [${shape}]`
          expect(differs(scales, wantedScales), `scales, ${label}`).toBe(null)
          expect(differs(zeros, wantedZeros), `zeros, ${label}`).toBe(null)
          expect(differs(codes, wantedCodes), `codes, ${label}`).toBe(null)
          expect(differs(bytes, wantedBytes), `bytes, ${label}`).toBe(null)
          expect(rest, label).toEqual(wantedRest)
          expect(differs(native.decode(wanted), decode(wanted)), `values, ${label}`).toBe(null)
        }
    })
  }
