// llama2.c's tokenizer files (tokenizer.bin, tok512.bin): the longest piece's length, then score, length and bytes of each piece.
// They hold a SentencePiece BPE: spaces as spaces, ids 0 to 2 are unknown, bos and eos, the next 256 the bytes.
import { readFileSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'
import { PIECE, type Pieces } from './pieces.ts'
import { pieceTokenizer, writeSentencepiece } from './sentencepiece.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Reads the pieces; throws RequestError where the file is cut off or is none. */
export function readLlama2cPieces(bytes: Uint8Array, path: string): Pieces {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const texts: string[] = []
  const scores: number[] = []
  let at = 4
  while (at < bytes.length) {
    const length = at + 8 <= bytes.length ? view.getInt32(at + 4, true) : -1
    if (length < 0 || length > bytes.length - at - 8)
      throw new RequestError(`'${path}' is no llama2.c tokenizer: piece ${texts.length} is cut off`)
    scores.push(view.getFloat32(at, true))
    texts.push(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(at + 8, at + 8 + length)))
    at += 8 + length
  }
  if (texts.length < 3 || at !== bytes.length) throw new RequestError(`'${path}' is no llama2.c tokenizer`)
  const types = Uint8Array.from(texts, (text, id) => {
    if (id < 3) return id === 0 ? PIECE.unknown : PIECE.control
    return /^<0x[0-9A-F]{2}>$/.test(text) ? PIECE.byte : PIECE.normal
  })
  // llama2.c prints line ends around <s> and </s>, which belong to no piece.
  const spelled = texts.map((text, id) => (id < 3 ? text.trim() : text.replaceAll(' ', '\u2581')))
  return { model: 'bpe', texts: spelled, scores: Float32Array.from(scores), types, unknown: 0 }
}

/** Opens a llama2.c tokenizer. */
export async function openLlama2cTokenizer(path: string): Promise<Tokenizer> {
  const bytes = readFileSync(path)
  const pieces = readLlama2cPieces(bytes, path)
  const options = { addPrefix: true, removeExtraSpaces: false, unknownText: ' \u2047 ', bos: 1, eos: 2 }
  const file = { name: 'tokenizer.model', bytes: () => writeSentencepiece({ ...options, pieces }) }
  return pieceTokenizer('llama2c', pieces, { ...options, file })
}
