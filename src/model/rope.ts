// Rotary angles: inverse frequencies by every scaling that transformers knows, and their cosines and sines.
import type { Floats, Kernels } from '../tensor/kernels.ts'
import type { ModelConfig, RopeScaling } from './config.ts'

/** Cosines and sines (length, pairs) of one kind of layer. */
export interface RopeTables {
  cos: Floats
  sin: Floats
  pairs: number
}

/** Inverse frequencies of each pair, and what multiplies cosines and sines (yarn, longrope). */
export interface RopeFrequencies {
  frequencies: Float64Array
  magnitude: number
}

/** 1 / theta^(2 i / dimensions), scaled; `length` is the sequence's, on which dynamic and longrope scaling depend. */
export function ropeFrequencies(
  theta: number,
  dimensions: number,
  scaling: RopeScaling | undefined,
  length: number,
): RopeFrequencies {
  const pairs = dimensions / 2
  const base = (t: number) => Float64Array.from({ length: pairs }, (_, i) => t ** ((-2 * i) / dimensions))
  const plain = base(theta)
  if (scaling === undefined) return { frequencies: plain, magnitude: 1 }
  switch (scaling.kind) {
    case 'linear':
      return { frequencies: plain.map(f => f / scaling.factor), magnitude: 1 }
    case 'dynamic': {
      const { factor, originalContext } = scaling
      if (length <= originalContext) return { frequencies: plain, magnitude: 1 }
      const stretch = (factor * length) / originalContext - (factor - 1)
      return { frequencies: base(theta * stretch ** (dimensions / (dimensions - 2))), magnitude: 1 }
    }
    case 'llama3':
      return { frequencies: plain.map(f => llama3(f, scaling)), magnitude: 1 }
    case 'yarn':
      return yarn(plain, theta, dimensions, scaling)
    case 'longrope': {
      const factors = length > scaling.originalContext ? scaling.longFactor : scaling.shortFactor
      return { frequencies: plain.map((f, i) => f / factors[i]), magnitude: scaling.attentionFactor }
    }
  }
}

/** Long wavelengths divided by the factor, short ones kept, in between both mixed. */
function llama3(frequency: number, scaling: Extract<RopeScaling, { kind: 'llama3' }>): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling
  const turns = (originalContext * frequency) / (2 * Math.PI)
  if (turns < low) return frequency / factor
  if (turns > high) return frequency
  const smooth = (turns - low) / (high - low)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}

/** Pairs that turn less than betaSlow times in the original context are stretched, those above betaFast kept, a ramp between. */
function yarn(
  plain: Float64Array,
  theta: number,
  dimensions: number,
  scaling: Extract<RopeScaling, { kind: 'yarn' }>,
): RopeFrequencies {
  const { factor, originalContext, betaFast, betaSlow, mscale, mscaleAllDim, truncate = true } = scaling
  const pairOf = (turns: number) =>
    (dimensions * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  let low = pairOf(betaFast)
  let high = pairOf(betaSlow)
  if (truncate) {
    low = Math.floor(low)
    high = Math.ceil(high)
  }
  low = Math.max(low, 0)
  high = Math.min(high, dimensions - 1)
  if (low === high) high += 0.001
  const frequencies = plain.map((f, i) => {
    const stretched = Math.min(Math.max((i - low) / (high - low), 0), 1)
    return (f / factor) * stretched + f * (1 - stretched)
  })
  const attention = (m: number) => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1)
  let magnitude = scaling.attentionFactor
  if (magnitude === null)
    magnitude = mscale && mscaleAllDim ? attention(mscale) / attention(mscaleAllDim) : attention(1)
  return { frequencies, magnitude }
}

/** Tables for positions 0 … length - 1. */
function ropeTables(
  kernels: Pick<Kernels, 'allocate'>,
  theta: number,
  dimensions: number,
  scaling: RopeScaling | undefined,
  length: number,
): RopeTables {
  const { frequencies, magnitude } = ropeFrequencies(theta, dimensions, scaling, length)
  const pairs = frequencies.length
  const cos = kernels.allocate(length * pairs)
  const sin = kernels.allocate(length * pairs)
  for (let t = 0; t < length; t++)
    for (let i = 0; i < pairs; i++) {
      cos[t * pairs + i] = Math.cos(t * frequencies[i]) * magnitude
      sin[t * pairs + i] = Math.sin(t * frequencies[i]) * magnitude
    }
  return { cos, sin, pairs }
}

/** The tables of every layer at one length, made at first use: layers with a window may have a theta of their own, some none. */
export function layerRope(
  config: ModelConfig,
  kernels: Pick<Kernels, 'allocate'>,
  length: number,
): (layer: number) => RopeTables | null {
  const { position, headSize } = config
  if (position.kind !== 'rope') return () => null
  const dimensions = 2 * Math.floor(Math.floor(headSize * position.fraction + 1e-9) / 2)
  const made = new Map<boolean, RopeTables>()
  return layer => {
    if (position.layers?.[layer] === false || dimensions === 0) return null
    const local = position.localTheta !== undefined && (config.attention.windows?.[layer] ?? null) !== null
    let tables = made.get(local)
    if (tables === undefined) {
      const theta = local ? position.localTheta! : position.theta
      tables = ropeTables(kernels, theta, dimensions, local ? undefined : position.scaling, length)
      made.set(local, tables)
    }
    return tables
  }
}

/** Whether the angle at a position is another in a longer sequence. */
export function ropeDependsOnLength({ position }: ModelConfig): boolean {
  return position.kind === 'rope' && (position.scaling?.kind === 'dynamic' || position.scaling?.kind === 'longrope')
}

/** ALiBi's slope of each head: powers of 2^(-8/n) for the power of two n at or below `heads`, then odd powers of its square root. */
export function alibiSlopes(heads: number): Float64Array {
  const near = 2 ** Math.floor(Math.log2(heads))
  return Float64Array.from({ length: heads }, (_, h) =>
    h < near ? 2 ** ((-8 / near) * (h + 1)) : 2 ** ((-4 / near) * (2 * (h - near) + 1)),
  )
}
