// tokenizer.json and vocab.json + merges.txt by Hugging Face's own library, which is native code and runs batches in parallel.
import { existsSync, readFileSync } from 'node:fs'
import { copyFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Tokenizer as Library } from 'tokenizers'
import { RequestError } from '../formats/error.ts'
import type { Tokenizer } from './tokenizer.ts'
import { GPT2_PATTERN } from './words.ts'

const library = () => createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers')

/** Files that stand beside tokenizer.json and name its special tokens. */
const COMPANIONS = ['tokenizer_config.json', 'special_tokens_map.json']

/** A JSON file as an object, or an empty one where it is absent. */
function readJson(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {}
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

/** The text of a token written as a string or as `{ content }`. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = (value as { content?: unknown } | null | undefined)?.content
  return typeof content === 'string' ? content : undefined
}

/** Id of the `bos` or `eos` token: from tokenizer_config.json, else special_tokens_map.json, else (generation_)config.json. */
function specialId(tokenizer: Library, folder: string, role: 'bos' | 'eos'): number | null {
  for (const name of COMPANIONS) {
    const text = tokenText(readJson(join(folder, name))[`${role}_token`])
    const id = text === undefined ? null : tokenizer.tokenToId(text)
    if (id !== null) return id
  }
  for (const name of ['generation_config.json', 'config.json']) {
    const value = readJson(join(folder, name))[`${role}_token_id`]
    const id = Array.isArray(value) ? value[0] : value
    if (typeof id === 'number') return id
  }
  const known =
    role === 'bos'
      ? ['<s>', '<|endoftext|>', '<bos>', '<|begin_of_text|>']
      : ['</s>', '<|endoftext|>', '<eos>', '<|end_of_text|>']
  for (const text of known) {
    const id = tokenizer.tokenToId(text)
    if (id !== null) return id
  }
  return null
}

/** Ids of the tokens that begin and end a text, where they are known otherwise than by the files beside tokenizer.json. */
interface Ends {
  bos: number | null
  eos: number | null
}

/** The library's tokenizer as ours; `folder` holds the files that name bos and eos, `json` is what `save` writes. */
function wrapLibrary(tokenizer: Library, json: string, folder: string, ends?: Ends): Tokenizer {
  const { bos, eos } = ends ?? { bos: specialId(tokenizer, folder, 'bos'), eos: specialId(tokenizer, folder, 'eos') }
  return {
    kind: 'huggingface',
    vocab: tokenizer.getVocabSize(true),
    bos,
    eos,
    json,
    async encode(text, { special = false } = {}) {
      return new Int32Array((await tokenizer.encode(text, null, { addSpecialTokens: special })).getIds())
    },
    async encodeBatch(texts, { special = false } = {}) {
      if (texts.length === 0) return []
      const encodings = await tokenizer.encodeBatch([...texts], { addSpecialTokens: special })
      return encodings.map(encoding => new Int32Array(encoding.getIds()))
    },
    decode: (ids, { skipSpecial = false } = {}) => tokenizer.decode(Array.from(ids), skipSpecial),
    async save(target) {
      await writeFile(join(target, 'tokenizer.json'), json)
      const present = ends ? [] : COMPANIONS.filter(name => existsSync(join(folder, name)))
      for (const name of present) await copyFile(join(folder, name), join(target, name))
      if (present.length > 0) return
      const named = (id: number | null) => (id === null ? null : tokenizer.idToToken(id))
      const config = { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: named(bos), eos_token: named(eos) }
      await writeFile(join(target, COMPANIONS[0]), `${JSON.stringify(config, null, 2)}\n`)
    },
  }
}

/** Opens a tokenizer.json; its truncation and padding, which belong to a training set-up, are switched off. */
export async function openHuggingface(path: string): Promise<Tokenizer> {
  return fromJson(readFileSync(path, 'utf8'), dirname(path), path)
}

/** A tokenizer from the text of a tokenizer.json; `name` is what an error calls it. */
export function fromJson(json: string, folder: string, name: string, ends?: Ends): Tokenizer {
  let tokenizer: Library
  try {
    tokenizer = library().Tokenizer.fromString(json)
  } catch (error) {
    throw new RequestError(`tokenizer '${name}' is not a readable tokenizer.json: ${(error as Error).message}`)
  }
  tokenizer.disablePadding()
  tokenizer.disableTruncation()
  return wrapLibrary(tokenizer, json, folder, ends)
}

/** Opens GPT-2's pair of files, a byte-level BPE without a prefix space; special tokens are <|endoftext|> and those that the files beside it name (OPT: </s> in front of a text). */
export async function openGpt2(vocabPath: string, mergesPath: string): Promise<Tokenizer> {
  if (!existsSync(mergesPath)) throw new RequestError(`vocab.json needs '${mergesPath}' beside it`)
  const folder = dirname(vocabPath)
  const vocab = readJson(vocabPath) as Record<string, number>
  const merges = readFileSync(mergesPath, 'utf8')
    .split(/\r?\n/)
    .filter(line => line !== '' && !line.startsWith('#version'))
  const named = { ...readJson(join(folder, COMPANIONS[1])), ...readJson(join(folder, COMPANIONS[0])) }
  const roles = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'cls_token', 'sep_token', 'mask_token']
  const texts = new Set(['<|endoftext|>', ...roles.map(role => tokenText(named[role]))])
  const specials = [...texts].flatMap(text =>
    text !== undefined && Object.hasOwn(vocab, text) ? [{ id: vocab[text], text }] : [],
  )
  const bos = specials.find(({ text }) => text === tokenText(named['bos_token']))
  const first = named['add_bos_token'] === true && bos ? [bos] : []
  return fromJson(byteLevelJson({ vocab, merges, specials, patterns: [GPT2_PATTERN], first }), folder, vocabPath)
}

/** A byte-level BPE to be written as tokenizer.json. */
export interface ByteLevel {
  vocab: Readonly<Record<string, number>>
  /** `left right`, the best first. */
  merges: readonly string[]
  /** Tokens that are found in a text before anything else; `plain` ones are not special. */
  specials: readonly { id: number; text: string; plain?: boolean }[]
  /** Applied one after the other, each to what the last left; what matches stands alone. */
  patterns: readonly string[]
  /** Ids that are put in front of a text by default. */
  first?: readonly { id: number; text: string }[]
  /** A word that is a token is not built from merges. */
  ignoreMerges?: boolean
}

/** The text of a tokenizer.json for a byte-level BPE. */
export function byteLevelJson({
  vocab,
  merges,
  specials,
  patterns,
  first = [],
  ignoreMerges = false,
}: ByteLevel): string {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  const splits = patterns.map(Regex => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false }))
  const added = specials.map(({ id, text, plain = false }) => ({
    ...{ id, content: text, single_word: false, lstrip: false, rstrip: false, normalized: false, special: !plain },
  }))
  const template = [
    ...first.map(({ text }) => ({ SpecialToken: { id: text, type_id: 0 } })),
    { Sequence: { id: 'A', type_id: 0 } },
  ]
  const tokens = Object.fromEntries(first.map(({ id, text }) => [text, { id: text, ids: [id], tokens: [text] }]))
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, byteLevel] },
    post_processor:
      first.length === 0
        ? byteLevel
        : {
            type: 'TemplateProcessing',
            single: template,
            pair: [...template, { Sequence: { id: 'B', type_id: 0 } }],
            special_tokens: tokens,
          },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: ignoreMerges,
      vocab,
      merges,
    },
  })
}
