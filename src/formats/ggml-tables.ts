// ggml's 4-bit types on a fixed table of levels (iq4_nl, iq4_xs) and its ternary types (tq1_0, tq2_0).
// A block with a nan or an infinity has a nan for d.
import type { Floats } from './format.ts'
import type { GgmlType } from './ggml.ts'
import { nearestHalf, readHalf, writeHalf } from './ggml-bytes.ts'
import { finiteBlock } from './ggml-k.ts'
import { fitScales, ladder } from './ggml-scales.ts'

/** The levels of iq4_nl and iq4_xs. */
export const IQ4_LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const

const LADDER = ladder(IQ4_LEVELS)

/** 4 bits in blocks of 32: value = d * level. Bytes: d, codes (value i and i + 16 in one byte). */
export const IQ4_NL: GgmlType = {
  name: 'iq4_nl',
  block: 32,
  bytes: 18,
  importance: { share: 2, over: 32 },
  encode(x, at, bytes, offset, weights) {
    const v = Float64Array.from(x.subarray(at, at + 32))
    if (!v.every(Number.isFinite)) return writeHalf(bytes, offset, Number.NaN)
    // One sub-block whose integer scale is 1: only d is stored.
    const { d, scales, codes } = fitScales(v, 32, LADDER, 1, 1, weights)
    writeHalf(bytes, offset, nearestHalf(d * scales[0]))
    for (let i = 0; i < 16; i++) bytes[offset + 2 + i] = codes[i] | (codes[i + 16] << 4)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset)
    for (let i = 0; i < 16; i++) {
      out[at + i] = d * IQ4_LEVELS[bytes[offset + 2 + i] & 15]
      out[at + i + 16] = d * IQ4_LEVELS[bytes[offset + 2 + i] >> 4]
    }
  },
}

/** 4 bits in 8 sub-blocks of 32: value = d * (scale - 32) * level, 6-bit scales. Bytes: d, high bits, low bits of scales, codes. */
export const IQ4_XS: GgmlType = {
  name: 'iq4_xs',
  block: 256,
  bytes: 136,
  importance: { share: 2, over: 256 },
  encode(x, at, bytes, offset, weights) {
    const v = finiteBlock(x, at)
    if (!v) return writeHalf(bytes, offset, Number.NaN)
    const { d, scales, codes } = fitScales(v, 32, LADDER, -32, 31, weights)
    bytes.fill(0, offset, offset + 8)
    writeHalf(bytes, offset, d)
    for (let j = 0; j < 8; j++) {
      const scale = scales[j] + 32
      bytes[offset + 2 + (j >> 2)] |= (scale >> 4) << (2 * (j & 3))
      bytes[offset + 4 + (j >> 1)] |= (scale & 15) << (4 * (j & 1))
      for (let i = 0; i < 16; i++) bytes[offset + 8 + 16 * j + i] = codes[32 * j + i] | (codes[32 * j + i + 16] << 4)
    }
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset)
    for (let j = 0; j < 8; j++) {
      const low = (bytes[offset + 4 + (j >> 1)] >> (4 * (j & 1))) & 15
      const high = (bytes[offset + 2 + (j >> 2)] >> (2 * (j & 3))) & 3
      const scale = d * ((low | (high << 4)) - 32)
      for (let i = 0; i < 16; i++) {
        const byte = bytes[offset + 8 + 16 * j + i]
        out[at + 32 * j + i] = scale * IQ4_LEVELS[byte & 15]
        out[at + 32 * j + i + 16] = scale * IQ4_LEVELS[byte >> 4]
      }
    }
  },
}

const trits = new Uint8Array(256)

/** Ternary codes 0, 1, 2 of a block by its absmax, ties away from zero; returns d. */
function encodeTrits(x: Floats, at: number): number {
  const v = finiteBlock(x, at)
  if (!v) return Number.NaN
  let absmax = 0
  for (let i = 0; i < 256; i++) absmax = Math.max(absmax, Math.abs(v[i]))
  const d = Math.fround(absmax)
  const inverse = d > 0 ? Math.fround(1 / d) : 0
  for (let i = 0; i < 256; i++) {
    const step = Math.fround(Math.fround(v[i]) * inverse)
    trits[i] = Math.trunc(step + (step < 0 ? -0.5 : 0.5)) + 1
  }
  return d
}

/** 5 trits a byte, as a fraction of 243 scaled to 256. */
function packTrits(first: number, stride: number, count: number): number {
  let value = 0
  for (let n = 0; n < count; n++) value = 3 * value + trits[first + n * stride]
  for (let n = count; n < 5; n++) value *= 3
  return Math.floor((value * 256 + 242) / 243)
}

/** Trit n of a packed byte. */
function tritAt(byte: number, n: number): number {
  return (((byte * 3 ** n) & 255) * 3) >> 8
}

/** Runs of tq1_0's packed bytes: first byte, first value, bytes, trits a byte. */
const RUNS = [
  [0, 0, 32, 5],
  [32, 160, 16, 5],
  [48, 240, 4, 4],
] as const

/** Ternary, 5 trits a byte: value = d * (trit - 1). Bytes: 48 of five trits, 4 of four, d. */
export const TQ1_0: GgmlType = {
  name: 'tq1_0',
  block: 256,
  bytes: 54,
  importance: null,
  encode(x, at, bytes, offset) {
    const d = encodeTrits(x, at)
    writeHalf(bytes, offset + 52, d)
    if (Number.isNaN(d)) return
    for (const [byte, value, count, each] of RUNS)
      for (let j = 0; j < count; j++) bytes[offset + byte + j] = packTrits(value + j, count, each)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset + 52)
    for (const [byte, value, count, each] of RUNS)
      for (let n = 0; n < each; n++)
        for (let j = 0; j < count; j++) out[at + value + n * count + j] = (tritAt(bytes[offset + byte + j], n) - 1) * d
  },
}

/** Ternary, 2 bits each: value = d * (code - 1). Bytes: codes, d. */
export const TQ2_0: GgmlType = {
  name: 'tq2_0',
  block: 256,
  bytes: 66,
  importance: null,
  encode(x, at, bytes, offset) {
    const d = encodeTrits(x, at)
    writeHalf(bytes, offset + 64, d)
    if (Number.isNaN(d)) return
    bytes.fill(0, offset, offset + 64)
    for (let i = 0; i < 256; i++) bytes[offset + (i >> 7) * 32 + (i & 31)] |= trits[i] << (2 * ((i >> 5) & 3))
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset + 64)
    for (let i = 0; i < 256; i++)
      out[at + i] = (((bytes[offset + (i >> 7) * 32 + (i & 31)] >> (2 * ((i >> 5) & 3))) & 3) - 1) * d
  },
}
