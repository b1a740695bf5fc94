// Writes a model as a Hugging Face folder, whole or not at all.
import type { Tokenizer } from '../text/tokenizer.ts'
import type { Model } from './model.ts'

/** What goes into the folder beside the weights. */
export interface SaveOptions {
  tokenizer?: Tokenizer | null
  /** Becomes `bitlaw` of config.json: precision, d, schedule … */
  bitlaw?: Record<string, unknown>
  /** Type of matrices on disk; auto: as they are in memory. */
  dtype?: 'auto' | 'float32' | 'bf16'
}

/** Writes config.json, model.safetensors and the tokenizer into a folder of a temporary name beside `folder`, then renames it; an existing folder is replaced. */
export async function saveModel(_folder: string, _model: Model, _options: SaveOptions = {}): Promise<void> {
  throw new Error('not yet')
}
