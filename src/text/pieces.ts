// Tokenization by scored pieces, as SentencePiece does it (and llama2.c and llama.cpp after it): BPE that merges the pair
// with the highest score first, the leftmost of equals; or the unigram model's most likely split.
// Where no piece joins two neighbouring characters no merge can cross, so a text is cut there and the cuts are cached.
import { RequestError } from '../formats/error.ts'

/** What a piece is; the numbers are SentencePiece's and GGUF's. */
export const PIECE = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const

/** Pieces in order of their ids; spaces are written ▁ (U+2581). */
export interface Pieces {
  model: 'bpe' | 'unigram'
  texts: readonly string[]
  scores: Float32Array
  /** One of PIECE for each. */
  types: Uint8Array
  unknown: number
}

/** How a text is prepared, as in SentencePiece's normalizer. */
export interface Preparation {
  /** A space is put in front of a text that is not empty. */
  addPrefix: boolean
  /** Spaces at both ends go, and runs become one. */
  removeExtraSpaces: boolean
  /** Unicode normalization, absent: none. */
  normalize?: (text: string) => string
}

const SPACE = '\u2581'

/** Segments that are remembered; more are computed again. */
const CACHE_LIMIT = 200_000

/** The text as pieces see it: normalized, prefixed, spaces written ▁. */
export function prepareText(text: string, { addPrefix, removeExtraSpaces, normalize }: Preparation): string {
  let prepared = normalize ? normalize(text) : text
  if (removeExtraSpaces) prepared = prepared.replace(/ +/g, ' ').replace(/^ | $/g, '')
  if (prepared === '') return ''
  return (addPrefix ? SPACE : '') + prepared.replaceAll(' ', SPACE)
}

/** A function from prepared texts to ids. */
export function createPieceEncoder(pieces: Pieces): (prepared: string) => Int32Array {
  const ids = new Map<string, number>()
  const users: string[] = []
  const bytes = new Int32Array(256).fill(-1)
  pieces.texts.forEach((text, id) => {
    const type = pieces.types[id]
    if (type === PIECE.byte) {
      const value = Number.parseInt(/^<0x([0-9A-F]{2})>$/i.exec(text)?.[1] ?? '', 16)
      if (value >= 0) bytes[value] = id
    } else if (type === PIECE.user && text !== '') users.push(text)
    if ((type === PIECE.normal || type === PIECE.user) && !ids.has(text)) ids.set(text, id)
  })
  const joined = joinedCharacters(ids.keys())
  const split = pieces.model === 'bpe' ? mergeByScore(ids, pieces.scores) : mostLikelySplit(ids, pieces)
  const cache = new Map<string, Int32Array>()
  const encodeSegment = (segment: string): Int32Array => {
    const known = cache.get(segment)
    if (known) return known
    const out: number[] = []
    for (const symbol of split(segment)) {
      const id = ids.get(symbol)
      if (id !== undefined) out.push(id)
      else pushUnknown(symbol, bytes, pieces.unknown, out)
    }
    const result = Int32Array.from(out)
    if (cache.size >= CACHE_LIMIT) cache.clear()
    if (segment.length <= 256) cache.set(segment, result)
    return result
  }
  const userPattern =
    users.length > 0
      ? new RegExp(
          `(${users
            .sort((a, b) => b.length - a.length)
            .map(escapePattern)
            .join('|')})`,
          'u',
        )
      : undefined
  return prepared => {
    const out: number[] = []
    const push = (id: number) => {
      if (id !== pieces.unknown || out[out.length - 1] !== id) out.push(id)
    }
    const parts = userPattern ? prepared.split(userPattern) : [prepared]
    parts.forEach((part, i) => {
      if (i % 2 === 1) push(ids.get(part) as number)
      else for (const segment of segments(part, joined)) encodeSegment(segment).forEach(push)
    })
    return Int32Array.from(out)
  }
}

const escapePattern = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')

/** Ids of the bytes of a symbol that is no piece, or the unknown token. */
function pushUnknown(symbol: string, bytes: Int32Array, unknown: number, out: number[]): void {
  const encoded = new TextEncoder().encode(symbol)
  if (encoded.every(byte => bytes[byte] >= 0)) for (const byte of encoded) out.push(bytes[byte])
  else if (unknown >= 0) out.push(unknown)
  else throw new RequestError(`'${symbol}' is in no piece of the tokenizer, which has no token for unknown ones`)
}

/** Pairs of characters that stand side by side in some piece, as a * 0x110000 + b. */
function joinedCharacters(texts: Iterable<string>): Set<number> {
  const joined = new Set<number>()
  for (const text of texts) {
    let before = -1
    for (const char of text) {
      const code = char.codePointAt(0) as number
      if (before >= 0) joined.add(before * 0x110000 + code)
      before = code
    }
  }
  return joined
}

/** Cuts a text where no piece joins the neighbours. */
function* segments(text: string, joined: ReadonlySet<number>): Generator<string> {
  let start = 0
  let before = -1
  for (let i = 0; i < text.length; ) {
    const code = text.codePointAt(i) as number
    if (before >= 0 && !joined.has(before * 0x110000 + code)) {
      yield text.slice(start, i)
      start = i
    }
    before = code
    i += code > 0xffff ? 2 : 1
  }
  if (start < text.length) yield text.slice(start)
}

/** Where each character of a segment begins, and its end. */
function characterStarts(segment: string): number[] {
  const starts: number[] = []
  for (let i = 0; i < segment.length; i += (segment.codePointAt(i) as number) > 0xffff ? 2 : 1) starts.push(i)
  starts.push(segment.length)
  return starts
}

/** BPE over one segment: symbols are characters first; of all neighbours that make a piece the one with the best score merges. */
function mergeByScore(ids: ReadonlyMap<string, number>, scores: Float32Array): (segment: string) => string[] {
  return segment => {
    const starts = characterStarts(segment)
    const count = starts.length - 1
    const ends = starts.slice(1)
    const next = ends.map((_, i) => (i + 1 < count ? i + 1 : -1))
    const before = ends.map((_, i) => i - 1)
    const merged = new Uint8Array(count)
    const heap = createHeap()
    const offer = (left: number) => {
      if (left < 0 || next[left] < 0) return
      const end = ends[next[left]]
      const id = ids.get(segment.slice(starts[left], end))
      if (id !== undefined) heap.push({ score: scores[id], left, end })
    }
    for (let i = 0; i < count; i++) offer(i)
    for (let best = heap.pop(); best !== undefined; best = heap.pop()) {
      const { left, end } = best
      const right = next[left]
      // A pair is stale where one of its symbols has merged with another since.
      if (merged[left] || right < 0 || ends[right] !== end) continue
      merged[right] = 1
      ends[left] = end
      next[left] = next[right]
      if (next[left] >= 0) before[next[left]] = left
      offer(before[left])
      offer(left)
    }
    const symbols: string[] = []
    for (let i = 0; i >= 0 && i < count; i = next[i]) symbols.push(segment.slice(starts[i], ends[i]))
    return symbols
  }
}

interface Candidate {
  score: number
  left: number
  end: number
}

/** A heap of candidates: the highest score first, then the leftmost. */
function createHeap() {
  const items: Candidate[] = []
  const isBefore = (a: Candidate, b: Candidate) => a.score > b.score || (a.score === b.score && a.left < b.left)
  const swap = (i: number, j: number) => {
    const held = items[i]
    items[i] = items[j]
    items[j] = held
  }
  return {
    push(item: Candidate) {
      let i = items.push(item) - 1
      while (i > 0 && isBefore(items[i], items[(i - 1) >> 1])) {
        swap(i, (i - 1) >> 1)
        i = (i - 1) >> 1
      }
    },
    pop(): Candidate | undefined {
      const top = items[0]
      const last = items.pop()
      if (last === undefined || items.length === 0) return top
      items[0] = last
      for (let i = 0; ; ) {
        let child = 2 * i + 1
        if (child >= items.length) break
        if (child + 1 < items.length && isBefore(items[child + 1], items[child])) child++
        if (!isBefore(items[child], items[i])) break
        swap(i, child)
        i = child
      }
      return top
    },
  }
}

/** The unigram model over one segment: the split whose scores (in float32) have the largest sum; a character that is no piece costs 10 more than the rarest piece. */
function mostLikelySplit(ids: ReadonlyMap<string, number>, { scores, types }: Pieces): (segment: string) => string[] {
  const normal = Array.from(scores).filter((_, id) => types[id] === PIECE.normal)
  const unknownScore = Math.fround(normal.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY) - 10)
  let longest = 1
  for (const text of ids.keys()) longest = Math.max(longest, text.length)
  return segment => {
    const starts = characterStarts(segment)
    const best = new Float32Array(starts.length).fill(Number.NEGATIVE_INFINITY)
    const from = new Int32Array(starts.length).fill(-1)
    best[0] = 0
    for (let i = 0; i + 1 < starts.length; i++) {
      let single = false
      for (let j = i + 1; j < starts.length && starts[j] - starts[i] <= longest; j++) {
        const id = ids.get(segment.slice(starts[i], starts[j]))
        if (id === undefined) continue
        single ||= j === i + 1
        const score = Math.fround(best[i] + scores[id])
        if (from[j] < 0 || score > best[j]) {
          best[j] = score
          from[j] = i
        }
      }
      const score = Math.fround(best[i] + unknownScore)
      if (!single && (from[i + 1] < 0 || score > best[i + 1])) {
        best[i + 1] = score
        from[i + 1] = i
      }
    }
    const symbols: string[] = []
    for (let j = starts.length - 1; j > 0; j = from[j]) symbols.push(segment.slice(starts[from[j]], starts[j]))
    return symbols.reverse()
  }
}

/** How ids become text again. */
export interface Spelling {
  /** One space at the very beginning is the one that was put there, and goes. */
  dropPrefix: boolean
  /** Not only one: of every piece as long as nothing is written. */
  dropAll?: boolean
  /** What an unknown token reads as. */
  unknownText: string
}

/** Text of ids: pieces joined, ▁ to space, byte pieces to UTF-8 (an invalid byte to U+FFFD), control pieces to nothing. */
export function decodePieces(
  { texts, types }: Pieces,
  ids: ArrayLike<number>,
  { dropPrefix, dropAll = false, unknownText }: Spelling,
): string {
  let out = ''
  let dropped = false
  let bytes: number[] = []
  const flush = () => {
    if (bytes.length > 0) out += decodeBytes(bytes)
    bytes = []
  }
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]
    const text = texts[id]
    if (text === undefined) throw new RequestError(`token ${id} is not in the vocabulary of ${texts.length}`)
    if (types[id] === PIECE.byte) {
      bytes.push(Number.parseInt(text.slice(3, 5), 16))
      continue
    }
    flush()
    if (types[id] === PIECE.control) continue
    const leading: boolean = dropPrefix && out === '' && !dropped && text.startsWith(SPACE)
    dropped ||= leading && !dropAll
    if (types[id] === PIECE.unknown) out += unknownText
    else out += (leading ? text.slice(1) : text).replaceAll(SPACE, ' ')
  }
  flush()
  return out
}

/** Bytes as UTF-8, each invalid one as one U+FFFD. */
function decodeBytes(bytes: readonly number[]): string {
  let out = ''
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i]
    const length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
    let text = '\ufffd'
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        Uint8Array.from(bytes.slice(i, i + length)),
      )
      i += Math.min(length, bytes.length - i)
    } catch {
      i++
    }
    out += text
  }
  return out
}
