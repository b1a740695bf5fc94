// tokenizer.json and vocab.json + merges.txt by Hugging Face's own library, which is native code and runs batches in parallel.
import { existsSync, readFileSync } from 'node:fs'
import { copyFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Tokenizer as Library } from 'tokenizers'
import { RequestError } from '../formats/error.ts'
import type { Tokenizer } from './tokenizer.ts'

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

/** Wraps the library's tokenizer; `folder` holds the files that name bos and eos, `json` is what `save` writes. */
export function wrapLibrary(tokenizer: Library, { folder, json }: { folder: string; json?: string }): Tokenizer {
  return {
    kind: 'huggingface',
    vocab: tokenizer.getVocabSize(true),
    bos: specialId(tokenizer, folder, 'bos'),
    eos: specialId(tokenizer, folder, 'eos'),
    async encode(text, { special = false } = {}) {
      return Int32Array.from((await tokenizer.encode(text, null, { addSpecialTokens: special })).getIds())
    },
    async encodeBatch(texts, { special = false } = {}) {
      if (texts.length === 0) return []
      const encodings = await tokenizer.encodeBatch([...texts], { addSpecialTokens: special })
      return encodings.map(encoding => Int32Array.from(encoding.getIds()))
    },
    decode: (ids, { skipSpecial = false } = {}) => tokenizer.decode(Array.from(ids), skipSpecial),
    async save(target) {
      if (json !== undefined) await writeFile(join(target, 'tokenizer.json'), json)
      else tokenizer.save(join(target, 'tokenizer.json'), true)
      for (const name of COMPANIONS)
        if (existsSync(join(folder, name))) await copyFile(join(folder, name), join(target, name))
    },
  }
}

/** Opens a tokenizer.json; its truncation and padding, which belong to a training set-up, are switched off. */
export async function openHuggingface(path: string): Promise<Tokenizer> {
  const json = readFileSync(path, 'utf8')
  return fromJson(json, dirname(path), path)
}

/** A tokenizer from the text of a tokenizer.json; `name` is what an error calls it. */
export function fromJson(json: string, folder: string, name: string): Tokenizer {
  let tokenizer: Library
  try {
    tokenizer = library().Tokenizer.fromString(json)
  } catch (error) {
    throw new RequestError(`tokenizer '${name}' is not a readable tokenizer.json: ${(error as Error).message}`)
  }
  tokenizer.disablePadding()
  tokenizer.disableTruncation()
  return wrapLibrary(tokenizer, { folder, json })
}

/** Opens GPT-2's pair of files, a byte-level BPE without a prefix space whose special token is <|endoftext|>. */
export async function openGpt2(vocabPath: string, mergesPath: string): Promise<Tokenizer> {
  if (!existsSync(mergesPath)) throw new RequestError(`vocab.json needs '${mergesPath}' beside it`)
  const { Tokenizer, BPE, byteLevelPreTokenizer, byteLevelProcessing, AddedToken } = library()
  const vocab = readJson(vocabPath) as Record<string, number>
  const merges = readFileSync(mergesPath, 'utf8')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#version'))
    .map(line => line.split(' ') as [string, string])
  const tokenizer = new Tokenizer(BPE.init(vocab, merges))
  tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true))
  tokenizer.setPostProcessor(byteLevelProcessing(true))
  tokenizer.addAddedTokens([new AddedToken('<|endoftext|>', true)])
  return wrapLibrary(tokenizer, { folder: dirname(vocabPath) })
}
