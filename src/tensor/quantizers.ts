// Encoding and decoding of weights at memory speed: the native kernels where they are built and know the format, else
// the definition in formats/. Both give the same record, bit for bit.
import { decode, type Encoded, type EncodeOptions, encode, type Format, parseFormat } from '../formats/index.ts'
import { openAddon } from './addon.ts'
import { decodePlainNative, decodePresetNative, encodePlainNative, encodePresetNative } from './quantize-presets.ts'
import {
  decodeScaledNative,
  type EncodedArrays,
  encodeScaledNative,
  isNativeScaled,
  type Native,
} from './quantize-scaled.ts'

/** Encoders and decoders on a fixed number of threads. */
export interface Quantizers {
  encode(
    x: Float32Array,
    shape: readonly number[],
    format: Format | string,
    options?: EncodeOptions,
    into?: EncodedArrays,
  ): Encoded
  decode(encoded: Encoded, out?: Float32Array): Float32Array
}

/** Native quantizers, or undefined where they are not built. */
export function createNativeQuantizers({ threads, isa }: { threads: number; isa?: string }): Quantizers | undefined {
  const { addon } = openAddon()
  const engine = addon?.create(threads, isa ?? process.env['BITLAW_ISA'] ?? '')
  if (!addon || engine === undefined) return undefined
  const native: Native = { addon, engine }

  return {
    encode(x, shape, spelling, options = {}, into = {}) {
      const format = parseFormat(spelling)
      const size = shape.reduce((a, b) => a * b, 1)
      let found: Encoded | undefined
      if (size === x.length && size > 0 && x instanceof Float32Array) {
        if (format.kind === 'plain') found = encodePlainNative(native, x, shape, format)
        else if (format.kind === 'preset') found = encodePresetNative(native, x, shape, format.name, options, into)
        else if (isNativeScaled(format)) found = encodeScaledNative(native, x, shape, format, options, into)
      }
      return found ?? encode(x, shape, format, options)
    },
    decode(encoded, out) {
      const format = parseFormat(encoded.format)
      const size = encoded.shape.reduce((a, b) => a * b, 1)
      const values = (out ?? new Float32Array(size)).subarray(0, size)
      if (size > 0 && (encoded.codes === undefined || encoded.codes.length >= size)) {
        if (format.kind === 'plain' ? decodePlainNative(native, encoded, format, values) : false) return out ?? values
        if (format.kind === 'preset' && decodePresetNative(native, encoded, format.name, values)) return out ?? values
        if (format.kind === 'scaled' && decodeScaledNative(native, encoded, format, values)) return out ?? values
      }
      const decoded = decode(encoded)
      if (!out) return decoded
      out.set(decoded)
      return out
    },
  }
}
