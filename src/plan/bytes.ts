// Exact bytes of a model at a format: weights with their scales, the KV cache, activations, and the state of training.
import { bitsPerParameter, type FormatLike, parseFormat } from '../formats/index.ts'
import { cacheNumbers, countShape, type Matrix, matrices, type Shape } from './shape.ts'

/** A format for each kind of matrix; `rest` is what the others are stored in (norms and biases are always 32 bits there, as GGUF has them, unless `vectors` says otherwise). */
export interface WeightFormats {
  linear: FormatLike
  embedding: FormatLike
  head: FormatLike
  /** Bits of norms and biases. */
  vectors: number
}

/** Linears in one format, the rest in bf16: what RTN and GPTQ do by default. */
export function linearsIn(format: FormatLike): WeightFormats {
  return { linear: format, embedding: 'bf16', head: 'bf16', vectors: 16 }
}

/** The format of one matrix. */
function formatOf(matrix: Matrix, formats: WeightFormats): FormatLike {
  return matrix.name === 'embedding' ? formats.embedding : matrix.name === 'head' ? formats.head : formats.linear
}

/** Bytes of all weights, scales included, before any file's header. */
export function weightBytes(shape: Shape, formats: WeightFormats): number {
  let bits = 0
  for (const matrix of matrices(shape)) {
    const size = matrix.shape[0] * matrix.shape[1]
    bits += matrix.count * size * bitsPerParameter(formatOf(matrix, formats), matrix.shape)
  }
  const { nTotal } = countShape(shape)
  const inMatrices = matrices(shape).reduce((sum, { shape: [out, input], count }) => sum + out * input * count, 0)
  return Math.ceil((bits + (nTotal - inMatrices) * formats.vectors) / 8)
}

/** Bytes of the embedding. */
export function embeddingBytes({ vocab, width }: Shape, formats: WeightFormats): number {
  return (vocab * width * bitsPerParameter(formats.embedding, [vocab, width])) / 8
}

/** Bytes of the KV cache for so many tokens in all sequences together; K and V of a head and token share scales where the format has blocks. */
export function cacheBytes(shape: Shape, tokens: number, format: FormatLike = 'bf16'): number {
  const spelled = parseFormat(format)
  return Math.ceil(
    (cacheNumbers(shape) *
      tokens *
      bitsPerParameter(spelled, [tokens * shape.layers * 2, shape.kvHeads * shape.headSize])) /
      8,
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
