// A norm layer by name: its gain with the family's offset, and what its backward pass needs.
import type { Floats } from '../../tensor/kernels.ts'
import type { Scope } from './scope.ts'

/** A norm over rows of one width. */
export interface NormLayer {
  /** out = norm(x). */
  forward(x: Floats, out: Floats): void
  /** Gradient of x from that of out, overwritten or added to; those of gain and bias are added to. */
  backward(x: Floats, dy: Floats, dx: Floats, accumulate: boolean): void
}

/** The norm `name` of the model's kind. */
export function createNorm(scope: Scope, name: string): NormLayer {
  const { kind, eps } = scope.config.norm
  const { rows, width } = { rows: scope.batch * scope.length, width: scope.config.width }
  return normLayer(scope, name, { kind, rows, width, eps })
}

/** The RMS norm of queries or keys: of each head, or of the whole vector. */
export function createQueryNorm(scope: Scope, name: string, heads: number): NormLayer {
  const { qkNorm, headSize, norm } = scope.config
  const rows = scope.batch * scope.length
  const whole = qkNorm === 'whole'
  const shape = { rows: whole ? rows : rows * heads, width: whole ? heads * headSize : headSize, eps: norm.eps }
  return normLayer(scope, name, { kind: 'rms', ...shape })
}

function normLayer(
  scope: Scope,
  name: string,
  shape: { kind: 'rms' | 'layer'; rows: number; width: number; eps: number },
): NormLayer {
  const { kernels } = scope
  const { gainOffset } = scope.config.norm
  const stored = scope.vector(`${name}.weight`)
  const bias = scope.vector(`${name}.bias`)
  const gain = stored === null || gainOffset === 0 ? stored : scope.keep(`${name}.gain`, shape.width)
  const saved = scope.keep(`${name}.saved`, 2 * shape.rows)
  const dGain = scope.gradient(`${name}.weight`)
  const dBias = scope.gradient(`${name}.bias`)
  return {
    forward(x, out) {
      if (gain !== null && gain !== stored) for (let i = 0; i < gain.length; i++) gain[i] = stored![i] + gainOffset
      kernels.norm(x, gain, bias, out, saved, shape)
    },
    backward(x, dy, dx, accumulate) {
      kernels.normBackward(x, gain, saved, dy, dx, accumulate, dGain, dBias, shape)
    },
  }
}
