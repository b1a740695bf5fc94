// llama.cpp's importance matrices (imatrix .dat): for each linear the mean square of every input dimension on calibration
// text, under llama.cpp's tensor names. The file holds means times calls, so that files can be added up.
import { readFileSync, writeFileSync } from 'node:fs'
import { RequestError } from '../formats/index.ts'

/** One tensor's entry: mean squares of its input dimensions, and how many chunks they come from. */
export interface Importance {
  calls: number
  means: Float32Array
}

/** Names of llama.cpp for canonical linears. */
const GGUF_PARTS: Readonly<Record<string, string>> = {
  q: 'attn_q', k: 'attn_k', v: 'attn_v', o: 'attn_output', gate: 'ffn_gate', up: 'ffn_up', down: 'ffn_down',
} // biome-ignore format: a table

/** `layers.3.down.weight` as llama.cpp has it (`blk.3.ffn_down.weight`); undefined for other tensors. */
export function imatrixName(name: string): string | undefined {
  const match = /^layers\.(\d+)\.(\w+)\.weight$/.exec(name)
  const part = match && GGUF_PARTS[match[2]]
  return part ? `blk.${match[1]}.${part}.weight` : undefined
}

/** Reads an imatrix file; throws RequestError where the bytes are none. */
export function readImatrix(path: string): { entries: Map<string, Importance>; chunks: number; dataset: string } {
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

/** Writes an imatrix file that llama-quantize reads. */
export function writeImatrix(
  path: string,
  entries: ReadonlyMap<string, Importance>,
  { chunks, dataset }: { chunks: number; dataset: string },
): void {
  const parts: Buffer[] = []
  const int = (value: number) => {
    const buffer = Buffer.alloc(4)
    buffer.writeInt32LE(value)
    parts.push(buffer)
  }
  const text = (value: string) => {
    const encoded = Buffer.from(value, 'utf8')
    int(encoded.length)
    parts.push(encoded)
  }
  int(entries.size)
  for (const [name, { calls, means }] of entries) {
    text(name)
    int(calls)
    int(means.length)
    parts.push(Buffer.from(means.map(x => x * calls).buffer))
  }
  int(chunks)
  text(dataset)
  writeFileSync(path, Buffer.concat(parts))
}
