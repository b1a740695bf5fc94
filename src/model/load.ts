// Opens a checkpoint as a model: a Hugging Face folder or hub name, a .gguf file, or a llama2.c .bin.
import type { Tokenizer } from '../text/tokenizer.ts'
import type { Precision } from './config.ts'
import type { Model } from './model.ts'

/** A model from a checkpoint, with what stands beside the weights. */
export interface LoadedModel extends Model {
  /** The reference it was opened by. */
  name: string
  /** Folder of the checkpoint (for a single file, the folder that holds it). */
  folder: string
  tokenizer: Tokenizer | null
  /** What it was trained at, from `bitlaw.precision` of config.json; null: nothing was quantized or nothing is known. */
  precision: Precision | null
  /** Training tokens, from `bitlaw.d` of config.json; null: unknown. */
  d: number | null
  /** The `bitlaw` object of config.json, null: it has none. */
  bitlaw: Record<string, unknown> | null
  /** config.json as it was read; of other files, the same spelled as config.json. */
  rawConfig: Record<string, unknown>
  /** Type of most numbers on disk: float32, float16, bf16, or a ggml type. */
  storedDtype: string
}

/** How a checkpoint is opened. */
export interface LoadOptions {
  /** auto keeps bf16 matrices as bf16 and widens the rest; norms and biases are always float32. */
  dtype?: 'auto' | 'float32' | 'bf16'
  /** Keys of config.json to go on without, though Bitlaw does not know what they mean. */
  ignoreConfig?: readonly string[]
  /** Open no tokenizer. */
  tokenizer?: boolean
}

/** Opens a model by folder, .gguf or .bin file, or hub name `owner/name[@revision]`; throws RequestError where it is not one that Bitlaw computes exactly. */
export async function loadModel(_reference: string, _options: LoadOptions = {}): Promise<LoadedModel> {
  throw new Error('not yet')
}
