// Linear layers that share one input (q, k and v; gate and up) are one call of the kernels, forward and backward.
import type { Format } from '../../formats/index.ts'
import type { Floats, LinearBackwardPart, LinearPart, Rounding } from '../../tensor/kernels.ts'
import type { Scope } from './scope.ts'

/** One of the linears: its canonical name, and where its output and its output's gradient lie. */
export interface LinearOutput {
  name: string
  outputs: number
  y: Floats
  /** Added to the product (the residual stream); may be y. */
  residual?: Floats
}

/** Linears of one input (rows, inputs), made once. */
export interface LinearLayer {
  forward(x: Floats): void
  /** `dys` in the order of the outputs; dx is overwritten or added to. */
  backward(x: Floats, dys: readonly Floats[], dx: Floats, accumulate: boolean): void
}

/** Whether a format rounds by chance. */
export function isDrawn(format: Format | null): boolean {
  return format?.kind === 'scaled' && format.stochastic
}

/** Linears `outputs` of an input of `inputs` numbers a row. */
export function createLinear(
  scope: Scope,
  inputs: number,
  outputs: readonly LinearOutput[],
  rounding: Rounding = scope.rounding,
): LinearLayer {
  const { kernels } = scope
  const rows = scope.batch * scope.length
  const parts = outputs.map((output): LinearPart => {
    const bias = scope.vector(`${output.name}.bias`)
    const name = `${output.name}.weight`
    const kept = scope.kept?.(name, output.outputs, inputs, rounding)
    return {
      weight: scope.weight(name),
      ...(kept === undefined ? {} : { kept }),
      outputs: output.outputs,
      y: output.y,
      ...(bias === null ? {} : { bias }),
      ...(output.residual === undefined ? {} : { residual: output.residual }),
    }
  })
  // where nothing is drawn there is nothing to set
  const drawn = [rounding.weights, rounding.activations, rounding.gradients].some(isDrawn)
  const seeds = drawn && scope.seed ? outputs.map(({ name }) => scope.seed!(name)) : []
  const backwardParts = parts.map((part, i): LinearBackwardPart => {
    const dWeight = scope.gradient(`${outputs[i].name}.weight`)
    const dBias = scope.gradient(`${outputs[i].name}.bias`)
    return {
      weight: part.weight,
      outputs: part.outputs,
      dy: part.y,
      ...(dWeight === null ? {} : { dWeight }),
      ...(dBias === null ? {} : { dBias }),
    }
  })
  return {
    forward(x) {
      for (const { name } of outputs) scope.onInput?.(name, x, rows, inputs)
      for (const [i, seed] of seeds.entries()) parts[i].seed = seed()
      kernels.linear(x, rows, inputs, parts, rounding)
    },
    backward(x, dys, dx, accumulate) {
      for (let i = 0; i < dys.length; i++) backwardParts[i].dy = dys[i]
      for (const [i, seed] of seeds.entries()) backwardParts[i].seed = seed()
      kernels.linearBackward(x, rows, inputs, backwardParts, dx, accumulate, rounding)
    },
  }
}
