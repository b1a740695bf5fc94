// SentencePiece's compiled normalization: a double-array trie (darts-clone) over UTF-8 from strings to their replacements.
// At each place the longest string that it knows is replaced; a character that it does not know stays.
import { RequestError } from '../formats/error.ts'

/** A function that normalizes texts by compiled rules; throws RequestError where they are none. */
export function compileCharsmap(rules: Uint8Array, name: string): (text: string) => string {
  const view = new DataView(rules.buffer, rules.byteOffset, rules.byteLength)
  const trieBytes = rules.length >= 4 ? view.getUint32(0, true) : 0
  if (trieBytes < 4 || trieBytes % 4 !== 0 || 4 + trieBytes > rules.length)
    throw new RequestError(`'${name}' has normalization rules that are cut off`)
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true))
  const replacements = rules.subarray(4 + trieBytes)
  const offsetOf = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6)

  /** Length of the longest known string at `at`, and where its replacement begins; length 0: none. */
  const longest = (bytes: Uint8Array, at: number): { length: number; replacement: number } => {
    const found = { length: 0, replacement: 0 }
    let node = offsetOf(trie[0])
    for (let i = at; i < bytes.length; i++) {
      node ^= bytes[i]
      const unit = trie[node]
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== bytes[i]) break
      node ^= offsetOf(unit)
      if ((unit >>> 8) & 1) {
        found.length = i + 1 - at
        found.replacement = (trie[node] ?? 0) & 0x7fffffff
      }
    }
    return found
  }

  return text => {
    const bytes = new TextEncoder().encode(text)
    const out: number[] = []
    for (let at = 0; at < bytes.length; ) {
      const { length, replacement } = longest(bytes, at)
      if (length > 0) {
        for (let i = replacement; i < replacements.length && replacements[i] !== 0; i++) out.push(replacements[i])
        at += length
        continue
      }
      const lead = bytes[at]
      const size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
      for (const end = at + size; at < end; at++) out.push(bytes[at])
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(out))
  }
}
