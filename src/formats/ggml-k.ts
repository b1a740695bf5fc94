// ggml's K types: super-blocks of 256 values in sub-blocks of 16 or 32, whose scales (and minima) are small integers times
// fp16 numbers. Layouts are ggml's bit for bit; the encoders search for scales of their own (least squared error).
// A super-block with a nan or an infinity has a nan for d.
import type { Floats } from './format.ts'
import type { GgmlType } from './ggml.ts'
import { readHalf, writeHalf } from './ggml-bytes.ts'
import { fitMinima, type MinimaBlock } from './ggml-minima.ts'
import { fitScales, ladder } from './ggml-scales.ts'

const SIZE = 256
const values = new Float64Array(SIZE)

/** The super-block's values as doubles, or undefined where one is not finite. */
export function finiteBlock(x: Floats, at: number): Float64Array | undefined {
  for (let i = 0; i < SIZE; i++) {
    values[i] = x[at + i]
    if (!Number.isFinite(values[i])) return undefined
  }
  return values
}

/** Writes value i's code into `bits` bits at place i of byte rows of 32: the order of q2_k, q3_k, q4_k, q5_k (per 128 or 64 values). */
function packRows(codes: Uint8Array, bits: number, bytes: Uint8Array, offset: number): void {
  const perByte = 8 / bits
  const group = 32 * perByte
  bytes.fill(0, offset, offset + SIZE / perByte)
  for (let i = 0; i < SIZE; i++) {
    const row = Math.floor((i % group) / 32)
    bytes[offset + Math.floor(i / group) * 32 + (i % 32)] |= (codes[i] & (2 ** bits - 1)) << (row * bits)
  }
}

function unpackRows(bytes: Uint8Array, offset: number, bits: number, i: number): number {
  const group = (32 * 8) / bits
  const row = Math.floor((i % group) / 32)
  return (bytes[offset + Math.floor(i / group) * 32 + (i % 32)] >> (row * bits)) & (2 ** bits - 1)
}

/** Eight 6-bit scales and eight 6-bit minima in 12 bytes (q4_k, q5_k). */
function packSixes({ scales, mins }: MinimaBlock, bytes: Uint8Array, offset: number): void {
  for (let j = 0; j < 4; j++) {
    bytes[offset + j] = scales[j] | ((scales[j + 4] >> 4) << 6)
    bytes[offset + j + 4] = mins[j] | ((mins[j + 4] >> 4) << 6)
    bytes[offset + j + 8] = (scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4)
  }
}

function sixScale(bytes: Uint8Array, offset: number, j: number): number {
  return j < 4 ? bytes[offset + j] & 63 : (bytes[offset + j + 4] & 15) | ((bytes[offset + j - 4] >> 6) << 4)
}

function sixMin(bytes: Uint8Array, offset: number, j: number): number {
  return j < 4 ? bytes[offset + j + 4] & 63 : (bytes[offset + j + 4] >> 4) | ((bytes[offset + j] >> 6) << 4)
}

/** 2 bits: value = d * scale * code - dmin * min, 16 sub-blocks, 4-bit scales and minima. Bytes: scales, codes, d, dmin. */
export const Q2_K: GgmlType = {
  name: 'q2_k',
  block: SIZE,
  bytes: 84,
  importance: { share: 1, over: SIZE },
  encode(x, at, bytes, offset, weights) {
    const v = finiteBlock(x, at)
    if (!v) return writeHalf(bytes, offset + 80, Number.NaN)
    const fit = fitMinima(v, 16, 3, 15, weights)
    for (let j = 0; j < 16; j++) bytes[offset + j] = fit.scales[j] | (fit.mins[j] << 4)
    packRows(fit.codes, 2, bytes, offset + 16)
    writeHalf(bytes, offset + 80, fit.d)
    writeHalf(bytes, offset + 82, fit.dmin)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset + 80)
    const dmin = readHalf(bytes, offset + 82)
    for (let j = 0; j < 16; j++) {
      const scale = d * (bytes[offset + j] & 15)
      const min = dmin * (bytes[offset + j] >> 4)
      for (let i = 16 * j; i < 16 * j + 16; i++) out[at + i] = scale * unpackRows(bytes, offset + 16, 2, i) - min
    }
  },
}

const THREE_BITS = ladder([-4, -3, -2, -1, 0, 1, 2, 3])

/** 3 bits: value = d * (scale - 32) * (code - 4), 16 sub-blocks, 6-bit scales. Bytes: high bits, low bits, scales, d. */
export const Q3_K: GgmlType = {
  name: 'q3_k',
  block: SIZE,
  bytes: 110,
  importance: { share: 2, over: SIZE },
  encode(x, at, bytes, offset, weights) {
    const v = finiteBlock(x, at)
    if (!v) return writeHalf(bytes, offset + 108, Number.NaN)
    const { d, scales, codes } = fitScales(v, 16, THREE_BITS, -32, 31, weights)
    bytes.fill(0, offset, offset + 108)
    for (let i = 0; i < SIZE; i++) bytes[offset + (i % 32)] |= (codes[i] >> 2) << Math.floor(i / 32)
    packRows(codes, 2, bytes, offset + 32)
    for (let j = 0; j < 16; j++) {
      const scale = scales[j] + 32
      bytes[offset + 96 + (j % 8)] |= j < 8 ? scale & 15 : (scale & 15) << 4
      bytes[offset + 104 + (j % 4)] |= (scale >> 4) << (2 * Math.floor(j / 4))
    }
    writeHalf(bytes, offset + 108, d)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset + 108)
    for (let j = 0; j < 16; j++) {
      const low = j < 8 ? bytes[offset + 96 + j] & 15 : bytes[offset + 88 + j] >> 4
      const high = (bytes[offset + 104 + (j % 4)] >> (2 * Math.floor(j / 4))) & 3
      const scale = d * ((low | (high << 4)) - 32)
      for (let i = 16 * j; i < 16 * j + 16; i++) {
        const top = (bytes[offset + (i % 32)] >> Math.floor(i / 32)) & 1
        out[at + i] = scale * (unpackRows(bytes, offset + 32, 2, i) + 4 * top - 4)
      }
    }
  },
}

/** 4 bits: value = d * scale * code - dmin * min, 8 sub-blocks. Bytes: d, dmin, scales and minima, codes. */
export const Q4_K: GgmlType = {
  name: 'q4_k',
  block: SIZE,
  bytes: 144,
  importance: { share: 2, over: SIZE },
  encode(x, at, bytes, offset, weights) {
    const v = finiteBlock(x, at)
    if (!v) return writeHalf(bytes, offset, Number.NaN)
    const fit = fitMinima(v, 32, 15, 63, weights)
    writeHalf(bytes, offset, fit.d)
    writeHalf(bytes, offset + 2, fit.dmin)
    packSixes(fit, bytes, offset + 4)
    packRows(fit.codes, 4, bytes, offset + 16)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset)
    const dmin = readHalf(bytes, offset + 2)
    for (let j = 0; j < 8; j++) {
      const scale = d * sixScale(bytes, offset + 4, j)
      const min = dmin * sixMin(bytes, offset + 4, j)
      const row = offset + 16 + 32 * (j >> 1)
      const shift = 4 * (j & 1)
      for (let i = 0; i < 32; i++) out[at + 32 * j + i] = scale * ((bytes[row + i] >> shift) & 15) - min
    }
  },
}

/** 5 bits: as q4_k. Bytes: d, dmin, scales and minima, fifth bits, low bits. */
export const Q5_K: GgmlType = {
  name: 'q5_k',
  block: SIZE,
  bytes: 176,
  importance: { share: 2, over: SIZE },
  encode(x, at, bytes, offset, weights) {
    const v = finiteBlock(x, at)
    if (!v) return writeHalf(bytes, offset, Number.NaN)
    const fit = fitMinima(v, 32, 31, 63, weights)
    writeHalf(bytes, offset, fit.d)
    writeHalf(bytes, offset + 2, fit.dmin)
    packSixes(fit, bytes, offset + 4)
    bytes.fill(0, offset + 16, offset + 48)
    for (let i = 0; i < SIZE; i++) bytes[offset + 16 + (i % 32)] |= (fit.codes[i] >> 4) << Math.floor(i / 32)
    packRows(fit.codes, 4, bytes, offset + 48)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset)
    const dmin = readHalf(bytes, offset + 2)
    for (let j = 0; j < 8; j++) {
      const scale = d * sixScale(bytes, offset + 4, j)
      const min = dmin * sixMin(bytes, offset + 4, j)
      const row = offset + 48 + 32 * (j >> 1)
      const shift = 4 * (j & 1)
      for (let i = 0; i < 32; i++) {
        const code = ((bytes[row + i] >> shift) & 15) | (((bytes[offset + 16 + i] >> j) & 1) << 4)
        out[at + 32 * j + i] = scale * code - min
      }
    }
  },
}

const SIX_BITS = ladder(Array.from({ length: 64 }, (_, i) => i - 32))

/** 6 bits: value = d * scale * (code - 32), 16 sub-blocks, int8 scales. Bytes: low 4 bits, high 2 bits, scales, d. */
export const Q6_K: GgmlType = {
  name: 'q6_k',
  block: SIZE,
  bytes: 210,
  importance: 'alone',
  encode(x, at, bytes, offset, weights) {
    const v = finiteBlock(x, at)
    if (!v) return writeHalf(bytes, offset + 208, Number.NaN)
    const { d, scales, codes } = fitScales(v, 16, SIX_BITS, -128, 127, weights)
    bytes.fill(0, offset, offset + 192)
    for (let i = 0; i < SIZE; i++) {
      const { low, shift, high, place } = sixAt(i)
      bytes[offset + low] |= (codes[i] & 15) << shift
      bytes[offset + high] |= (codes[i] >> 4) << place
    }
    for (let j = 0; j < 16; j++) bytes[offset + 192 + j] = scales[j]
    writeHalf(bytes, offset + 208, d)
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset + 208)
    for (let j = 0; j < 16; j++) {
      const scale = d * ((bytes[offset + 192 + j] << 24) >> 24)
      for (let i = 16 * j; i < 16 * j + 16; i++) {
        const { low, shift, high, place } = sixAt(i)
        const code = ((bytes[offset + low] >> shift) & 15) | (((bytes[offset + high] >> place) & 3) << 4)
        out[at + i] = scale * (code - 32)
      }
    }
  },
}

/** Where q6_k keeps value i: byte and shift of its low 4 bits and of its high 2. */
function sixAt(i: number): { low: number; shift: number; high: number; place: number } {
  const half = i >> 7
  const row = (i >> 5) & 3
  const column = i & 31
  return {
    low: 64 * half + 32 * (row & 1) + column,
    shift: 4 * (row >> 1),
    high: 128 + 32 * half + column,
    place: 2 * row,
  }
}
