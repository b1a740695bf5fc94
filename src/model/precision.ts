// From the spelling of a precision to what the kernels' products round.
import { type Format, parseFormat } from '../formats/index.ts'
import type { Compute, Rounding } from '../tensor/kernels.ts'
import type { Precision } from './config.ts'

/** Parsed formats: of the blocks' linears, of everything else (nothing), and of keys and values. */
export interface ParsedPrecision {
  rounding: Rounding
  plain: Rounding
  kv: Format | null
}

/** Parses each spelling; a null precision rounds nothing. */
export function parsePrecision(precision: Precision | null | undefined, compute: Compute): ParsedPrecision {
  const parse = (spelling: string | null | undefined) => (spelling ? parseFormat(spelling) : null)
  const plain: Rounding = {
    weights: null,
    activations: null,
    gradients: null,
    straightThrough: 'full',
    absmaxRatio: { weights: 1, activations: 1 },
    compute,
  }
  const rounding: Rounding = {
    weights: parse(precision?.weights),
    activations: parse(precision?.activations),
    gradients: parse(precision?.gradients),
    straightThrough: precision?.straightThrough ?? 'full',
    absmaxRatio: { ...plain.absmaxRatio, ...precision?.absmaxRatio },
    compute,
  }
  return { rounding, plain, kv: parse(precision?.kv) }
}
