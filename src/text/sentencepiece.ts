// SentencePiece's tokenizer.model: a protobuf message of pieces with scores and of how text is prepared.
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { compileCharsmap } from './charsmap.ts'
import { createPieceEncoder, decodePieces, PIECE, type Pieces, type Preparation, prepareText } from './pieces.ts'
import { bytesField, floatField, messageFields, numberField, textField } from './protobuf.ts'
import type { Tokenizer } from './tokenizer.ts'

/** What a tokenizer.model holds. */
export interface SentencepieceModel {
  pieces: Pieces
  bos: number | null
  eos: number | null
  addPrefix: boolean
  removeExtraSpaces: boolean
  /** Compiled normalization rules, empty: none. */
  rules: Uint8Array
  unknownText: string
}

/** UTF-8 without taking a byte order mark away. */
const decodeText = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)

/** Reads a ModelProto; throws RequestError where it is none or of a kind without scores (word, char). */
export function readSentencepiece(bytes: Uint8Array, path: string): SentencepieceModel {
  const texts: string[] = []
  const scores: number[] = []
  const types: number[] = []
  const trainer = new Map<number, number>()
  const normalizer = new Map<number, number>()
  let rules: Uint8Array = new Uint8Array()
  let unknownText = ' \u2047 '
  for (const { field, content } of messageFields(bytes, path)) {
    if (field === 1 && content) {
      const piece = { text: '', score: 0, type: PIECE.normal as number }
      for (const inner of messageFields(content, path)) {
        if (inner.field === 1 && inner.content) piece.text = decodeText(inner.content)
        if (inner.field === 2 && inner.content)
          piece.score = new DataView(inner.content.buffer, inner.content.byteOffset).getFloat32(0, true)
        if (inner.field === 3) piece.type = inner.number
      }
      texts.push(piece.text)
      scores.push(piece.score)
      types.push(piece.type)
    } else if (field === 2 && content) {
      for (const inner of messageFields(content, path)) {
        if (inner.content === undefined) trainer.set(inner.field, inner.number)
        else if (inner.field === 44) unknownText = decodeText(inner.content)
      }
    } else if (field === 3 && content) {
      for (const inner of messageFields(content, path)) {
        if (inner.content === undefined) normalizer.set(inner.field, inner.number)
        else if (inner.field === 2) rules = inner.content
      }
    }
  }
  if (texts.length === 0) throw new RequestError(`'${path}' holds no pieces, expected a SentencePiece model`)
  const kind = trainer.get(3) ?? 1
  if (kind !== 1 && kind !== 2)
    throw new RequestError(`'${path}' is a SentencePiece model of kind ${kind}, expected 1 (unigram) or 2 (BPE)`)
  if (trainer.get(24) === 1) throw new RequestError(`'${path}' writes spaces behind words, which is not supported`)
  const id = (field: number, fallback: number) => {
    const value = (trainer.get(field) ?? fallback) | 0
    return value >= 0 && value < texts.length ? value : null
  }
  const unknown = types.indexOf(PIECE.unknown)
  return {
    pieces: {
      model: kind === 2 ? 'bpe' : 'unigram',
      texts,
      scores: Float32Array.from(scores),
      types: Uint8Array.from(types),
      unknown,
    },
    bos: id(41, 1),
    eos: id(42, 2),
    addPrefix: normalizer.get(3) !== 0,
    removeExtraSpaces: normalizer.get(4) !== 0,
    rules,
    unknownText,
  }
}

/** What a tokenizer over pieces needs besides them. */
export interface PieceOptions extends Preparation {
  bos: number | null
  eos: number | null
  unknownText: string
  /** Puts bos in front of a text by default. */
  addBos?: boolean
  /** What `save` writes. */
  file: { name: string; bytes: () => Uint8Array }
}

/** A tokenizer over pieces. */
export function pieceTokenizer(kind: string, pieces: Pieces, options: PieceOptions): Tokenizer {
  const { bos, eos, unknownText, addBos = true, file, ...preparation } = options
  const encodePrepared = createPieceEncoder(pieces)
  const encodeOne = (text: string, special: boolean) => {
    const ids = encodePrepared(prepareText(text, preparation))
    if (!special || !addBos || bos === null) return ids
    const joined = new Int32Array(ids.length + 1)
    joined[0] = bos
    joined.set(ids, 1)
    return joined
  }
  const { addPrefix, removeExtraSpaces } = preparation
  const spelling = { dropPrefix: addPrefix || removeExtraSpaces, dropAll: removeExtraSpaces, unknownText }
  return {
    kind,
    vocab: pieces.texts.length,
    bos,
    eos,
    pieces,
    encode: async (text, { special = false } = {}) => encodeOne(text, special),
    encodeBatch: async (texts, { special = false } = {}) => texts.map(text => encodeOne(text, special)),
    decode: async ids => decodePieces(pieces, ids, spelling),
    async save(folder) {
      await writeFile(join(folder, file.name), file.bytes())
      const named = (id: number | null) => (id === null ? null : (pieces.texts[id] ?? null))
      const config = {
        ...{ tokenizer_class: 'LlamaTokenizer', add_bos_token: addBos, add_eos_token: false, legacy: false },
        ...{ bos_token: named(bos), eos_token: named(eos), unk_token: named(pieces.unknown) },
      }
      await writeFile(join(folder, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`)
    },
  }
}

/** Opens a SentencePiece tokenizer.model (BPE or unigram). */
export async function openSentencepiece(path: string): Promise<Tokenizer> {
  const bytes = readFileSync(path)
  const { pieces, rules, ...rest } = readSentencepiece(bytes, path)
  const normalize = rules.length > 0 ? compileCharsmap(rules, path) : undefined
  const file = { name: 'tokenizer.model', bytes: () => bytes }
  return pieceTokenizer('sentencepiece', pieces, { ...rest, ...(normalize && { normalize }), file })
}

/** A ModelProto of pieces, so that SentencePiece itself and transformers open what came from another file. */
export function writeSentencepiece({
  pieces,
  bos,
  eos,
  addPrefix,
  removeExtraSpaces,
  unknownText,
}: Omit<SentencepieceModel, 'rules'>): Uint8Array {
  const hasBytes = pieces.types.includes(PIECE.byte) ? 1 : 0
  const messages = pieces.texts.map((text, id) =>
    bytesField(1, [...textField(1, text), ...floatField(2, pieces.scores[id]), ...numberField(3, pieces.types[id])]),
  )
  const trainer = [
    ...numberField(3, pieces.model === 'bpe' ? 2 : 1),
    ...numberField(4, pieces.texts.length),
    ...numberField(35, hasBytes),
    ...numberField(40, Math.max(pieces.unknown, 0)),
    ...numberField(41, bos ?? -1),
    ...numberField(42, eos ?? -1),
    ...textField(44, unknownText),
  ]
  const normalizer = [
    ...textField(1, 'identity'),
    ...numberField(3, addPrefix ? 1 : 0),
    ...numberField(4, removeExtraSpaces ? 1 : 0),
    ...numberField(5, 1),
  ]
  return Uint8Array.from([...messages, bytesField(2, trainer), bytesField(3, normalizer)].flat())
}
