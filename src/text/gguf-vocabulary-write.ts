// A tokenizer as the metadata of a GGUF file, so that llama.cpp reads texts as Bitlaw does.
import { bool, f32s, type GgufEntry, i32s, text, texts, u32 } from '../checkpoint/gguf-write.ts'
import { RequestError } from '../formats/error.ts'
import { PIECE } from './pieces.ts'
import type { Tokenizer } from './tokenizer.ts'
import { wordsName } from './words.ts'

/** What is read of a tokenizer.json. */
interface TokenizerJson {
  model?: {
    type?: string
    vocab?: Record<string, number>
    merges?: (string | [string, string])[]
    byte_fallback?: boolean
    unk_token?: string | null
  }
  added_tokens?: { id: number; content: string; special: boolean }[]
  pre_tokenizer?: unknown
  normalizer?: unknown
  post_processor?: unknown
}

/** Keys of the vocabulary, padded with unused tokens to `vocab`; throws RequestError where GGUF has no kind for the tokenizer. */
export function vocabularyMetadata(tokenizer: Tokenizer, vocab: number): Record<string, GgufEntry> {
  const { bos, eos, pieces, json } = tokenizer
  const ends = {
    ...(bos !== null && { 'tokenizer.ggml.bos_token_id': u32(bos) }),
    ...(eos !== null && { 'tokenizer.ggml.eos_token_id': u32(eos) }),
  }
  if (pieces?.model === 'bpe') {
    const { texts: tokens, scores, types, unknown } = pieces
    return {
      'tokenizer.ggml.model': text('llama'),
      'tokenizer.ggml.pre': text('default'),
      ...tokenEntries([...tokens], Int32Array.from(types), vocab),
      'tokenizer.ggml.scores': f32s(Float32Array.from({ length: vocab }, (_, i) => scores[i] ?? -1e4)),
      ...(unknown >= 0 && { 'tokenizer.ggml.unknown_token_id': u32(unknown) }),
      ...ends,
      'tokenizer.ggml.add_bos_token': bool(bos !== null),
    }
  }
  if (json === undefined)
    throw new RequestError(`a tokenizer of kind '${tokenizer.kind}' cannot be written into GGUF, expected a BPE`)
  const parsed = JSON.parse(json) as TokenizerJson
  if (parsed.model?.type !== 'BPE' || !parsed.model.vocab)
    throw new RequestError(
      `a tokenizer.json with a model of type '${parsed.model?.type}' cannot be written into GGUF, expected BPE`,
    )
  return { ...bpeEntries(parsed, vocab), ...ends, 'tokenizer.ggml.add_bos_token': bool(addsFirst(parsed)) }
}

/** Tokens and their kinds, unused ones up to `vocab`. */
function tokenEntries(tokens: string[], types: Int32Array, vocab: number): Record<string, GgufEntry> {
  for (let id = tokens.length; id < vocab; id++) tokens.push(`[PAD${id}]`)
  const kinds = Int32Array.from({ length: vocab }, (_, id) => types[id] ?? PIECE.unused)
  return { 'tokenizer.ggml.tokens': texts(tokens.slice(0, vocab)), 'tokenizer.ggml.token_type': i32s(kinds) }
}

/** Vocabulary and merges of a BPE: byte-level as `gpt2`, one over ▁ with scores by rank as `llama`. */
function bpeEntries(
  { model, added_tokens = [], pre_tokenizer, normalizer }: TokenizerJson,
  vocab: number,
): Record<string, GgufEntry> {
  const entries = Object.entries(model?.vocab ?? {})
  const tokens: string[] = []
  const types = new Int32Array(vocab).fill(PIECE.normal)
  for (const [token, id] of entries) tokens[id] = token
  for (const { id, content, special } of added_tokens) {
    tokens[id] = content
    types[id] = special ? PIECE.control : PIECE.user
  }
  for (let id = 0; id < tokens.length; id++) if (tokens[id] === undefined) tokens[id] = `[PAD${id}]`
  const merges = (model?.merges ?? []).map(merge => (typeof merge === 'string' ? merge : merge.join(' ')))
  const layout = JSON.stringify([pre_tokenizer, normalizer])
  if (layout.includes('ByteLevel'))
    return {
      'tokenizer.ggml.model': text('gpt2'),
      'tokenizer.ggml.pre': text(wordsName(pre_tokenizer)),
      ...tokenEntries(tokens, types, vocab),
      'tokenizer.ggml.merges': texts(merges),
    }
  if (!layout.includes('\u2581'))
    throw new RequestError('a BPE that is neither byte-level nor over \u2581 cannot be written into GGUF')
  return {
    ...scoredEntries(tokens, types, merges, vocab, model?.unk_token ?? null),
    'tokenizer.ggml.add_space_prefix': bool(/"Prepend"|"prepend_scheme":"(first|always)"/.test(layout)),
  }
}

/** Merges as scores: the result of the first merge has the best. */
function scoredEntries(
  tokens: string[],
  types: Int32Array,
  merges: readonly string[],
  vocab: number,
  unknown: string | null,
): Record<string, GgufEntry> {
  const scores = new Float32Array(vocab)
  const ids = new Map(tokens.map((token, id) => [token, id]))
  merges.forEach((merge, rank) => {
    const id = ids.get(merge.replace(' ', ''))
    if (id !== undefined && scores[id] === 0) scores[id] = -1 - rank
  })
  tokens.forEach((token, id) => {
    if (/^<0x[0-9A-F]{2}>$/.test(token)) types[id] = PIECE.byte
    if (token === unknown) types[id] = PIECE.unknown
    if (scores[id] === 0 && types[id] === PIECE.normal) scores[id] = -1e6
  })
  const id = unknown === null ? undefined : ids.get(unknown)
  return {
    'tokenizer.ggml.model': text('llama'),
    'tokenizer.ggml.pre': text('default'),
    ...tokenEntries(tokens, types, vocab),
    'tokenizer.ggml.scores': f32s(scores),
    ...(id !== undefined && { 'tokenizer.ggml.unknown_token_id': u32(id) }),
  }
}

/** Whether a tokenizer.json puts a token in front of a text by default. */
function addsFirst({ post_processor }: TokenizerJson): boolean {
  const processor = JSON.stringify(post_processor ?? null)
  return /"single":\[\{"SpecialToken"/.test(processor)
}
