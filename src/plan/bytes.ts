// Exact bytes of a model at a format: weights with their scales, the KV cache, activations, and the state of training.
import { bitsPerParameter, codeBits, type FormatLike, parseFormat, printFormat } from '../formats/index.ts'
import { RECIPES, type Recipe, recipeFormat } from '../formats/recipes.ts'
import { cacheNumbers, countShape, type Matrix, matrices, type Shape } from './shape.ts'

/** How a model's numbers are stored. */
export interface Storage {
  /** As it is spelled: a format, or a mixture such as q4_k_m. */
  name: string
  /** Bits of one number of a matrix, everything counted; `layer` is null outside the blocks. */
  bits(matrix: Matrix, layer: number | null): number
  /** The ggml type of a matrix in a file of llama.cpp, null: it stays in 16 bits; absent: no such file. */
  type?(matrix: Matrix, layer: number | null): string | null
  /** Types differ from layer to layer. */
  mixed: boolean
  /** Bits of norms and biases. */
  vectors: number
  /** Width that a PTQ law reads: bits of a code, without scales. */
  k: number
}

/** The matrices of the blocks in one format, embedding and unembedding in another, norms and biases in `vectors` bits: what RTN and GPTQ write. */
export function linearsIn(
  format: FormatLike,
  { embeddings = 'bf16', vectors = 16 }: { embeddings?: FormatLike; vectors?: number } = {},
): Storage {
  const inner = parseFormat(format)
  const outer = parseFormat(embeddings)
  return {
    name: printFormat(inner),
    bits: ({ name, shape }) => bitsPerParameter(name === 'embedding' || name === 'head' ? outer : inner, shape),
    mixed: false,
    vectors,
    k: codeBits(inner),
  }
}

/** Everything in so many bits a number, scales included. */
export function inBits(bits: number): Storage {
  return { name: `${bits} bits`, bits: () => bits, mixed: false, vectors: bits, k: bits }
}

/** File types of llama.cpp that are one type with the output matrix in 6 bits. */
const UNIFORM = /^(q[458]_[01]|iq4_(nl|xs)|q[2345]_k)$/

/** A GGUF file of llama.cpp: a mixture by its recipe, or one type; norms and biases are 32 bits. */
function ggufStorage(name: string, shape: Shape): Storage {
  const model = { family: 'llama', layers: shape.layers, heads: shape.heads, kvHeads: shape.kvHeads, tied: shape.tied }
  const output = name === 'q8_0' ? 'q8_0' : 'q6_k'
  const known = new Map<string, number>()
  const bitsOf = (type: string, size: readonly number[]) => {
    const key = `${type} ${size[0]} ${size[1]}`
    let bits = known.get(key)
    if (bits === undefined) {
      bits = bitsPerParameter(type, size)
      known.set(key, bits)
    }
    return bits
  }
  const type = (matrix: Matrix, layer: number | null): string | null => {
    if (UNIFORM.test(name)) {
      const isOutput = matrix.name === 'head' || (matrix.name === 'embedding' && shape.tied)
      return isOutput ? (matrix.shape[1] % 256 === 0 ? output : 'q8_0') : name
    }
    const tensor = {
      name: `${layer === null ? '' : `layers.${layer}.`}${matrix.name}.weight`,
      shape: matrix.shape,
      kind: layer === null ? matrix.name : 'linear',
    }
    return recipeFormat(name as Recipe, tensor, model)
  }
  return {
    name,
    type,
    bits: (matrix, layer) => bitsOf(type(matrix, layer) ?? 'bf16', matrix.shape),
    mixed: !UNIFORM.test(name),
    vectors: 32,
    k: Number(/\d/.exec(name)?.[0]),
  }
}

/** A storage by its spelling: a name of llama.cpp's file types is a GGUF file, another format is that of the blocks' matrices; throws RequestError for what is neither. */
export function storageOf(spelling: FormatLike, shape: Shape, embeddings: FormatLike = 'bf16'): Storage {
  if (typeof spelling === 'string') {
    const name = spelling.trim().toLowerCase()
    if ((RECIPES as readonly string[]).includes(name) || UNIFORM.test(name)) return ggufStorage(name, shape)
  }
  return linearsIn(spelling, { embeddings })
}

/** Bytes of all weights, scales included, before any file's header. */
export function weightBytes(shape: Shape, storage: Storage): number {
  let bits = 0
  let inMatrices = 0
  for (const matrix of matrices(shape)) {
    const size = matrix.shape[0] * matrix.shape[1]
    const inBlocks = matrix.name !== 'embedding' && matrix.name !== 'head'
    inMatrices += matrix.count * size
    if (!inBlocks || !storage.mixed) bits += matrix.count * size * storage.bits(matrix, inBlocks ? 0 : null)
    else for (let layer = 0; layer < matrix.count; layer++) bits += size * storage.bits(matrix, layer)
  }
  const { nTotal } = countShape(shape)
  return Math.ceil((bits + (nTotal - inMatrices) * storage.vectors) / 8)
}

/** Bytes of the embedding. */
export function embeddingBytes(shape: Shape, storage: Storage): number {
  const embedding: Matrix = { name: 'embedding', shape: [shape.vocab, shape.width], count: 1 }
  return (shape.vocab * shape.width * storage.bits(embedding, null)) / 8
}

/** Bytes of the KV cache for so many tokens in all sequences together; K and V of a head and token share scales where the format has blocks. */
export function cacheBytes(shape: Shape, tokens: number, format: FormatLike = 'bf16'): number {
  const rows = tokens * shape.layers * 2
  return Math.ceil(
    (cacheNumbers(shape) * tokens * bitsPerParameter(parseFormat(format), [rows, shape.kvHeads * shape.headSize])) / 8,
  )
}

/** Bytes of activations while generating: hidden state, MLP and logits of the tokens of one step, in 16 bits, logits in 32. */
export function activationBytes(shape: Shape, tokens: number, sequences = tokens): number {
  return tokens * (4 * shape.width + 2 * shape.hidden) * 2 + sequences * shape.vocab * 4
}

/** Bytes a parameter while training: weights of P_w bits beside the f32 master, f32 gradient and AdamW's two moments. */
export function trainingBytes(nTotal: number, weightBits: number): number {
  return nTotal * (16 + (weightBits < 16 ? weightBits / 8 : 2))
}
