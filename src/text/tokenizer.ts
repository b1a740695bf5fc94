// What a tokenizer is to the rest of Bitlaw, and how one is found in a folder or file.
// Every call is asynchronous, because the library that reads tokenizer.json is: `await` each of them.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import type { Pieces } from './pieces.ts'

/** Text to token ids and back. */
export interface Tokenizer {
  /** What it was read from: `huggingface`, `sentencepiece`, `llama2c`, `gguf`, `bytes`. */
  readonly kind: string
  /** Number of ids, added tokens included. */
  readonly vocab: number
  /** Id of the token that begins a text, null: none. */
  readonly bos: number | null
  /** Id of the token that ends a text, null: none. */
  readonly eos: number | null
  /** Scored pieces, of those that have them: what GGUF stores. */
  readonly pieces?: Pieces
  /** tokenizer.json, of those that are one. */
  readonly json?: string
  /** Ids of a text; with `special`, also the tokens that the tokenizer adds by default (a leading bos). */
  encode(text: string, options?: { special?: boolean }): Promise<Int32Array>
  /** Ids of many texts, in parallel where the tokenizer can. */
  encodeBatch(texts: readonly string[], options?: { special?: boolean }): Promise<Int32Array[]>
  /** Text of ids; special tokens are left out with `skipSpecial`. */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): Promise<string>
  /** Writes the tokenizer's files into a folder of a Hugging Face checkpoint. */
  save(folder: string): Promise<void>
}

/** The tokenizer's file in a folder, by the names that checkpoints use, or undefined. */
export function findTokenizer(folder: string): string | undefined {
  for (const name of ['tokenizer.json', 'tokenizer.model', 'vocab.json'])
    if (existsSync(join(folder, name))) return join(folder, name)
  const names = readdirSync(folder).sort()
  const other =
    names.find(name => /_tokenizer\.json$/.test(name)) ?? names.find(name => /^tok[^/]*\.(model|bin)$/.test(name))
  return other === undefined ? undefined : join(folder, other)
}

/** Opens tokenizer.json, vocab.json (with merges.txt beside it), a SentencePiece .model, llama2.c's tok*.bin, a .gguf file, or a folder that holds one. */
export async function openTokenizer(path: string): Promise<Tokenizer> {
  if (!existsSync(path)) throw new RequestError(`no tokenizer at '${path}'`)
  if (statSync(path).isDirectory()) {
    const file = findTokenizer(path)
    if (file === undefined)
      throw new RequestError(
        `no tokenizer in '${path}', expected tokenizer.json, tokenizer.model, vocab.json with merges.txt, or tok*.bin`,
      )
    return openTokenizer(file)
  }
  const name = basename(path)
  if (name === 'vocab.json') return (await import('./huggingface.ts')).openGpt2(path, join(path, '..', 'merges.txt'))
  if (name.endsWith('.json')) return (await import('./huggingface.ts')).openHuggingface(path)
  if (name.endsWith('.model')) return (await import('./sentencepiece.ts')).openSentencepiece(path)
  if (name.endsWith('.bin')) return (await import('./llama2c.ts')).openLlama2cTokenizer(path)
  if (name.endsWith('.gguf')) return (await import('./gguf-vocabulary.ts')).openGgufTokenizer(path)
  throw new RequestError(`unknown tokenizer file '${path}', expected tokenizer.json, vocab.json, .model, .bin or .gguf`)
}
