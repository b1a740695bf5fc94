// The little of protobuf that SentencePiece models need: the fields of a message, one after the other; and writing them.
import { RequestError } from '../formats/error.ts'

/** One field: a number (varint), or its content (bytes, a nested message, or the bytes of a fixed-width number). */
export interface MessageField {
  field: number
  number: number
  content?: Uint8Array
}

/** Walks the fields of a message; throws where one reaches beyond the end. */
export function* messageFields(bytes: Uint8Array, name: string): Generator<MessageField> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) throw new RequestError(`'${name}' ends within a field`)
      const byte = bytes[at++]
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new RequestError(`'${name}' has a number of more than 10 bytes`)
  }
  while (at < bytes.length) {
    const key = varint()
    const field = Math.floor(key / 8)
    const kind = key % 8
    if (kind === 0) {
      yield { field, number: varint() }
      continue
    }
    const length = kind === 1 ? 8 : kind === 5 ? 4 : kind === 2 ? varint() : -1
    if (length < 0 || length > bytes.length - at) throw new RequestError(`'${name}' is no protobuf message`)
    yield { field, number: 0, content: bytes.subarray(at, at + length) }
    at += length
  }
}

/** A varint; negative numbers as 64-bit two's complement. */
function varintBytes(value: number): number[] {
  const out: number[] = []
  let left = BigInt.asUintN(64, BigInt(value))
  do {
    const low = Number(left & 0x7fn)
    left >>= 7n
    out.push(left > 0n ? low | 0x80 : low)
  } while (left > 0n)
  return out
}

/** A field that is a number. */
export const numberField = (field: number, value: number): number[] => [
  ...varintBytes(field * 8),
  ...varintBytes(value),
]

/** A field that is a 32-bit float. */
export const floatField = (field: number, value: number): number[] => [
  ...varintBytes(field * 8 + 5),
  ...new Uint8Array(Float32Array.of(value).buffer),
]

/** A field that is bytes or a nested message. */
export const bytesField = (field: number, content: readonly number[]): number[] => [
  ...varintBytes(field * 8 + 2),
  ...varintBytes(content.length),
  ...content,
]

/** A field that is text. */
export const textField = (field: number, text: string): number[] =>
  bytesField(field, [...new TextEncoder().encode(text)])
