// bf16, fp16 and fp32: floats that need no scale. nan and infinities are kept, overflow is infinity.
import { elementTable, encodeElement, findElement } from './elements.ts'
import type { Encoded, Floats, PlainFormat } from './format.ts'

const TYPES = { bf16: findElement('bfloat16'), fp16: findElement('float16') }

/** Encodes as 16-bit patterns, fp32 as itself. */
export function encodePlain(x: Floats, shape: readonly number[], { name }: PlainFormat): Encoded {
  if (name === 'fp32') return { format: name, shape: [...shape], codes: Float32Array.from(x) }
  const codes = new Uint16Array(x.length)
  if (name === 'bf16' && x instanceof Float32Array) {
    const bits = new Uint32Array(x.buffer, x.byteOffset, x.length)
    for (let i = 0; i < x.length; i++) {
      const word = bits[i]
      // nearest, ties to even; a nan stays one, whatever its payload
      if ((word & 0x7fffffff) > 0x7f800000) codes[i] = (word >>> 16) | 0x40
      else codes[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
    }
    return { format: name, shape: [...shape], codes }
  }
  const type = TYPES[name]
  for (let i = 0; i < x.length; i++) codes[i] = encodeElement(type, x[i])
  return { format: name, shape: [...shape], codes }
}

/** Decodes into `out`. */
export function decodePlain({ codes }: Encoded, { name }: PlainFormat, out: Floats): void {
  if (name === 'fp32') {
    out.set(codes!)
    return
  }
  const table = elementTable(TYPES[name])
  for (let i = 0; i < out.length; i++) out[i] = table[codes![i]]
}
