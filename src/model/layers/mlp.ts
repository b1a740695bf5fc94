// The MLP of one layer: down(f(gate) * up), or down(f(up)) where it is not gated.
import type { Floats } from '../../tensor/kernels.ts'
import { createLinear, type LinearOutput } from './linear.ts'
import type { Part, Scope } from './scope.ts'

/** The MLP of layer `layer`, which adds its output to `residual` where there is one. */
export function createMlp(scope: Scope, layer: number, out: Floats, residual: Floats | null): Part {
  const { kernels, config } = scope
  const { width, hidden, mlp } = config
  const size = scope.batch * scope.length * hidden
  const at = (name: string) => `layers.${layer}.${name}`
  const gate = mlp.gated ? scope.keep('gate', size) : null
  const up = scope.keep('up', size)
  const active = scope.keep('active', size)
  const outputs: LinearOutput[] = [{ name: at('up'), outputs: hidden, y: up }]
  if (gate !== null) outputs.unshift({ name: at('gate'), outputs: hidden, y: gate })
  const linear = createLinear(scope, width, outputs)
  const output = createLinear(scope, hidden, [
    { name: at('down'), outputs: width, y: out, ...(residual === null ? {} : { residual }) },
  ])
  const dys = gate === null ? [up] : [gate, up]
  const dActive = scope.backwardScratch('dActive', size)
  const dOut: Floats[] = []
  return {
    forward(x) {
      linear.forward(x)
      if (gate === null) kernels.activation(up, null, active, mlp.activation)
      else kernels.activation(gate, up, active, mlp.activation)
      output.forward(active)
    },
    backward(x, dz, dx, accumulate) {
      dOut[0] = dz
      output.backward(active, dOut, dActive, false)
      // gradients take the place of what they are the gradients of
      if (gate === null) kernels.activationBackward(up, null, dActive, up, null, mlp.activation)
      else kernels.activationBackward(gate, up, dActive, gate, up, mlp.activation)
      linear.backward(x, dys, dx, accumulate)
    },
  }
}
