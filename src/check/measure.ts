// Measures the damage on a checkpoint itself: quantize, score the same tokens, compare with the unquantized model. PTQ
// rounds the master weights; activations and KV are scored as the model was trained, before and after.
import { compare, keptSource, modelSource } from '../evaluate/divergence.ts'
import type { ScoreOptions, TokenizedText } from '../evaluate/loss.ts'
import { codeBits } from '../formats/index.ts'
import type { Precision } from '../model/config.ts'
import type { Model } from '../model/model.ts'
import type { Calibration } from '../quantize/calibration.ts'
import { type Method, quantizeModel } from '../quantize/quantize.ts'
import type { Kernels } from '../tensor/kernels.ts'
import type { MeasuredDamage } from './verdict.ts'

/** A method and a format to measure. */
export interface Choice {
  method: Method
  format: string
}

/** How damage is measured. */
export interface MeasureOptions {
  /** Needed by gptq. */
  calibration?: Calibration
  scoring: Omit<ScoreOptions, 'precision'>
  /** What the model was trained at; null: nothing is rounded but the weights that are quantized. */
  precision: Precision | null
  /** Rows of an earlier run, by `keyOfChoice`. */
  done?: ReadonlyMap<string, MeasuredDamage>
  /** Called with each row that is new. */
  onRow?: (row: MeasuredDamage) => void
  onProgress?: (done: number, note: string) => void
}

/** Name of a choice among the rows of one measurement. */
export const keyOfChoice = ({ method, format }: Choice): string => `${method} ${format}`

/** Loss change and KL of each (method, format) on a text; gptq needs calibration. */
export function measureDamage(
  model: Model,
  kernels: Kernels,
  text: TokenizedText,
  choices: readonly Choice[],
  { calibration, scoring, precision, done, onRow, onProgress }: MeasureOptions,
): MeasuredDamage[] {
  const source = keptSource(modelSource(model, kernels, { ...scoring, precision }))
  const after = precision && { ...precision, weights: null }
  return choices.map((choice, i) => {
    const { method, format } = choice
    onProgress?.(i, keyOfChoice(choice))
    const earlier = done?.get(keyOfChoice(choice))
    if (earlier) return earlier
    const quantized = quantizeModel(model, { format, method, calibration, kernels })
    const { lossChange, kl, score, reference } = compare(quantized.model, source, kernels, text, {
      ...scoring,
      precision: after,
    })
    const row: MeasuredDamage = {
      method,
      format,
      k: codeBits(format),
      bitsPerParameter: quantized.bitsPerParameter,
      loss: score.loss,
      lossBefore: reference.loss,
      lossChange: lossChange.mean,
      interval: lossChange.interval,
      kl: kl.mean,
    }
    onRow?.(row)
    return row
  })
}
