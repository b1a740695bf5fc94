// Checks of token ids before they reach the kernels, which trust them.
import { RequestError } from '../formats/error.ts'
import type { ModelConfig } from './config.ts'

/** Throws unless inputs (and targets, where -1 is allowed) are `rows` ids of the vocabulary. */
export function checkTokens(config: ModelConfig, rows: number, inputs: Int32Array, targets?: Int32Array): void {
  if (inputs.length !== rows) throw new RequestError(`expected ${rows} input tokens, got ${inputs.length}`)
  for (let i = 0; i < rows; i++)
    if (inputs[i] < 0 || inputs[i] >= config.vocab)
      throw new RequestError(`token ${inputs[i]} is outside the vocabulary of ${config.vocab}`)
  if (targets !== undefined) checkTargets(config, rows, targets)
}

/** Throws unless targets are `rows` ids of the vocabulary or -1 (not scored). */
export function checkTargets(config: ModelConfig, rows: number, targets: Int32Array): void {
  if (targets.length !== rows) throw new RequestError(`expected ${rows} targets, got ${targets.length}`)
  for (let i = 0; i < rows; i++)
    if (targets[i] < -1 || targets[i] >= config.vocab)
      throw new RequestError(`target ${targets[i]} is outside the vocabulary of ${config.vocab}`)
}

/** Throws where the model has no positions for sequences of `length`. */
export function checkLength({ position }: ModelConfig, length: number): void {
  if (position.kind === 'learned' && length > position.positions)
    throw new RequestError(`a sequence of ${length} tokens is longer than the model's ${position.positions} positions`)
}
