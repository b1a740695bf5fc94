// llama2.c's checkpoints: a header of sizes, then float32 tensors in a fixed order, layer after layer of each kind.
// Version 0 has no magic number (7 int32); version 1 begins with 'ak42', and its header has 256 bytes.
import { type ByteFile, openBytes } from './bytes.ts'
import { type TensorFile, type TensorInfo, tensorsAt } from './tensors.ts'

/** Sizes in the header. */
export interface Llama2cSizes {
  width: number
  hidden: number
  layers: number
  heads: number
  kvHeads: number
  vocab: number
  context: number
  /** Without a matrix of its own for the head. */
  tied: boolean
}

/** 'ak42' read as a little-endian number. */
const MAGIC = 0x616b3432

/** Kinds of tensors in the order of the file: name, shape, and whether each layer has one. `freqs` are rotary tables that are passed over. */
function layout(
  { width, hidden, heads, kvHeads, vocab, context, tied }: Llama2cSizes,
  version: number,
): [string, number[], boolean][] {
  const headSize = width / heads
  const kvWidth = headSize * kvHeads
  const norms: [string, number[], boolean][] = [['attention_norm', [width], true], ['ffn_norm', [width], true], ['norm', [width], false]] // biome-ignore format: a table
  const attention: [string, number[], boolean][] = [['wq', [width, width], true], ['wk', [kvWidth, width], true], ['wv', [kvWidth, width], true], ['wo', [width, width], true]] // biome-ignore format: a table
  const mlp: [string, number[], boolean][] = [['w1', [hidden, width], true], ['w2', [width, hidden], true], ['w3', [hidden, width], true]] // biome-ignore format: a table
  const embedding: [string, number[], boolean] = ['tok_embeddings', [vocab, width], false]
  const output: [string, number[], boolean][] = tied ? [] : [['output', [vocab, width], false]]
  if (version === 1) return [...norms, embedding, ...attention, ...mlp, ...output]
  const freqs: [string, number[], boolean][] = [['freqs_cos', [context, headSize / 2], false], ['freqs_sin', [context, headSize / 2], false]] // biome-ignore format: a table
  return [embedding, norms[0], ...attention, norms[1], ...mlp, norms[2], ...freqs, ...output]
}

/** The header's sizes, checked; throws where they are none or the file has another length than they ask for. */
function readHeader(file: ByteFile): { sizes: Llama2cSizes; start: number; version: number } {
  if (file.size < 28) throw new Error(`'${file.path}' has ${file.size} bytes, too few for a llama2.c checkpoint`)
  const view = new DataView(file.read(0, Math.min(file.size, 64)).buffer)
  const version = view.getUint32(0, true) === MAGIC ? view.getInt32(4, true) : 0
  if (version > 1 || version < 0 || (version === 1 && file.size < 256))
    throw new Error(`'${file.path}' is a llama2.c checkpoint of version ${version}, expected 0 or 1`)
  const [width, hidden, layers, heads, kvHeads, vocab, context] = Array.from({ length: 7 }, (_, i) =>
    view.getInt32((version === 1 ? 8 : 0) + 4 * i, true),
  )
  const tied = version === 1 ? view.getUint8(36) !== 0 : vocab > 0
  const sizes = { width, hidden, layers, heads, kvHeads, vocab: Math.abs(vocab), context, tied }
  for (const [name, value] of Object.entries(sizes))
    if (typeof value === 'number' && !(value > 0))
      throw new Error(`'${file.path}' has ${name} ${value} in its llama2.c header`)
  if (layers > 10_000 || width % heads !== 0 || (width / heads) % 2 !== 0 || heads % kvHeads !== 0)
    throw new Error(
      `'${file.path}' has ${layers} layers, ${heads} heads and ${kvHeads} key/value heads in a width of ${width}, which is no llama2.c model`,
    )
  return { sizes, start: version === 1 ? 256 : 28, version }
}

/** Opens a llama2.c .bin as tensors under Meta's names (`layers.0.attention.wq.weight` without the middle part: `layers.0.wq`), with its sizes. */
export function openLlama2c(path: string): TensorFile & { sizes: Llama2cSizes } {
  const file = openBytes(path)
  try {
    const { sizes, start, version } = readHeader(file)
    const kinds = layout(sizes, version)
    const bytesOf = (shape: readonly number[]) => 4 * shape.reduce((a, b) => a * b, 1)
    const end = kinds.reduce((sum, [, shape, layered]) => sum + bytesOf(shape) * (layered ? sizes.layers : 1), start)
    if (end !== file.size) throw new Error(`'${path}' has ${file.size} bytes, expected ${end} for its llama2.c header`)
    const table = new Map<string, TensorInfo & { offset: number }>()
    let offset = start
    for (const [name, shape, layered] of kinds)
      for (let layer = 0; layer < (layered ? sizes.layers : 1); layer++) {
        const bytes = bytesOf(shape)
        if (!name.startsWith('freqs'))
          table.set(layered ? `layers.${layer}.${name}` : name, { dtype: 'F32', shape, bytes, offset })
        offset += bytes
      }
    return { ...tensorsAt(file, table, {}), sizes }
  } catch (error) {
    file.close()
    throw error
  }
}
