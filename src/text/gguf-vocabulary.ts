// Vocabularies inside GGUF files: `llama` (SentencePiece BPE by scores) and `gpt2` (byte-level BPE by merges), as llama.cpp reads them.
import { dirname } from 'node:path'
import { type GgufValue, openGguf } from '../checkpoint/gguf.ts'
import { RequestError } from '../formats/error.ts'
import { byteLevelJson, fromJson } from './huggingface.ts'
import { PIECE, type Pieces } from './pieces.ts'
import { pieceTokenizer, writeSentencepiece } from './sentencepiece.ts'
import type { Tokenizer } from './tokenizer.ts'
import { PRE_TOKENIZERS } from './words.ts'

type Metadata = Readonly<Record<string, GgufValue>>

/** The kinds in which a word that is a token is taken whole. */
const WHOLE_WORDS: ReadonlySet<string> = new Set([
  'llama3',
  'llama-v3',
  'llama-bpe',
  'falcon3',
  'tekken',
  'chatglm-bpe',
])

/** Strings of a metadata array; throws where it is none. */
function strings(metadata: Metadata, key: string, path: string): string[] {
  const value = metadata[key]
  if (!Array.isArray(value) || !value.every(text => typeof text === 'string'))
    throw new RequestError(`'${path}' has no list of strings '${key}'`)
  return value as string[]
}

const numberOf = (value: GgufValue | undefined): number | null => (typeof value === 'number' ? value : null)
const flagOf = (value: GgufValue | undefined, fallback: boolean): boolean =>
  typeof value === 'boolean' ? value : fallback

/** Kinds of the tokens; all normal where the file does not say. */
function tokenTypes(metadata: Metadata, count: number): Uint8Array {
  const types = metadata['tokenizer.ggml.token_type']
  return types instanceof Int32Array && types.length === count
    ? Uint8Array.from(types)
    : new Uint8Array(count).fill(PIECE.normal)
}

/** The tokenizer of a GGUF file's metadata, null: it has none. Throws RequestError for a kind that is not known. */
export function ggufTokenizer(metadata: Metadata, path: string): Tokenizer | null {
  const model = metadata['tokenizer.ggml.model']
  if (model === undefined || model === 'none' || model === 'no_vocab') return null
  if (model === 'llama') return scored(metadata, path)
  if (model === 'gpt2') return byteLevel(metadata, path)
  throw new RequestError(`'${path}' has a vocabulary of kind '${String(model).slice(0, 50)}', expected llama or gpt2`)
}

/** Opens the tokenizer of a .gguf file. */
export async function openGgufTokenizer(path: string): Promise<Tokenizer> {
  const file = openGguf(path)
  file.close()
  const tokenizer = ggufTokenizer(file.metadata, path)
  if (!tokenizer) throw new RequestError(`'${path}' holds no vocabulary`)
  return tokenizer
}

/** SentencePiece BPE: pieces, scores, kinds. */
function scored(metadata: Metadata, path: string): Tokenizer {
  const texts = strings(metadata, 'tokenizer.ggml.tokens', path)
  const scores = metadata['tokenizer.ggml.scores']
  if (!(scores instanceof Float32Array) || scores.length !== texts.length)
    throw new RequestError(`'${path}' has no score for each of ${texts.length} tokens`)
  const types = tokenTypes(metadata, texts.length)
  const unknown = numberOf(metadata['tokenizer.ggml.unknown_token_id']) ?? types.indexOf(PIECE.unknown)
  const pieces: Pieces = { model: 'bpe', texts, scores, types, unknown }
  const bos = numberOf(metadata['tokenizer.ggml.bos_token_id']) ?? 1
  const eos = numberOf(metadata['tokenizer.ggml.eos_token_id']) ?? 2
  const addPrefix = flagOf(metadata['tokenizer.ggml.add_space_prefix'], true)
  const options = { addPrefix, removeExtraSpaces: false, unknownText: ' \u2047 ' }
  const file = { name: 'tokenizer.model', bytes: () => writeSentencepiece({ ...options, pieces, bos, eos }) }
  return pieceTokenizer('gguf', pieces, {
    ...options,
    bos,
    eos,
    addBos: flagOf(metadata['tokenizer.ggml.add_bos_token'], true),
    file,
  })
}

/** Byte-level BPE: tokens, merges, and the name of how words are cut. */
function byteLevel(metadata: Metadata, path: string): Tokenizer {
  const tokens = strings(metadata, 'tokenizer.ggml.tokens', path)
  const types = tokenTypes(metadata, tokens.length)
  const pre = metadata['tokenizer.ggml.pre'] ?? 'default'
  const patterns = Object.hasOwn(PRE_TOKENIZERS, String(pre)) ? PRE_TOKENIZERS[String(pre)] : undefined
  if (!patterns)
    throw new RequestError(
      `'${path}' cuts words as '${String(pre).slice(0, 50)}', expected one of ${Object.keys(PRE_TOKENIZERS).join(', ')}`,
    )
  const bos = numberOf(metadata['tokenizer.ggml.bos_token_id'])
  const eos = numberOf(metadata['tokenizer.ggml.eos_token_id'])
  const specials = tokens.flatMap((text, id) => {
    if (types[id] !== PIECE.control && types[id] !== PIECE.user && id !== bos && id !== eos) return []
    return [{ id, text, plain: types[id] === PIECE.user }]
  })
  const addBos = flagOf(metadata['tokenizer.ggml.add_bos_token'], false)
  const json = byteLevelJson({
    vocab: Object.fromEntries(tokens.map((text, id) => [text, id])),
    merges: strings(metadata, 'tokenizer.ggml.merges', path),
    specials,
    patterns,
    first: addBos && bos !== null && tokens[bos] !== undefined ? [{ id: bos, text: tokens[bos] }] : [],
    ignoreMerges: WHOLE_WORDS.has(String(pre)),
  })
  return { ...fromJson(json, dirname(path), path, { bos, eos }), kind: 'gguf', vocab: tokens.length }
}
