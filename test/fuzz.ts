// `npm run fuzz [files] [seed]`: mutates small checkpoints, tokenizers and configurations 100,000 times and opens each.
// A file may be read or refused with an Error; a slip of ours (TypeError, RangeError), a slow file or a large allocation fails the run.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openGguf } from '../src/checkpoint/gguf.ts'
import { openLlama2c } from '../src/checkpoint/llama2c.ts'
import { openPickle } from '../src/checkpoint/pickle.ts'
import { openSafetensors } from '../src/checkpoint/safetensors.ts'
import type { TensorFile } from '../src/checkpoint/tensors.ts'
import {
  sampleArchive,
  sampleGguf,
  sampleLlama2c,
  sampleOldPickle,
  sampleSafetensors,
} from '../src/checkpoint/testing.ts'
import { tensorPlaces } from '../src/model/families/family.ts'
import { parseConfig } from '../src/model/families/index.ts'
import { ggufTokenizer } from '../src/text/gguf-vocabulary.ts'
import { readLlama2cPieces } from '../src/text/llama2c.ts'
import { createPieceEncoder } from '../src/text/pieces.ts'
import { readSentencepiece, writeSentencepiece } from '../src/text/sentencepiece.ts'

/** The longest that one file may take, in milliseconds of the processor. */
const SLOWEST = 2000

/** The most bytes that the process may grow by. */
const LARGEST = 1.5e9

const files = Number(process.argv[2] ?? 100_000)
let state = Number(process.argv[3] ?? 1)

/** Whole random numbers below n, the same for the same seed. */
function random(n: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}

const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x22, 0x2c, 0x30, 0x39, 0x5b, 0x5d, 0x7b, 0x7d]

/** One to four changes: bytes, runs, 32- and 64-bit extremes, cuts, insertions, copies. */
function mutate(original: Uint8Array): Uint8Array {
  let bytes = original.slice()
  for (let changes = 1 + random(4); changes > 0 && bytes.length > 8; changes--) {
    const at = random(bytes.length)
    const view = new DataView(bytes.buffer)
    switch (random(7)) {
      case 0:
        bytes[at] = INTERESTING[random(INTERESTING.length)]
        break
      case 1:
        bytes[at] ^= 1 << random(8)
        break
      case 2:
        bytes.fill(INTERESTING[random(INTERESTING.length)], at, at + random(16))
        break
      case 3:
        if (at + 8 <= bytes.length)
          view.setBigUint64(at, [0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n][random(7)], true)
        break
      case 4:
        bytes = bytes.slice(0, at)
        break
      case 5:
        bytes = Uint8Array.from([
          ...bytes.subarray(0, at),
          ...bytes.subarray(random(bytes.length)).subarray(0, random(32)),
          ...bytes.subarray(at),
        ])
        break
      default:
        bytes.copyWithin(at, random(bytes.length), random(bytes.length))
    }
  }
  return bytes
}

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-fuzz-'))
const path = join(folder, 'file')

/** Opens a file of tensors and reads them all. */
const tensors = (open: (path: string) => TensorFile) => (bytes: Uint8Array) => {
  writeFileSync(path, bytes)
  const file = open(path)
  try {
    for (const name of file.names) file.read(name)
  } finally {
    file.close()
  }
}

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 10,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 16,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  rope_scaling: {
    rope_type: 'llama3',
    factor: 4,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8,
  },
  tie_word_embeddings: true,
}

const pieces = {
  model: 'bpe' as const,
  texts: ['<unk>', '<s>', '</s>', 'a', 'b', 'ab'],
  scores: Float32Array.of(0, 0, 0, -1, -2, -3),
  types: Uint8Array.of(2, 3, 3, 1, 1, 1),
  unknown: 0,
}
const llama2cVocabulary = Uint8Array.from([
  4,
  0,
  0,
  0,
  ...['<unk>', '<s>', '</s>', 'ab'].flatMap(text => [
    0,
    0,
    0,
    0,
    text.length,
    0,
    0,
    0,
    ...new TextEncoder().encode(text),
  ]),
])

/** What is mutated, and what opens it. */
const TARGETS: [string, Uint8Array, (bytes: Uint8Array) => void][] = [
  ['safetensors', sampleSafetensors(), tensors(openSafetensors)],
  ['gguf', sampleGguf(), tensors(openGguf)],
  ['archive', sampleArchive(), tensors(openPickle)],
  ['pickle', sampleOldPickle(), tensors(openPickle)],
  ['llama2c', sampleLlama2c(), tensors(openLlama2c)],
  ['config', new TextEncoder().encode(JSON.stringify(config)), bytes => {
    const parsed = parseConfig(JSON.parse(new TextDecoder().decode(bytes)))
    if (parsed.config.layers < 1000) tensorPlaces(parsed.config, parsed.family.tensors(parsed.config))
  }],
  ['sentencepiece', writeSentencepiece({ pieces, bos: 1, eos: 2, addPrefix: true, removeExtraSpaces: false, unknownText: '?' }), bytes => {
    createPieceEncoder(readSentencepiece(bytes, path).pieces)('\u2581abba')
  }],
  ['llama2c vocabulary', llama2cVocabulary, bytes => {
    createPieceEncoder(readLlama2cPieces(bytes, path))('\u2581abba')
  }],
  ['gguf vocabulary', sampleGguf(), bytes => {
    writeFileSync(path, bytes)
    const file = openGguf(path)
    file.close()
    ggufTokenizer({ 'tokenizer.ggml.model': 'llama', ...file.metadata }, path)
  }],
] // biome-ignore format: a table

const counts = { read: 0, refused: 0 }
const base = process.memoryUsage().rss
let slowest = 0
for (let i = 0; i < files; i++) {
  const [name, sample, open] = TARGETS[i % TARGETS.length]
  const before = state
  const bytes = mutate(sample)
  const start = process.cpuUsage()
  try {
    open(bytes)
    counts.read++
  } catch (error) {
    const slip =
      !(error instanceof Error) ||
      error instanceof TypeError ||
      error instanceof RangeError ||
      error instanceof ReferenceError
    if (slip) {
      process.stderr.write(`file ${i} (${name}, state ${before}): ${(error as Error)?.stack ?? error}\n`)
      process.exit(1)
    }
    counts.refused++
  }
  const used = process.cpuUsage(start)
  const took = (used.user + used.system) / 1000
  slowest = Math.max(slowest, took)
  const grown = process.memoryUsage.rss() - base
  if (took > SLOWEST || grown > LARGEST) {
    process.stderr.write(
      `file ${i} (${name}, state ${before}) took ${took.toFixed(0)} ms; memory grew by ${(grown / 1e6).toFixed(0)} MB\n`,
    )
    process.stderr.write(`${Buffer.from(bytes).toString('base64')}\n`)
    process.exit(1)
  }
}
rmSync(folder, { recursive: true })
process.stdout.write(
  `${files} files: ${counts.read} read, ${counts.refused} refused, none failed; the slowest took ${slowest.toFixed(0)} ms\n`,
)
