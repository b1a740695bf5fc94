// Measures the damage on a checkpoint itself: quantize, score the same tokens, compare with the unquantized model.
import { compare } from '../evaluate/divergence.ts'
import type { ScoreOptions, TokenizedText } from '../evaluate/loss.ts'
import type { Model } from '../model/model.ts'
import { elementBits } from '../plan/index.ts'
import type { Calibration } from '../quantize/calibration.ts'
import { type Method, quantizeModel } from '../quantize/quantize.ts'
import type { Kernels } from '../tensor/kernels.ts'
import type { MeasuredDamage } from './verdict.ts'

/** Loss change and KL of each (method, format) on a text; gptq needs calibration. */
export function measureDamage(
  model: Model,
  kernels: Kernels,
  text: TokenizedText,
  choices: readonly { method: Method; format: string }[],
  {
    calibration,
    scoring,
    onProgress,
  }: { calibration?: Calibration; scoring: ScoreOptions; onProgress?: (done: number, note: string) => void },
): MeasuredDamage[] {
  return choices.map(({ method, format }, i) => {
    onProgress?.(i, `${method} ${format}`)
    const quantized = quantizeModel(model, { format, method, calibration, kernels })
    const { lossChange, kl } = compare(quantized.model, model, kernels, text, scoring)
    return {
      method,
      format,
      k: elementBits(format),
      bitsPerParameter: quantized.bitsPerParameter,
      lossChange: lossChange.mean,
      interval: lossChange.interval,
      kl: kl.mean,
    }
  })
}
