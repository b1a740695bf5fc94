// The tokens on which a study scores and calibrates: pieces spread evenly over the held-out (or the training) documents,
// the same for every format of a checkpoint.
import type { TokenizedText } from '../evaluate/loss.ts'
import { RequestError } from '../formats/error.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Calibration } from '../quantize/calibration.ts'
import { loadDocuments } from '../text/corpus.ts'
import { joinIds } from '../text/cut.ts'
import type { TokenStream } from '../text/shards.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { type DataConfig, dataSchema } from '../train/config.ts'
import { holdOut, openData } from '../train/data.ts'
import { keyOf } from './key.ts'

/** Pieces of text that a score is made of: each begins without context, so there are few. */
const PIECES = 8
/** Characters a token at most, on average; texts are cut there before they are tokenized. */
const CHARACTERS = 6
const CALIBRATION_TOKENS = 65_536

/** Both parts of a study's data, as some model reads them. */
export interface HeldOut {
  /** So many held-out tokens. */
  scored(tokens: number): Promise<TokenizedText>
  /** So many training tokens, in sequences of a length. */
  calibration(tokens: number | undefined, length: number): Promise<Calibration>
  /** At most so many held-out documents, as text. */
  texts(count: number): Promise<string[]>
}

const opened = new Map<string, Promise<HeldOut>>()

/** `count` starts of pieces of `size`, spread evenly over `length`. */
function spread(length: number, size: number, count: number): number[] {
  const last = Math.max(0, length - size)
  return Array.from({ length: count }, (_, i) => (count === 1 ? 0 : Math.floor((i * last) / (count - 1))))
}

function slices(stream: TokenStream, tokens: number, pieces: number): Int32Array {
  const total = Math.min(tokens, stream.length)
  const count = Math.max(1, Math.min(pieces, Math.floor(total / 2)))
  const size = Math.floor(total / count)
  const ids = new Int32Array(size * count)
  for (const [i, start] of spread(stream.length, size, count).entries())
    stream.read(start, ids.subarray(i * size, (i + 1) * size))
  return ids
}

/** The bytes that tokens stand for. */
async function bytesOf(tokenizer: Tokenizer, ids: Int32Array): Promise<number> {
  return Buffer.byteLength(await tokenizer.decode(ids, { skipSpecial: true }))
}

/** Data of a model that was trained here: its own shards. They stay open, for the next checkpoint that needs them. */
function fromShards(data: DataConfig, seed: number): Promise<HeldOut> {
  const drawn = Boolean(data.degrade) || (typeof data.valid === 'object' && 'share' in data.valid)
  const id = keyOf({ data, seed: drawn ? seed : 0 })
  let open = opened.get(id)
  if (!open) {
    open = openShards(data, seed)
    opened.set(id, open)
    open.catch(() => opened.delete(id))
  }
  return open
}

async function openShards(data: DataConfig, seed: number): Promise<HeldOut> {
  const { train, valid, tokenizer } = await openData(data, seed)
  return {
    async scored(tokens) {
      const ids = slices(valid, tokens + 1, PIECES)
      return { ids, start: null, bytes: await bytesOf(tokenizer, ids) }
    },
    async calibration(tokens = CALIBRATION_TOKENS, length) {
      const count = Math.max(1, Math.floor(Math.min(tokens, train.length) / length))
      return { ids: slices(train, count * length, count), length }
    },
    texts: count => someDocuments(data, seed, true, count),
  }
}

/** Texts of a corpus, at most `count` documents of at least something, spread evenly. */
async function someDocuments(data: DataConfig, seed: number, held: boolean, count: number): Promise<string[]> {
  const separate = typeof data.valid === 'string' || Array.isArray(data.valid)
  const source = held && separate ? (data.valid as string | string[]) : data.train
  const names: number[] = []
  let i = 0
  for await (const { text } of loadDocuments(source)) {
    if (text.trim().length > 1) names.push(i)
    i++
  }
  const out = separate ? null : holdOut(i, (data.valid as { share: number }).share, seed)
  const part = out ? names.filter(index => out.has(index) === held) : names
  if (!part.length) throw new RequestError(`the data has no ${held ? 'held-out' : 'training'} document with text`)
  const chosen = new Set(spread(part.length, 1, Math.min(count, part.length)).map(at => part[at]))
  const texts: string[] = []
  i = 0
  for await (const { text } of loadDocuments(source)) if (chosen.has(i++)) texts.push(text)
  return texts
}

/** Data of a model from elsewhere: the documents in its own tokens. */
function fromDocuments(data: DataConfig, seed: number, tokenizer: Tokenizer): HeldOut {
  const pieces = async (held: boolean, tokens: number, count: number) => {
    const texts = await someDocuments(data, seed, held, count)
    const each = Math.ceil(tokens / texts.length)
    const start = tokenizer.bos === null ? [] : [tokenizer.bos]
    const encoded: Int32Array[] = []
    for (const text of texts) {
      const body = await tokenizer.encode(text.slice(0, each * CHARACTERS), { special: false })
      encoded.push(Int32Array.from([...start, ...body.subarray(0, each - start.length)]))
    }
    return joinIds(encoded)
  }
  return {
    async scored(tokens) {
      const ids = await pieces(true, tokens + 1, PIECES)
      return { ids, start: null, bytes: await bytesOf(tokenizer, ids) }
    },
    async calibration(tokens = CALIBRATION_TOKENS, length) {
      const ids = await pieces(false, tokens, 4 * PIECES)
      const whole = Math.floor(ids.length / length) * length
      if (!whole)
        throw new RequestError(
          `the training text has ${ids.length} tokens for calibration, expected at least ${length}`,
        )
      return { ids: ids.subarray(0, whole), length }
    },
    texts: count => someDocuments(data, seed, true, count),
  }
}

/** Opens a study's data for a model. */
export async function openHeldOut(
  raw: unknown,
  seed: number,
  model: LoadedModel,
  trainedHere: boolean,
): Promise<HeldOut> {
  const data = dataSchema.parse(raw)
  if (trainedHere) return fromShards(data, seed)
  if (!model.tokenizer) throw new RequestError(`model '${model.name}' has no tokenizer`)
  return fromDocuments(data, seed, model.tokenizer)
}
