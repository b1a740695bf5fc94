// Trains a byte-level BPE vocabulary: GPT-2's splitting into words, then the most frequent pair of neighbours is merged
// until the vocabulary is full. Encoding is left to Hugging Face's library, which has no trainer in its Node package.
// Counts are kept per distinct word and updated only where a pair occurred, so 31 MB take seconds.
import { byteCharacters, byteLevelJson, SEPARATOR } from './bytes.ts'

/** White space as Unicode defines it (JavaScript's \s has U+FEFF, and lacks U+0085). */
const SPACE = '\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'

/** GPT-2's words: contractions, and runs of letters, digits or other signs with the space before them, and white space. */
const WORDS = new RegExp(
  `'(?:[stmd]|re|ve|ll)| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`,
  'gu',
)

/** A trained vocabulary. */
export interface TrainedBpe {
  /** Id of each token, named by the printable characters of its bytes; the separator has id 0. */
  vocab: Record<string, number>
  /** In the order they are applied. */
  merges: [string, string][]
  /** The text of a tokenizer.json. */
  json: string
}

/** The words of a text in order; joined they are the text again. Merges never cross them. */
export function splitWords(text: string): string[] {
  return text.match(WORDS) ?? []
}

/** Adds the words of a text to their counts. */
function countWords(counts: Map<string, number>, text: string): void {
  for (const word of splitWords(text)) counts.set(word, (counts.get(word) ?? 0) + 1)
}

/** Candidate merges, the most frequent first, among equals the one of lowest ids: a binary heap of (count, key). */
function createHeap() {
  let counts = new Float64Array(1024)
  let keys = new Float64Array(1024)
  let size = 0
  const before = (c1: number, k1: number, c2: number, k2: number) => c1 > c2 || (c1 === c2 && k1 < k2)
  return {
    push(count: number, key: number) {
      if (size === counts.length) {
        const [oldCounts, oldKeys] = [counts, keys]
        counts = new Float64Array(size * 2)
        keys = new Float64Array(size * 2)
        counts.set(oldCounts)
        keys.set(oldKeys)
      }
      let at = size++
      while (at > 0) {
        const parent = (at - 1) >> 1
        if (!before(count, key, counts[parent], keys[parent])) break
        counts[at] = counts[parent]
        keys[at] = keys[parent]
        at = parent
      }
      counts[at] = count
      keys[at] = key
    },
    pop(): { count: number; key: number } | undefined {
      if (size === 0) return undefined
      const top = { count: counts[0], key: keys[0] }
      const count = counts[--size]
      const key = keys[size]
      let at = 0
      for (;;) {
        let child = 2 * at + 1
        if (child >= size) break
        if (child + 1 < size && before(counts[child + 1], keys[child + 1], counts[child], keys[child])) child++
        if (!before(counts[child], keys[child], count, key)) break
        counts[at] = counts[child]
        keys[at] = keys[child]
        at = child
      }
      counts[at] = count
      keys[at] = key
      return top
    },
  }
}

/** Pairs are keyed by left * PAIR + right. */
const PAIR = 2 ** 26

/** Vocabulary and merges of at most `vocab` tokens (the separator, 256 bytes, then one for each text that a merge forms first) from counted words. Stops early where no pair occurs twice. */
export function bpeFromCounts(counts: ReadonlyMap<string, number>, vocab: number): TrainedBpe {
  const words: Int32Array[] = []
  const weights: number[] = []
  for (const [word, count] of [...counts].sort((a, b) => (a[0] < b[0] ? -1 : 1))) {
    const bytes = Buffer.from(word, 'utf8')
    if (bytes.length < 2) continue
    words.push(Int32Array.from(bytes, byte => byte + 1))
    weights.push(count)
  }
  const lengths = Int32Array.from(words, word => word.length)
  const pairCounts = new Map<number, number>()
  const places = new Map<number, number[]>() // words that hold the pair, or held it once
  const add = (key: number, word: number, count: number) => {
    pairCounts.set(key, (pairCounts.get(key) ?? 0) + count)
    const list = places.get(key)
    if (list === undefined) places.set(key, [word])
    else if (list[list.length - 1] !== word) list.push(word)
  }
  for (let w = 0; w < words.length; w++)
    for (let i = 0; i + 1 < words[w].length; i++) add(words[w][i] * PAIR + words[w][i + 1], w, weights[w])
  const heap = createHeap()
  for (const [key, count] of pairCounts) heap.push(count, key)

  const names = [SEPARATOR, ...byteCharacters()]
  const ids = new Map(names.map((name, id) => [name, id]))
  const merges: [string, string][] = []
  while (names.length < vocab) {
    const top = heap.pop()
    if (top === undefined || top.count < 2) break
    const current = pairCounts.get(top.key) ?? 0
    if (current !== top.count) {
      // Changed since it was pushed: a count that fell is pushed again, one that rose was pushed when it did.
      if (current >= 2) heap.push(current, top.key)
      continue
    }
    const left = Math.floor(top.key / PAIR)
    const right = top.key % PAIR
    merges.push([names[left], names[right]])
    // a+bc and ab+c are two merges that form one token.
    const name = names[left] + names[right]
    const merged = ids.get(name) ?? names.length
    if (merged === names.length) {
      names.push(name)
      ids.set(name, merged)
    }
    const changed = new Set<number>()
    for (const w of places.get(top.key)!) {
      const word = words[w]
      const weight = weights[w]
      let end = 0
      for (let i = 0; i < lengths[w]; i++) {
        if (i + 1 < lengths[w] && word[i] === left && word[i + 1] === right) {
          if (end > 0) {
            const old = word[end - 1] * PAIR + left
            pairCounts.set(old, pairCounts.get(old)! - weight)
            add(word[end - 1] * PAIR + merged, w, weight)
            changed.add(word[end - 1] * PAIR + merged)
          }
          if (i + 2 < lengths[w]) {
            const old = right * PAIR + word[i + 2]
            pairCounts.set(old, pairCounts.get(old)! - weight)
            add(merged * PAIR + word[i + 2], w, weight)
            changed.add(merged * PAIR + word[i + 2])
          }
          word[end++] = merged
          i++
        } else word[end++] = word[i]
      }
      lengths[w] = end
    }
    pairCounts.delete(top.key)
    places.delete(top.key)
    for (const key of changed) {
      const count = pairCounts.get(key) ?? 0
      if (count > 0) heap.push(count, key)
    }
  }
  const trained = Object.fromEntries(ids)
  return { vocab: trained, merges, json: byteLevelJson(trained, merges) }
}

/** Trains on documents; the same documents in any order give the same vocabulary. */
export async function trainBpe(
  documents: AsyncIterable<{ text: string }> | Iterable<{ text: string }>,
  vocab: number,
): Promise<TrainedBpe> {
  const counts = new Map<string, number>()
  for await (const { text } of documents) countWords(counts, text)
  return bpeFromCounts(counts, vocab)
}
