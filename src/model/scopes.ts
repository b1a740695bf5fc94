// Scopes for the forward pass alone: weights as they are in the model at the moment, buffers that all layers share and
// that grow to the largest call.
import type { Floats, KeptWeights, Kernels, Rounding, Weights } from '../tensor/kernels.ts'
import type { InferenceOptions } from './inference.ts'
import type { Scope } from './layers/scope.ts'
import { type Model, widen } from './model.ts'
import { parsePrecision } from './precision.ts'
import { layerRope, type RopeTables, ropeDependsOnLength } from './rope.ts'

/** What a caller may put in the place of what a scope has. */
export type ScopeChanges = Partial<Pick<Scope, 'kernels' | 'first' | 'rope' | 'onInput'>>

/** Bytes of weights that one model keeps packed: those of a small model; a large one's are packed at each call, in a few percent of its time. */
const KEPT_BYTES = 2 ** 29

/** Keeps weights by name as long as their arrays are the same. */
function createKeeper(model: Model, { keep }: Kernels): Scope['kept'] {
  if (keep === undefined) return undefined
  const known = new Map<string, { weight: Weights; kept: KeptWeights }>()
  let bytes = 0
  return (name, outputs, inputs, rounding: Rounding) => {
    const weight = model.parameters.get(name)!
    const before = known.get(name)
    if (before?.weight === weight) return before.kept
    if (before !== undefined) bytes -= before.kept.bytes
    known.delete(name)
    if (bytes + outputs * inputs * 4 > KEPT_BYTES) return undefined
    const kept = keep(weight, outputs, inputs, rounding)
    known.set(name, { weight, kept })
    bytes += kept.bytes
    return kept
  }
}

/** Makes the scope of a batch of sequences of one length. */
export function createScopes(
  model: Model,
  kernels: Kernels,
  { precision, compute = 'float', constant = false }: InferenceOptions,
): (batch: number, length: number, changes?: ScopeChanges) => Scope {
  const { config, parameters } = model
  const parsed = parsePrecision(precision, compute)
  const kept = constant ? createKeeper(model, kernels) : undefined
  const none = kernels.allocate(0)
  const pool = new Map<string, Floats>()
  const buffer = (name: string, size: number) => {
    const old = pool.get(name)
    if (old !== undefined && old.length >= size) return old.subarray(0, size)
    const made = kernels.allocate(size)
    pool.set(name, made)
    return made
  }
  const widened = new WeakMap<Weights, Floats>()
  const vector = (name: string): Floats | null => {
    const stored = parameters.get(name)
    if (!(stored instanceof Uint16Array)) return stored ?? null
    const known = widened.get(stored)
    if (known !== undefined) return known
    const made = widen(stored, kernels.allocate(stored.length))
    widened.set(stored, made)
    return made
  }
  // tables serve every shorter sequence, unless their angles depend on the length
  const ropeDepends = ropeDependsOnLength(config)
  let ropeLength = -1
  let tables: (layer: number) => RopeTables | null = () => null
  const rope = (layer: number, length: number) => {
    if (ropeDepends ? length !== ropeLength : length > ropeLength) {
      tables = layerRope(config, kernels, length)
      ropeLength = length
    }
    return tables(layer)
  }
  return (batch, length, changes = {}) => ({
    ...parsed,
    kernels,
    config,
    batch,
    length,
    first: 0,
    compute,
    rope: layer => rope(layer, length),
    weight: name => parameters.get(name)!,
    ...(kept === undefined ? {} : { kept }),
    vector,
    gradient: () => null,
    keep: buffer,
    scratch: (name, size) => buffer(`scratch ${name}`, size),
    backwardScratch: () => none,
    ...changes,
  })
}
