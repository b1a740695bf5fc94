// ggml's first block types: 32 values, an fp16 scale (and an fp16 minimum), 4, 5 or 8 bits each. The encoders do the f32
// arithmetic of ggml's reference ones, operation for operation, so the bytes are equal.
// A block with a nan or an infinity has a nan scale.
import type { Floats, PresetName } from './format.ts'
import type { GgmlType } from './ggml.ts'
import { nearestHalf, readHalf, writeHalf } from './ggml-bytes.ts'
import { fitAbove, placeAbove } from './ggml-minima.ts'
import { fitScales, ladder } from './ggml-scales.ts'
import { absmaxOf } from './scaled.ts'

const f32 = Math.fround
const SIZE = 32

/** The value of largest magnitude, the first of equals; nan where a value is not finite. */
function extremeOf(x: Floats, at: number): number {
  const absmax = absmaxOf(x, at, at + SIZE)
  for (let i = at; i < at + SIZE; i++) if (Math.abs(x[i]) === absmax) return f32(x[i])
  return Number.NaN
}

/** 4 low bits of each code: value i in the low half of byte i, value i + 16 in the high half. */
function packNibbles(codes: Uint8Array, bytes: Uint8Array, offset: number): void {
  for (let i = 0; i < 16; i++) bytes[offset + i] = (codes[i] & 15) | ((codes[i + 16] & 15) << 4)
}

/** The fifth bits, bit i of 32. */
function packFifths(codes: Uint8Array, bytes: Uint8Array, offset: number): void {
  bytes.fill(0, offset, offset + 4)
  for (let i = 0; i < SIZE; i++) bytes[offset + (i >> 3)] |= (codes[i] >> 4) << (i & 7)
}

const codes = new Uint8Array(SIZE)

/** Code i of a block whose nibbles begin at `offset`, and whose fifth bits, if any, at `fifths`. */
function codeAt(bytes: Uint8Array, offset: number, i: number, fifths: number): number {
  const nibble = i < 16 ? bytes[offset + i] & 15 : bytes[offset + i - 16] >> 4
  return fifths < 0 ? nibble : nibble | (((bytes[fifths + (i >> 3)] >> (i & 7)) & 1) << 4)
}

/** Types with codes around zero: value = d * (code - 2^(bits-1)), the extreme value at code 0. */
function symmetric(name: PresetName, bits: 4 | 5): GgmlType {
  const half = 2 ** (bits - 1)
  const nibbles = bits === 5 ? 6 : 2
  const fifths = bits === 5 ? 2 : -1
  const steps = ladder(Array.from({ length: 2 * half }, (_, i) => i - half))
  return {
    name,
    block: SIZE,
    bytes: nibbles + 16,
    importance: { share: 1, over: 'row' },
    encode(x, at, bytes, offset, weights) {
      const extreme = extremeOf(x, at)
      if (weights && Number.isFinite(extreme)) {
        const found = fitScales(Float64Array.from(x.subarray(at, at + SIZE)), SIZE, steps, 1, 1, weights)
        writeHalf(bytes, offset, found.d)
        if (fifths > 0) packFifths(found.codes, bytes, offset + fifths)
        packNibbles(found.codes, bytes, offset + nibbles)
        return
      }
      const d = f32(extreme / -half)
      const inverse = d === 0 || Number.isNaN(d) ? 0 : f32(1 / d)
      writeHalf(bytes, offset, d)
      if (inverse === 0) codes.fill(half)
      else
        for (let i = 0; i < SIZE; i++)
          codes[i] = Math.min(f32(f32(f32(x[at + i]) * inverse) + half + 0.5) | 0, 2 * half - 1)
      if (fifths > 0) packFifths(codes, bytes, offset + fifths)
      packNibbles(codes, bytes, offset + nibbles)
    },
    decode(bytes, offset, out, at) {
      const d = readHalf(bytes, offset)
      for (let i = 0; i < SIZE; i++)
        out[at + i] = (codeAt(bytes, offset + nibbles, i, fifths > 0 ? offset + fifths : -1) - half) * d
    },
  }
}

/** Types with a minimum: value = d * code + m. */
function asymmetric(name: PresetName, bits: 4 | 5): GgmlType {
  const top = 2 ** bits - 1
  const nibbles = bits === 5 ? 8 : 4
  const fifths = bits === 5 ? 4 : -1
  return {
    name,
    block: SIZE,
    bytes: nibbles + 16,
    importance: { share: 1, over: 'row' },
    encode(x, at, bytes, offset, weights) {
      if (weights && Number.isFinite(extremeOf(x, at))) {
        const v = Float64Array.from(x.subarray(at, at + SIZE))
        const fit = fitAbove(v, weights, 0, SIZE, top)
        const scale = nearestHalf(fit.scale)
        const least = nearestHalf(fit.min)
        placeAbove(v, weights, 0, SIZE, scale, least, top, codes)
        writeHalf(bytes, offset, scale)
        writeHalf(bytes, offset + 2, -least)
        if (fifths > 0) packFifths(codes, bytes, offset + fifths)
        packNibbles(codes, bytes, offset + nibbles)
        return
      }
      let min = Infinity
      let max = -Infinity
      let poison = 0
      for (let i = at; i < at + SIZE; i++) {
        const value = f32(x[i])
        if (value < min) min = value
        if (value > max) max = value
        poison += value * 0
      }
      const d = f32(f32(max - min) / top) + poison
      const inverse = d === 0 || Number.isNaN(d) ? 0 : f32(1 / d)
      writeHalf(bytes, offset, d)
      writeHalf(bytes, offset + 2, min + poison)
      if (inverse === 0) codes.fill(0)
      else
        for (let i = 0; i < SIZE; i++) codes[i] = Math.min(f32(f32(f32(f32(x[at + i]) - min) * inverse) + 0.5) | 0, top)
      if (fifths > 0) packFifths(codes, bytes, offset + fifths)
      packNibbles(codes, bytes, offset + nibbles)
    },
    decode(bytes, offset, out, at) {
      const d = readHalf(bytes, offset)
      const m = readHalf(bytes, offset + 2)
      for (let i = 0; i < SIZE; i++)
        out[at + i] = codeAt(bytes, offset + nibbles, i, fifths > 0 ? offset + fifths : -1) * d + m
    },
  }
}

/** 4 bits, value = d * (code - 8). */
export const Q4_0 = symmetric('q4_0', 4)
/** 4 bits, value = d * code + m. */
export const Q4_1 = asymmetric('q4_1', 4)
/** 5 bits, value = d * (code - 16). */
export const Q5_0 = symmetric('q5_0', 5)
/** 5 bits, value = d * code + m. */
export const Q5_1 = asymmetric('q5_1', 5)

/** 8 bits, value = d * code, ties away from zero. */
export const Q8_0: GgmlType = {
  name: 'q8_0',
  block: SIZE,
  bytes: 34,
  importance: null,
  encode(x, at, bytes, offset) {
    const d = f32(Math.abs(extremeOf(x, at)) / 127)
    const inverse = d === 0 || Number.isNaN(d) ? 0 : f32(1 / d)
    writeHalf(bytes, offset, d)
    for (let i = 0; i < SIZE; i++) {
      const step = f32(f32(x[at + i]) * inverse)
      // The magnitude rounded, then the sign put back without a branch.
      const size = (Math.abs(step) + 0.5) | 0
      const sign = (step * 0x800000) >> 31
      bytes[offset + 2 + i] = (size ^ sign) - sign
    }
  },
  decode(bytes, offset, out, at) {
    const d = readHalf(bytes, offset)
    for (let i = 0; i < SIZE; i++) out[at + i] = ((bytes[offset + 2 + i] << 24) >> 24) * d
  },
}
