// Where a long text may be cut before it is tokenized: libraries encode many short texts several times faster than one
// long one, and in parallel. A rule is given only to tokenizers of which it is known that the ids of the pieces, one
// after the other, are those of the whole text.
import type { Tokenizer } from './tokenizer.ts'
import { wordsName } from './words.ts'

/**
 * How texts are cut between two words that one space parts: `before-space`, where byte-level tokenizers end a word;
 * `for-space`, the space left out, where the tokenizer puts it before each text itself (SentencePiece's way); `nowhere`.
 */
export type CutRule = 'before-space' | 'for-space' | 'nowhere'

/** Characters after which a text is cut, where it may be: a shorter one gains nothing. */
export const PIECE = 2 ** 9

/** What is read of a tokenizer.json. */
interface Definition {
  normalizer?: { type?: string; normalizers?: unknown } | null
  pre_tokenizer?: unknown
  model?: { type?: string; vocab?: Record<string, number>; dropout?: number | null; ignore_merges?: boolean }
  added_tokens?: { content: string; lstrip?: boolean; rstrip?: boolean }[]
}

/** A space between words: of one with a mark, a digit or a letter at its end and one that begins with a letter or a digit. */
const GAP = /(?<=[\p{L}\p{N}\p{P}]) (?=[\p{L}\p{N}])/u

/** Normal forms never join what is before a space to it. */
const UNICODE_FORMS = ['NFC', 'NFD', 'NFKC', 'NFKD']

/** The rule of a tokenizer.json. */
export function cutRule(json: string): CutRule {
  const { normalizer, pre_tokenizer, model, added_tokens = [] } = JSON.parse(json) as Definition
  if (model?.type !== 'BPE' || model.dropout) return 'nowhere'
  // An added token is found before words are: none may reach over a cut or take a space beside it.
  if (added_tokens.some(({ content, lstrip, rstrip }) => lstrip || rstrip || /\S\s|\s\S/.test(content)))
    return 'nowhere'
  if (!normalizer || UNICODE_FORMS.includes(String(normalizer.type)))
    return endsWordsAtSpaces(pre_tokenizer) ? 'before-space' : 'nowhere'
  const spaced =
    !pre_tokenizer &&
    JSON.stringify(normalizer) === PREFIX_SPACE &&
    !model.ignore_merges &&
    !added_tokens.some(({ content }) => /[ \u2581]/.test(content)) &&
    Object.hasOwn(model.vocab ?? {}, '\u2581') &&
    // with no such token no merge joins a word's end to the next one's space
    !Object.keys(model.vocab ?? {}).some(token => /[^\u2581]\u2581/.test(token))
  return spaced ? 'for-space' : 'nowhere'
}

/** A space, written \u2581, is put before a text; all others are written so too. */
const PREFIX_SPACE = JSON.stringify({
  type: 'Sequence',
  normalizers: [
    { type: 'Prepend', prepend: '\u2581' },
    { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
  ],
})

/** Whether words are cut by one of the known patterns, all of which begin a word at a space before a letter or digit. */
function endsWordsAtSpaces(preTokenizer: unknown): boolean {
  try {
    wordsName(preTokenizer)
  } catch {
    return false
  }
  const parts = (preTokenizer as { pretokenizers?: unknown[] }).pretokenizers ?? [preTokenizer]
  return parts.every(part => {
    const { type, add_prefix_space, behavior, invert } = part as Record<string, unknown>
    return type === 'Split' ? behavior === 'Isolated' && !invert : type === 'Digits' || add_prefix_space === false
  })
}

/** A text in pieces of at least `size` characters by a rule; the last may be shorter, and so may be what has no gap near. */
export function cutText(text: string, size: number, rule: CutRule): string[] {
  if (rule === 'nowhere') return [text]
  const pieces: string[] = []
  let start = 0
  while (text.length - start > size) {
    const near = text.slice(start + size - 1, start + 2 * size).search(GAP)
    const found = near >= 0 ? near : text.slice(start + size - 1).search(GAP)
    if (found < 0) break
    const at = start + size - 1 + found
    pieces.push(text.slice(start, at))
    start = rule === 'for-space' ? at + 1 : at
  }
  pieces.push(text.slice(start))
  return pieces
}

/** Ids of a text of any length, no token added: encoded in pieces where that gives the same ids. */
export async function encodeText(tokenizer: Tokenizer, text: string): Promise<Int32Array> {
  // Below this finding the rule, which reads the vocabulary, takes longer than it saves.
  const rule = tokenizer.json === undefined || text.length < 2 ** 16 ? 'nowhere' : cutRule(tokenizer.json)
  return joinIds(await tokenizer.encodeBatch(cutText(text, PIECE, rule)))
}

/** The ids of several texts one after the other. */
export function joinIds(parts: readonly Int32Array[]): Int32Array {
  const ids = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    ids.set(part, at)
    at += part.length
  }
  return ids
}
