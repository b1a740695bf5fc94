// Text tokenized a second: `encodeBatch` of the tokenizers package beside Bitlaw's on the same texts, and a corpus
// streamed from its files into shards on disk. A share is of the package's own speed in the same minute.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import v8 from 'node:v8'
import vm from 'node:vm'
import { tokenizerTraits } from '../src/text/cache.ts'
import { loadDocuments } from '../src/text/corpus.ts'
import { cutText } from '../src/text/cut.ts'
import { scanDocuments, tokenizeCorpus } from '../src/text/shards.ts'
import { openTokenizer, type Tokenizer } from '../src/text/tokenizer.ts'
import type { BenchOptions, BenchResult } from './main.ts'

const shared = resolve(process.env['BITLAW_SHARED'] ?? '../shared')

v8.setFlagsFromString('--expose-gc')
const collectGarbage = vm.runInNewContext('gc') as () => void

/** Least seconds of each kind of work over some rounds, in which they take turns. Each pays for the garbage that it leaves (the package's encodings are freed only then, about as slowly as they are made), not for that of the one before. */
async function leastSeconds<K extends string>(
  rounds: number,
  works: Record<K, () => Promise<unknown>>,
): Promise<Record<K, number>> {
  const least = {} as Record<K, number>
  for (let round = 0; round < rounds; round++)
    for (const [kind, work] of Object.entries(works) as [K, () => Promise<unknown>][]) {
      collectGarbage()
      const start = performance.now()
      await work()
      collectGarbage()
      least[kind] = Math.min(least[kind] ?? Number.POSITIVE_INFINITY, (performance.now() - start) / 1000)
    }
  return least
}

/** The package's tokenizer from the same definition as ours, nothing added. */
function libraryOf(tokenizer: Tokenizer) {
  const { Tokenizer: Library } = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers')
  const library = Library.fromString(tokenizer.json!)
  library.disablePadding()
  library.disableTruncation()
  return library
}

/** `--corpus FOLDER --tokenizers gpt2,llama --texts 2048 --repeats 3`: texts of about so many characters */
export async function run(options: BenchOptions): Promise<BenchResult> {
  const corpus = resolve(options.corpus ?? join(shared, 'corpora', 'books', 'train'))
  const folder = join(shared, 'tokenizers')
  const names =
    options.tokenizers?.split(',') ??
    (existsSync(folder) ? readdirSync(folder).filter(name => statSync(join(folder, name)).isDirectory()) : [])
  const repeats = Number(options.repeats ?? 3)
  const documents = await scanDocuments(corpus)
  const texts: string[] = []
  for await (const { text } of loadDocuments(corpus))
    texts.push(...cutText(text, Number(options.texts ?? 2048), 'before-space'))
  const megabytes = documents.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6
  const rows: Record<string, string | number>[] = []
  for (const name of names) {
    const path = join(folder, name)
    if (!existsSync(path)) continue
    const json = readdirSync(path).find(file => file.endsWith('tokenizer.json'))
    const tokenizer = await openTokenizer(json === undefined ? path : join(path, json))
    const library = libraryOf(tokenizer)
    const plain = () => library.encodeBatch(texts, { addSpecialTokens: false })
    const traits = await tokenizerTraits(tokenizer)
    await plain()
    const { encodings, ids, ours, streamed } = await leastSeconds(repeats, {
      encodings: plain,
      ids: async () => (await plain()).map(encoding => encoding.getIds()),
      ours: () => tokenizer.encodeBatch(texts),
      async streamed() {
        const cache = mkdtempSync(join(tmpdir(), 'bitlaw-tokenize-'))
        try {
          await tokenizeCorpus(corpus, documents, tokenizer, { cache, traits })
        } finally {
          rmSync(cache, { recursive: true })
        }
      },
    })
    const rate = (time: number) => Number((megabytes / time).toPrecision(3))
    const share = (time: number) => Number((encodings / time).toPrecision(3))
    rows.push({
      tokenizer: name,
      'library MB/s': rate(encodings),
      'library with ids': rate(ids),
      'Bitlaw MB/s': rate(ours),
      share: share(ours),
      'shards MB/s': rate(streamed),
      shardShare: share(streamed),
    })
  }
  return {
    title: `Tokenizing ${megabytes.toFixed(1)} MB in ${texts.length} texts`,
    rows,
    notes: ['The library makes its encodings and no ids; Bitlaw hands out ids. Goal: a share of 0.9.'],
  }
}
