// The smallest vocabulary: a token is a byte, and one more separates documents. Nothing is trained or unknown.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Tokenizer } from './tokenizer.ts'

/** The token that stands between documents in vocabularies that Bitlaw makes. */
export const SEPARATOR = '<|endoftext|>'

/** The printable character by which a byte-level tokenizer.json names each byte: itself where it has a glyph, else one from U+0100 on. */
export function byteCharacters(): string[] {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++))
}

/** What a byte-level tokenizer.json looks like; `vocab` names tokens by byteCharacters, `merges` are pairs in the order they are applied. */
export function byteLevelJson(vocab: Record<string, number>, merges: readonly (readonly [string, string])[]): string {
  const separator = vocab[SEPARATOR]
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: separator,
        content: SEPARATOR,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  })
}

/** tokenizer_config.json beside it: which class of transformers reads it, and that the separator begins and ends texts. */
export function byteLevelConfig(): string {
  return JSON.stringify(
    {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: SEPARATOR,
      eos_token: SEPARATOR,
      clean_up_tokenization_spaces: false,
    },
    null,
    1,
  )
}

/** Ids 0 to 255 are bytes of UTF-8, 256 separates documents; `save` writes a tokenizer.json that gives the same ids. */
export function bytesTokenizer(): Tokenizer {
  const encodeOne = (text: string): Int32Array => {
    const parts = text.split(SEPARATOR).map(part => Buffer.from(part, 'utf8'))
    const ids = new Int32Array(parts.reduce((sum, part) => sum + part.length, parts.length - 1))
    let at = 0
    for (const [i, part] of parts.entries()) {
      if (i > 0) ids[at++] = 256
      ids.set(part, at)
      at += part.length
    }
    return ids
  }
  return {
    kind: 'bytes',
    vocab: 257,
    bos: 256,
    eos: 256,
    encode: async text => encodeOne(text),
    encodeBatch: async texts => texts.map(encodeOne),
    async decode(ids, { skipSpecial = false } = {}) {
      const pieces: string[] = []
      let bytes: number[] = []
      for (let i = 0; i <= ids.length; i++) {
        if (i < ids.length && ids[i] < 256) {
          bytes.push(ids[i])
          continue
        }
        pieces.push(Buffer.from(bytes).toString('utf8'))
        if (i < ids.length && !skipSpecial) pieces.push(SEPARATOR)
        bytes = []
      }
      return pieces.join('')
    },
    async save(folder) {
      const vocab = Object.fromEntries([...byteCharacters().entries()].map(([byte, character]) => [character, byte]))
      await writeFile(join(folder, 'tokenizer.json'), byteLevelJson({ ...vocab, [SEPARATOR]: 256 }, []))
      await writeFile(join(folder, 'tokenizer_config.json'), byteLevelConfig())
    },
  }
}
