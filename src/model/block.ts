// One block: attention and MLP, with the norms around them and the residual sums, in every arrangement of the record.
import { RequestError } from '../formats/error.ts'
import type { Floats } from '../tensor/kernels.ts'
import { createAttention } from './layers/attention.ts'
import { createMlp } from './layers/mlp.ts'
import { createNorm } from './layers/norm.ts'
import type { Part, Scope } from './layers/scope.ts'

/** A block between two arrays of the residual stream. */
export interface Block {
  forward(): void
  /** dx: the gradient of what left the block becomes that of what entered it. */
  backward(dx: Floats): void
}

/** What one half of a block is made of, by the names of its norms. */
interface HalfNames {
  before: string
  after: string
  create: (scope: Scope, layer: number, out: Floats, residual: Floats | null) => Part
}

const ATTENTION: HalfNames = { before: 'attentionNorm', after: 'attentionPostNorm', create: createAttention }
const MLP: HalfNames = { before: 'mlpNorm', after: 'mlpPostNorm', create: createMlp }

/** Block `layer` from x to out (batch * length, width), which may be one array where only the forward pass runs. */
export function createBlock(scope: Scope, layer: number, x: Floats, out: Floats): Block {
  const { kernels, config } = scope
  const { residual, normPlacement } = config
  if (residual !== 'sequential' && normPlacement === 'post')
    throw new RequestError(
      `a ${residual} residual with normPlacement 'post' does not exist, expected 'pre', 'inside' or 'sandwich'`,
    )
  const between = scope.keep('between', x.length)
  const attention = createHalf(scope, layer, ATTENTION, x, x, between)
  if (residual === 'sequential') {
    const mlp = createHalf(scope, layer, MLP, between, between, out)
    return {
      forward() {
        attention.forward()
        mlp.forward()
      },
      backward(dx) {
        mlp.backward(dx, dx)
        attention.backward(dx, dx)
      },
    }
  }
  // without a norm before it there is nothing to share
  const shared = residual === 'parallelShared' && normPlacement !== 'inside' ? attention.normed : null
  const mlp = createHalf(scope, layer, MLP, x, between, out, shared)
  const side = scope.backwardScratch('dSide', x.length)
  return {
    forward() {
      attention.forward()
      mlp.forward()
    },
    backward(dx) {
      // both halves have the same gradient dx of their outputs; what they give their input is added after both
      side.fill(0)
      mlp.backward(dx, side)
      attention.backward(dx, side, shared !== null)
      kernels.add(dx, side)
    },
  }
}

/** One half: out = base + part(norm(x)), the norm where the record has it. */
interface Half {
  forward(): void
  /**
   * dOut is the gradient of out; that of x is added to dx (the same array where x is the base, whose gradient is dOut itself).
   * `pending`: the half that shares this one's norm has left its gradient of the norm's output.
   */
  backward(dOut: Floats, dx: Floats, pending?: boolean): void
  /** The part's input, which another half may share. */
  normed: Floats
}

function createHalf(
  scope: Scope,
  layer: number,
  names: HalfNames,
  x: Floats,
  base: Floats,
  out: Floats,
  shared: Floats | null = null,
): Half {
  const { kernels } = scope
  const { normPlacement } = scope.config
  const at = (name: string) => `layers.${layer}.${name}`
  const hasBefore = normPlacement === 'pre' || normPlacement === 'sandwich'
  const before = hasBefore && shared === null ? createNorm(scope, at(names.before)) : null
  const after = normPlacement === 'pre' ? null : createNorm(scope, at(names.after))
  const normed = shared ?? (before === null ? x : scope.keep(names.before, x.length))
  // what the part writes: the residual sum itself (pre, post), or its own output, normalised before it is added
  const inside = normPlacement === 'inside' || normPlacement === 'sandwich'
  const raw = after === null ? out : scope.keep(names.after, x.length)
  const normedOut = scope.scratch('normedOut', inside ? x.length : 0)
  const dPost = scope.backwardScratch('dPost', after === null ? 0 : x.length)
  const dNormed = scope.backwardScratch('dNormed', hasBefore ? x.length : 0)
  const part = names.create(scope, layer, raw, inside ? null : base)
  return {
    normed,
    forward() {
      if (before !== null) before.forward(x, normed)
      part.forward(normed)
      if (after === null) return
      if (inside) {
        after.forward(raw, normedOut)
        if (out !== base) out.set(base)
        kernels.add(out, normedOut)
      } else after.forward(raw, out)
    },
    backward(dOut, dx, pending = false) {
      let dz = dOut
      if (after !== null) {
        dz = dPost
        after.backward(raw, dOut, dz, false)
        if (!inside) dOut.set(dz)
      }
      if (!hasBefore) {
        part.backward(normed, dz, dx, true)
        return
      }
      part.backward(normed, dz, dNormed, pending)
      before?.backward(x, dNormed, dx, true)
    },
  }
}
