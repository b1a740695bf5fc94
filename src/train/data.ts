// From the `data` part of a run configuration to tokens: documents are split into training and held-out ones, the
// vocabulary is opened or trained (on training documents alone), and both parts become streams of ids.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { printQuantity } from '../table/quantity.ts'
import { trainBpe } from '../text/bpe.ts'
import { byteLevelConfig, bytesTokenizer } from '../text/bytes.ts'
import { cacheFolder, hashOf, tokenizerTraits, writeWhole } from '../text/cache.ts'
import { loadDocuments, sourceName } from '../text/corpus.ts'
import { degradeStream } from '../text/degrade.ts'
import { permutation, randomStream } from '../text/random.ts'
import { type DocumentInfo, openStream, scanDocuments, type TokenStream, tokenizeCorpus } from '../text/shards.ts'
import { openTokenizer, type Tokenizer } from '../text/tokenizer.ts'
import type { DataConfig } from './config.ts'

/** What a run trains on and is scored on. */
export interface TrainingData {
  tokenizer: Tokenizer
  train: TokenStream
  valid: TokenStream
  /** Documents and bytes of text in each part. */
  documents: { train: number; valid: number }
  bytes: { train: number; valid: number }
  /** A short name of the training corpus. */
  corpus: string
  /** Hash of the documents of both parts and of the vocabulary. */
  key: string
  /** What the reader of a result should know: documents that were left out of training, a vocabulary that came out smaller. */
  notices: string[]
}

/** Random numbers of the split are drawn under this name. */
const SPLIT = 1

/** Numbers of the documents that are held out: a share by the seed, at least one, never all. */
export function holdOut(count: number, share: number, seed: number): Set<number> {
  if (count < 2)
    throw new RequestError(
      `data.valid holds out a share of documents, but data.train has ${count}, expected at least 2 or a source of its own`,
    )
  const held = Math.min(count - 1, Math.max(1, Math.round(share * count)))
  return new Set(permutation(count, randomStream(seed, SPLIT)).subarray(0, held))
}

/** The training documents' own BPE vocabulary, from the cache where it is there. */
async function openBpe(
  vocab: number,
  documents: readonly DocumentInfo[],
  chosen: ReadonlySet<number>,
  source: DataConfig['train'],
  cache: string,
): Promise<Tokenizer> {
  const hashes = [...chosen].map(i => documents[i].hash).sort()
  const folder = join(cache, 'vocabularies', hashOf('bpe 1', vocab, ...hashes))
  const path = join(folder, 'tokenizer.json')
  if (!existsSync(path)) {
    const trainingDocuments = async function* () {
      let i = 0
      for await (const document of loadDocuments(source)) if (chosen.has(i++)) yield document
    }
    const { json } = await trainBpe(trainingDocuments(), vocab)
    await writeWhole(join(folder, 'tokenizer_config.json'), byteLevelConfig())
    await writeWhole(path, json)
  }
  return openTokenizer(path)
}

/** Where the cache is, and who hears of notices and of long work that begins. */
export interface DataOptions {
  cache?: string | undefined
  onNotice?: ((text: string) => void) | undefined
  /** Stops the preparation with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** Splits, tokenizes (or finds both in the cache) and opens the data of a run. */
export async function openData(
  data: DataConfig,
  seed: number,
  { cache = cacheFolder(), onNotice = () => {}, signal }: DataOptions = {},
): Promise<TrainingData> {
  const notices: string[] = []
  const documents = await scanDocuments(data.train)
  if (documents.length === 0) throw new RequestError(`data.train '${data.train}' holds no text`)
  const separate =
    typeof data.valid === 'string' || Array.isArray(data.valid) ? (data.valid as string | string[]) : undefined
  const heldDocuments = separate === undefined ? documents : await scanDocuments(separate)
  if (heldDocuments.length === 0) throw new RequestError(`data.valid '${data.valid}' holds no text`)
  const held =
    separate === undefined
      ? holdOut(documents.length, (data.valid as { share: number }).share, seed)
      : new Set(heldDocuments.keys())
  // What is held out is never trained on, in whichever file it stands.
  const heldHashes = new Set([...held].map(i => heldDocuments[i].hash))
  const chosen = new Set([...documents.keys()].filter(i => !heldHashes.has(documents[i].hash)))
  const repeated = documents.length - chosen.size - (separate === undefined ? held.size : 0)
  if (repeated > 0)
    notices.push(`${repeated} of ${documents.length} training documents are held out too and were left out of training`)
  if (chosen.size === 0) throw new RequestError(`data.train '${data.train}' holds only documents that are held out`)

  let tokenizer: Tokenizer
  if (typeof data.tokenizer === 'string') tokenizer = await openTokenizer(data.tokenizer)
  else if (data.tokenizer.kind === 'bytes') tokenizer = bytesTokenizer()
  else {
    tokenizer = await openBpe(data.tokenizer.vocab, documents, chosen, data.train, cache)
    if (tokenizer.vocab < data.tokenizer.vocab)
      notices.push(
        `the training text gives a vocabulary of ${tokenizer.vocab} tokens, not ${data.tokenizer.vocab}: no further pair occurs twice`,
      )
  }
  for (const notice of notices) onNotice(notice)

  const onStart = (bytes: number) =>
    onNotice(`tokenizing ${printQuantity(bytes)}B of text; the tokens are kept in '${cache}'`)
  const traits = await tokenizerTraits(tokenizer)
  const options = { cache, traits, onStart, signal }
  const shard = await tokenizeCorpus(data.train, documents, tokenizer, options)
  const heldShard = separate === undefined ? shard : await tokenizeCorpus(separate, heldDocuments, tokenizer, options)
  const bytes = (list: readonly DocumentInfo[], numbers: ReadonlySet<number>) =>
    [...numbers].reduce((sum, i) => sum + list[i].bytes, 0)
  const heldInOrder = [...held].sort((a, b) => a - b)
  return {
    tokenizer,
    train: degradeStream(openStream(shard, [...chosen]), data.degrade ?? 0, seed),
    valid: openStream(heldShard, heldInOrder),
    documents: { train: chosen.size, valid: held.size },
    bytes: { train: bytes(documents, chosen), valid: bytes(heldDocuments, held) },
    corpus: sourceName(data.train),
    key: hashOf(
      traits.key,
      ...[...chosen].map(i => documents[i].hash),
      'valid',
      ...heldInOrder.map(i => heldDocuments[i].hash),
      ...(data.degrade ? ['degrade', data.degrade, seed] : []),
    ),
    notices,
  }
}
