// llama.cpp's importance matrices (imatrix .dat and .gguf): for each linear the mean square of every input dimension on calibration
// text, under llama.cpp's tensor names. Files hold sums (means times counts), so that they can be added up.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { openBytes } from '../checkpoint/bytes.ts'
import { openGguf } from '../checkpoint/gguf.ts'
import { text, texts, u32, writeGguf } from '../checkpoint/gguf-write.ts'
import { widen } from '../checkpoint/numbers.ts'
import { RequestError } from '../formats/index.ts'
import type { ModelConfig } from '../model/config.ts'
import { joinsQkv } from '../model/families/gguf.ts'

/** One tensor's entry: mean squares of its input dimensions, and how many chunks they come from. */
export interface Importance {
  calls: number
  means: Float32Array
}

/** Names of llama.cpp for canonical linears. */
const GGUF_PARTS: Readonly<Record<string, string>> = {
  q: 'attn_q', k: 'attn_k', v: 'attn_v', o: 'attn_output', gate: 'ffn_gate', up: 'ffn_up', down: 'ffn_down',
} // biome-ignore format: a table

/** `layers.3.down.weight` as llama.cpp has it (`blk.3.ffn_down.weight`), q, k and v where they are one matrix as `attn_qkv`; undefined for other tensors. */
export function imatrixName(name: string, config?: ModelConfig): string | undefined {
  if (name === 'head.weight') return 'output.weight'
  const match = /^layers\.(\d+)\.(\w+)\.weight$/.exec(name)
  const part = match && GGUF_PARTS[match[2]]
  if (!part) return undefined
  const fused = config && 'qkv'.includes(match[2]) && joinsQkv(config)
  return `blk.${match[1]}.${fused ? 'attn_qkv' : part}.weight`
}

/** Importance of the input dimensions of a canonical tensor; undefined where a file has none for it. */
export function importanceOf(
  entries: ReadonlyMap<string, Importance>,
  { name, shape }: { name: string; shape: readonly number[] },
): Float32Array | undefined {
  const plain = imatrixName(name) ?? ''
  const found = entries.get(plain) ?? entries.get(plain.replace(/attn_[qkv]\./, 'attn_qkv.'))
  if (found && found.means.length !== shape[1])
    throw new RequestError(
      `the importance matrix has ${found.means.length} input dimensions for '${plain}', the model ${shape[1]}`,
    )
  return found?.means
}

/** An importance matrix: entries by llama.cpp's names, and where they come from. */
export interface ImportanceMatrix {
  entries: Map<string, Importance>
  chunks: number
  /** Tokens a chunk, where the file says so. */
  chunkSize?: number
  dataset: string
}

/** Reads an imatrix file, of the older binary kind or GGUF; throws RequestError where the bytes are none. */
export function readImatrix(path: string): ImportanceMatrix {
  const file = openBytes(path)
  const isGguf = file.size >= 4 && Buffer.from(file.read(0, 4)).toString('latin1') === 'GGUF'
  file.close()
  return isGguf ? readGgufImatrix(path) : readBinaryImatrix(path)
}

/** The GGUF kind: sums of squares and counts of tokens, a tensor each. */
function readGgufImatrix(path: string): ImportanceMatrix {
  const file = openGguf(path)
  try {
    const entries = new Map<string, Importance>()
    const chunkSize = Number(file.metadata['imatrix.chunk_size'] ?? 0)
    const floats = (name: string) => widen(file.read(name), file.info(name).dtype, file.info(name).shape)
    for (const name of file.names) {
      if (!name.endsWith('.in_sum2')) continue
      const tensor = name.slice(0, -'.in_sum2'.length)
      if (!file.has(`${tensor}.counts`)) throw new RequestError(`'${path}' has no counts for '${tensor.slice(0, 100)}'`)
      const counts = floats(`${tensor}.counts`)
      // A matrix for each expert: no model that Bitlaw computes has them.
      if (counts.length !== 1) continue
      const sums = floats(name)
      const calls = chunkSize > 0 ? Math.round(counts[0] / chunkSize) : counts[0]
      entries.set(tensor, { calls, means: counts[0] > 0 ? sums.map(x => x / counts[0]) : sums.slice() })
    }
    if (entries.size === 0) throw new RequestError(`'${path}' is no importance matrix: it has no '….in_sum2'`)
    const datasets = file.metadata['imatrix.datasets']
    return {
      entries,
      chunks: Number(file.metadata['imatrix.chunk_count'] ?? 0),
      ...(chunkSize > 0 && { chunkSize }),
      dataset: Array.isArray(datasets) ? datasets.map(String).join(', ') : '',
    }
  } finally {
    file.close()
  }
}

/** The older kind: counts and strings one behind the other. */
function readBinaryImatrix(path: string): ImportanceMatrix {
  const bytes = readFileSync(path)
  let at = 0
  const take = (length: number) => {
    if (length < 0 || at + length > bytes.length)
      throw new RequestError(`'${path}' is no importance matrix: it ends at byte ${bytes.length}`)
    at += length
    return bytes.subarray(at - length, at)
  }
  const int = () => take(4).readInt32LE(0)
  const entries = new Map<string, Importance>()
  const count = int()
  if (count < 1 || count > 1e6) throw new RequestError(`'${path}' is no importance matrix: it claims ${count} entries`)
  for (let i = 0; i < count; i++) {
    const name = take(int()).toString('utf8')
    const calls = int()
    const length = int()
    if (length < 1) throw new RequestError(`'${path}' has ${length} values for '${name.slice(0, 100)}'`)
    const raw = new Uint8Array(take(4 * length))
    const sums = new Float32Array(raw.buffer, raw.byteOffset, length)
    entries.set(name, { calls, means: calls > 0 ? sums.map(x => x / calls) : sums.slice() })
  }
  const chunks = at < bytes.length ? int() : 0
  const dataset = at < bytes.length ? take(int()).toString('utf8') : ''
  return { entries, chunks, dataset }
}

/** Writes an imatrix file that llama-quantize reads: GGUF where its name ends in .gguf, else of the older kind. */
export function writeImatrix(path: string, matrix: ImportanceMatrix): void {
  if (path.endsWith('.gguf')) writeGgufImatrix(path, matrix)
  else writeBinaryImatrix(path, matrix)
}

function writeGgufImatrix(path: string, { entries, chunks, chunkSize = 1, dataset }: ImportanceMatrix): void {
  const tensors = [...entries].flatMap(([name, { calls, means }]) => {
    const count = calls * chunkSize
    return [
      { name: `${name}.in_sum2`, dtype: 'F32', shape: [1, means.length], data: () => means.map(x => x * count) },
      { name: `${name}.counts`, dtype: 'F32', shape: [1, 1], data: () => Float32Array.of(count) },
    ]
  })
  const metadata = {
    'general.type': text('imatrix'),
    'imatrix.datasets': texts([dataset]),
    'imatrix.chunk_count': u32(chunks),
    'imatrix.chunk_size': u32(chunkSize),
  }
  const temporary = `${path}.${process.pid}.part`
  writeGguf(temporary, metadata, tensors)
  renameSync(temporary, path)
}

function writeBinaryImatrix(path: string, { entries, chunks, dataset }: ImportanceMatrix): void {
  const parts: Buffer[] = []
  const int = (value: number) => {
    const buffer = Buffer.alloc(4)
    buffer.writeInt32LE(value)
    parts.push(buffer)
  }
  const string = (value: string) => {
    const encoded = Buffer.from(value, 'utf8')
    int(encoded.length)
    parts.push(encoded)
  }
  int(entries.size)
  for (const [name, { calls, means }] of entries) {
    string(name)
    int(calls)
    int(means.length)
    parts.push(Buffer.from(means.map(x => x * calls).buffer))
  }
  int(chunks)
  string(dataset)
  const temporary = `${path}.${process.pid}.part`
  writeFileSync(temporary, Buffer.concat(parts))
  renameSync(temporary, path)
}
