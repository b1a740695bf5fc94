// One tensor in any format: encode, decode, and the two in one. What follows depends only on the kind of the record.
import { RequestError } from './error.ts'
import type { Encoded, EncodeOptions, Floats, FormatLike } from './format.ts'
import { sizeOf } from './layout.ts'
import { decodePlain, encodePlain } from './plain.ts'
import { decodePreset, encodePreset } from './preset.ts'
import { decodeScaled, encodeScaled } from './scaled.ts'
import { parseFormat } from './spelling.ts'

/** Encodes a tensor (row major, the last axis its inputs); throws RequestError for a wrong shape, or +proxy without `keep`. */
export function encode(x: Floats, shape: readonly number[], format: FormatLike, options: EncodeOptions = {}): Encoded {
  const record = parseFormat(format)
  sizeOf(shape, x.length)
  if (record.kind === 'plain') return encodePlain(x, shape, record)
  if (record.kind === 'preset') return encodePreset(x, shape, record.name, options)
  return encodeScaled(x, shape, record, options)
}

function decodeInto(encoded: Encoded, out: Floats): void {
  const record = parseFormat(encoded.format)
  if (record.kind === 'plain') decodePlain(encoded, record, out)
  else if (record.kind === 'preset') decodePreset(encoded, record.name, out)
  else decodeScaled(encoded, record, out)
}

/** The values of an encoded tensor, in f32 arithmetic: its stored parts are enough. */
export function decode(encoded: Encoded): Float32Array {
  const size = sizeOf(encoded.shape)
  const { codes } = encoded
  if (codes !== undefined && codes.length !== size)
    throw new RequestError(
      `encoded tensor has ${codes.length} codes, its shape [${encoded.shape.join(', ')}] has ${size} values`,
    )
  const out = new Float32Array(size)
  decodeInto(encoded, out)
  return out
}

/** What a tensor becomes in a format: decode of encode, in the arithmetic and array type of its input. */
export function fakeQuantize<T extends Floats>(
  x: T,
  shape: readonly number[],
  format: FormatLike,
  options: EncodeOptions = {},
): T {
  const encoded = encode(x, shape, format, options)
  const out = x instanceof Float32Array ? new Float32Array(x.length) : new Float64Array(x.length)
  decodeInto(encoded, out)
  return out as T
}
