// Attention of one layer: q, k, v; their norm, clamp and rotation; keys and values quantized; softmax; output.
import type { AttentionShape, Floats } from '../../tensor/kernels.ts'
import { alibiSlopes } from '../rope.ts'
import { createLinear } from './linear.ts'
import { createQueryNorm } from './norm.ts'
import { createRoundedAlibi } from './rounded-alibi.ts'
import type { Part, Scope } from './scope.ts'

/** The attention of layer `layer`, which adds its output to `residual` where there is one. */
export function createAttention(scope: Scope, layer: number, out: Floats, residual: Floats | null): Part {
  const { kernels, config, batch, length } = scope
  const { width, heads, kvHeads, headSize } = config
  const { clip } = config.attention
  const rows = batch * length
  const at = (name: string) => `layers.${layer}.${name}`
  const q = scope.keep('q', rows * heads * headSize)
  const k = scope.keep('k', rows * kvHeads * headSize)
  const v = scope.keep('v', rows * kvHeads * headSize)
  const attended = scope.keep('attended', q.length)
  const logSums = scope.keep('logSums', batch * heads * length)
  const shape = attentionShape(scope, layer)
  const isRounded = config.position.kind === 'alibi' && config.position.rounded !== undefined
  const { attention, attentionBackward } = isRounded ? createRoundedAlibi(scope, shape, alibiSlopes(heads)) : kernels
  const rope = scope.rope(layer)
  const queries = createVector(scope, layer, 'q', heads, q)
  const keys = createVector(scope, layer, 'k', kvHeads, k)
  const values = clip === null ? null : createClamp(v, clip, scope.keep('vRaw', v.length))
  const linear = createLinear(scope, width, [
    { name: at('q'), outputs: heads * headSize, y: queries.raw },
    { name: at('k'), outputs: kvHeads * headSize, y: keys.raw },
    { name: at('v'), outputs: kvHeads * headSize, y: values === null ? v : values.raw },
  ])
  const output = createLinear(scope, heads * headSize, [
    { name: at('o'), outputs: width, y: out, ...(residual === null ? {} : { residual }) },
  ])
  const rotate = (x: Floats, count: number, inverse: boolean) => {
    if (rope !== null) kernels.rotary(x, rows, count, headSize, rope.cos, rope.sin, rope.pairs, length, inverse)
  }
  const [keySeed, valueSeed] = [scope.seed?.(at('keys')), scope.seed?.(at('values'))]
  const dAttended = scope.backwardScratch('dAttended', q.length)
  const dq = scope.backwardScratch('dq', q.length)
  const dk = scope.backwardScratch('dk', k.length)
  const dv = scope.backwardScratch('dv', v.length)
  const dys: Floats[] = []
  const dOut: Floats[] = []
  return {
    forward(x) {
      linear.forward(x)
      queries.forward()
      keys.forward()
      values?.forward()
      rotate(q, heads, false)
      rotate(k, kvHeads, false)
      if (scope.kv !== null) {
        kernels.fakeQuantize(k, rows, kvHeads * headSize, scope.kv, k, keySeed?.())
        kernels.fakeQuantize(v, rows, kvHeads * headSize, scope.kv, v, valueSeed?.())
      }
      attention(q, k, v, attended, logSums, shape)
      output.forward(attended)
    },
    backward(x, dz, dx, accumulate) {
      dOut[0] = dz
      output.backward(attended, dOut, dAttended, false)
      attentionBackward(q, k, v, attended, logSums, dAttended, dq, dk, dv, shape)
      rotate(dq, heads, true)
      rotate(dk, kvHeads, true)
      dys[0] = queries.backward(dq)
      dys[1] = keys.backward(dk)
      if (values !== null) values.backward(dv)
      dys[2] = dv
      linear.backward(x, dys, dx, accumulate)
    },
  }
}

/** What the kernels are told of layer `layer`. */
function attentionShape(scope: Scope, layer: number): AttentionShape {
  const { config, batch, length, compute } = scope
  const { heads, kvHeads, headSize, attention, position } = config
  return {
    batch,
    length,
    heads,
    kvHeads,
    headSize,
    scale: attention.scale,
    window: attention.windows?.[layer] ?? null,
    compute,
    ...(position.kind === 'alibi' && position.rounded === undefined ? { slopes: alibiSlopes(heads) } : {}),
    ...(attention.softcap === null ? {} : { softcap: attention.softcap }),
  }
}

/** What happens to queries or keys between the linear, which writes `raw`, and the rotation. */
interface Vector {
  raw: Floats
  forward(): void
  /** The gradient of `raw`, from that of the result (which is overwritten or left behind). */
  backward(d: Floats): Floats
}

/** Norm, then clamp, of queries or keys; `raw` is the result's own array where there is neither. */
function createVector(scope: Scope, layer: number, name: 'q' | 'k', heads: number, result: Floats): Vector {
  const { config } = scope
  const { clip } = config.attention
  if (config.qkNorm === 'none')
    return clip === null
      ? { raw: result, forward() {}, backward: d => d }
      : createClamp(result, clip, scope.keep(`${name}Raw`, result.length))
  const raw = scope.keep(`${name}Raw`, result.length)
  const dRaw = scope.backwardScratch(`d${name}Raw`, raw.length)
  const norm = createQueryNorm(scope, `layers.${layer}.${name}Norm`, heads)
  const clamp = clip === null ? null : createClamp(result, clip, scope.keep(`${name}Normed`, result.length))
  return {
    raw,
    forward() {
      norm.forward(raw, clamp === null ? result : clamp.raw)
      clamp?.forward()
    },
    backward(d) {
      clamp?.backward(d)
      norm.backward(raw, d, dRaw, false)
      return dRaw
    },
  }
}

/** result = raw clamped to ±clip (OLMo); the gradient is 0 outside. */
function createClamp(result: Floats, clip: number, raw: Floats): Vector {
  return {
    raw,
    forward() {
      for (let i = 0; i < raw.length; i++) result[i] = Math.min(Math.max(raw[i], -clip), clip)
    },
    backward(d) {
      for (let i = 0; i < raw.length; i++) if (raw[i] < -clip || raw[i] > clip) d[i] = 0
      return d
    },
  }
}
