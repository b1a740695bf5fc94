// The way out: final norm, projection to the embedding's width, and the unembedding with its losses.
import type { Floats } from '../../tensor/kernels.ts'
import { createLinear } from './linear.ts'
import { createNorm } from './norm.ts'
import type { Scope } from './scope.ts'

/** From the residual stream x (batch * length, width) to losses or logits. */
export interface Head {
  /** losses (batch * length); 0 where the target is -1. */
  losses(x: Floats, targets: Int32Array, losses: Floats): void
  /** The same, and the gradient of scale * (sum of losses): dx is overwritten. */
  backward(x: Floats, targets: Int32Array, losses: Floats, dx: Floats, scale: number): void
  /** logits (batch * length, vocab). */
  logits(x: Floats, logits: Floats): void
}

/** The head of the model, whose weight is the embedding's where they are tied. */
export function createHead(scope: Scope): Head {
  const { kernels, config, compute } = scope
  const rows = scope.batch * scope.length
  const { width, embeddingWidth, vocab } = config
  const name = config.tied ? 'embedding' : 'head'
  const weight = scope.weight(`${name}.weight`)
  const bias = scope.vector('head.bias')
  const dWeight = scope.gradient(`${name}.weight`)
  const dBias = scope.gradient('head.bias')
  const norm = config.finalNorm ? createNorm(scope, 'norm') : null
  const normed = norm === null ? null : scope.keep('finalNormed', rows * width)
  const projected = embeddingWidth === width ? null : scope.keep('projectedOut', rows * embeddingWidth)
  const projection =
    projected === null
      ? null
      : createLinear(scope, width, [{ name: 'projectOut', outputs: embeddingWidth, y: projected }], scope.plain)
  const softcap = config.logitSoftcap === null ? {} : { softcap: config.logitSoftcap }
  const shape = { rows, width: embeddingWidth, vocab, compute, ...softcap }
  const kept = scope.kept?.(`${name}.weight`, vocab, embeddingWidth, scope.plain)
  const keptOrNot = kept === undefined ? {} : { kept }
  const dFinal = scope.backwardScratch('dNormed', norm === null ? 0 : rows * width)
  const dProjected = scope.backwardScratch('dProjected', projection === null ? 0 : rows * embeddingWidth)
  const enter = (x: Floats): Floats => {
    if (norm !== null && normed !== null) norm.forward(x, normed)
    const inner = normed ?? x
    if (projection === null || projected === null) return inner
    projection.forward(inner)
    return projected
  }
  return {
    losses(x, targets, losses) {
      kernels.crossEntropy(enter(x), weight, bias, targets, losses, { ...shape, ...keptOrNot })
    },
    backward(x, targets, losses, dx, scale) {
      const last = enter(x)
      const dNormed = norm === null ? dx : dFinal
      const dLast = projection === null ? dNormed : dProjected
      kernels.crossEntropyBackward(last, weight, bias, targets, losses, dLast, dWeight, dBias, { ...shape, scale })
      projection?.backward(normed ?? x, [dLast], dNormed, false)
      norm?.backward(x, dNormed, dx, false)
    },
    logits(x, logits) {
      const part = { weight, ...keptOrNot, outputs: vocab, y: logits, ...(bias === null ? {} : { bias }) }
      kernels.linear(enter(x), rows, embeddingWidth, [part], scope.plain)
      const cap = config.logitSoftcap
      if (cap !== null) for (let i = 0; i < logits.length; i++) logits[i] = cap * Math.tanh(logits[i] / cap)
    },
  }
}
