// A norm layer by name: its gain with the family's offset, and what its backward pass needs.
import type { Floats, NormShape } from '../../tensor/kernels.ts'
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
  const { width, norm } = scope.config
  return normLayer(scope, name, { kind: norm.kind, rows: scope.batch * scope.length, width, eps: norm.eps })
}

/** The norm of queries or keys: of each head, or of the whole vector. */
export function createQueryNorm(scope: Scope, name: string, heads: number): NormLayer {
  const { qkNorm, headSize, norm } = scope.config
  const rows = scope.batch * scope.length
  const whole = qkNorm === 'whole'
  const shape = { rows: whole ? rows : rows * heads, width: whole ? heads * headSize : headSize, eps: norm.eps }
  if (qkNorm === 'layerEachHead') return headGainLayer(scope, name, { kind: 'layer', ...shape }, heads)
  return normLayer(scope, name, { kind: qkNorm === 'layerHead' ? 'layer' : 'rms', ...shape })
}

/** A LayerNorm of each head whose gain (heads, headSize) differs from head to head: normalised first, then multiplied. */
function headGainLayer(scope: Scope, name: string, shape: NormShape, heads: number): NormLayer {
  const { kernels } = scope
  const gain = scope.vector(`${name}.weight`)!
  const dGain = scope.gradient(`${name}.weight`)
  const size = shape.rows * shape.width
  const saved = scope.keep(`${name}.saved`, 2 * shape.rows)
  const normed = scope.keep(`${name}.normed`, size)
  const vector = heads * shape.width
  return {
    forward(x, out) {
      kernels.norm(x, null, null, normed, saved, shape)
      for (let i = 0; i < size; i++) out[i] = normed[i] * gain[i % vector]
    },
    backward(x, dy, dx, accumulate) {
      const dNormed = scope.scratch('dHeadGain', size)
      for (let i = 0; i < size; i++) {
        dNormed[i] = dy[i] * gain[i % vector]
        if (dGain !== null) dGain[i % vector] += dy[i] * normed[i]
      }
      kernels.normBackward(x, null, saved, dNormed, dx, accumulate, null, null, shape)
    },
  }
}

function normLayer(scope: Scope, name: string, shape: NormShape): NormLayer {
  const { kernels } = scope
  const { gainOffset } = scope.config.norm
  const stored = scope.vector(`${name}.weight`)
  const bias = scope.vector(`${name}.bias`)
  const gain = stored === null || gainOffset === 0 ? stored : scope.keep('gain', shape.width)
  const saved = scope.keep('saved', 2 * shape.rows)
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
