// Rotary positions in both spellings: `rope_theta` and `rope_scaling` of transformers 4, `rope_parameters` of 5.
import { RequestError } from '../../formats/error.ts'
import type { Position, RopeScaling } from '../config.ts'
import type { ConfigReader } from './reader.ts'

/** What a family's rotary positions are when config.json leaves something out, and its own names of keys. */
export interface RopeDefaults {
  theta?: number
  thetaKey?: string
  fraction?: number
  fractionKey?: string
  /** `max_position_embeddings` */
  context: number
}

/** The scaling in a rope object (`rope_scaling` or `rope_parameters`), undefined: none. Factors and defaults are transformers'. */
export function readScaling(rope: ConfigReader, context: number, topOriginal: number | null): RopeScaling | undefined {
  const kind = String(rope.first(['rope_type', 'type']) ?? 'default')
  const original = () => topOriginal ?? rope.integer('original_max_position_embeddings', context)
  switch (kind) {
    case 'default':
      return undefined
    case 'linear':
      return { kind: 'linear', factor: rope.number('factor') }
    case 'dynamic':
      rope.value('original_max_position_embeddings')
      return { kind: 'dynamic', factor: rope.number('factor'), originalContext: context }
    case 'llama3': {
      const lowFrequencyFactor = rope.number('low_freq_factor')
      const highFrequencyFactor = rope.number('high_freq_factor')
      return {
        kind: 'llama3',
        factor: rope.number('factor'),
        lowFrequencyFactor,
        highFrequencyFactor,
        originalContext: original(),
      }
    }
    case 'yarn': {
      const originalContext = original()
      const scaling: Extract<RopeScaling, { kind: 'yarn' }> = {
        kind: 'yarn',
        factor: rope.number('factor', context / originalContext),
        originalContext,
        betaFast: rope.number('beta_fast', 32) || 32,
        betaSlow: rope.number('beta_slow', 1) || 1,
        attentionFactor: rope.optionalNumber('attention_factor'),
      }
      const mscale = rope.optionalNumber('mscale')
      const mscaleAllDim = rope.optionalNumber('mscale_all_dim')
      if (mscale) scaling.mscale = mscale
      if (mscaleAllDim) scaling.mscaleAllDim = mscaleAllDim
      if (!rope.flag('truncate', true)) scaling.truncate = false
      return scaling
    }
    case 'longrope':
    case 'su': {
      const originalContext = original()
      const shortFactor = rope.numbers('short_factor')
      const longFactor = rope.numbers('long_factor')
      if (!shortFactor || !longFactor)
        throw new RequestError(`config.json has rope type 'longrope' without short_factor and long_factor`)
      const factor = rope.number('factor', context / originalContext)
      const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalContext))
      return {
        kind: 'longrope',
        shortFactor,
        longFactor,
        originalContext,
        attentionFactor: rope.optionalNumber('attention_factor') ?? inferred,
      }
    }
  }
  throw new RequestError(
    `config.json has rope type '${kind.slice(0, 50)}', expected default, linear, dynamic, llama3, yarn or longrope`,
  )
}

/** Reads the rotary settings of a model that has the same in all layers. */
export function readRope(
  read: ConfigReader,
  {
    theta = 10000,
    thetaKey = 'rope_theta',
    fraction = 1,
    fractionKey = 'partial_rotary_factor',
    context,
  }: RopeDefaults,
): Extract<Position, { kind: 'rope' }> {
  const outerTheta = read.number(thetaKey, theta)
  const outerFraction = read.number(fractionKey, fraction)
  const topOriginal = read.optionalInteger('original_max_position_embeddings')
  const older = read.object('rope_scaling')
  const newer = read.object('rope_parameters')
  const rope = older?.keys().length ? older : newer
  if (rope !== newer)
    newer?.keys().forEach(key => {
      newer.value(key)
    })
  const position: Extract<Position, { kind: 'rope' }> = {
    kind: 'rope',
    theta: rope?.number('rope_theta', outerTheta) ?? outerTheta,
    fraction: rope?.number('partial_rotary_factor', outerFraction) ?? outerFraction,
  }
  if (position.theta <= 0)
    throw new RequestError(`config.json has '${thetaKey}' ${position.theta}, expected a number above 0`)
  if (!(position.fraction > 0 && position.fraction <= 1))
    throw new RequestError(`config.json has '${fractionKey}' ${position.fraction}, expected a share above 0 up to 1`)
  const scaling = rope && readScaling(rope, context, topOriginal)
  if (scaling) position.scaling = scaling
  rope?.finish([])
  return position
}

/** The same settings spelled as transformers 4 and 5 both read them; `partial` names the keys of the share that is rotated. */
export function spellRope(position: Extract<Position, { kind: 'rope' }>): Record<string, unknown> {
  const { theta, scaling } = position
  return { rope_theta: theta, rope_scaling: scaling ? spellScaling(scaling) : null }
}

/** A scaling as an entry of config.json. */
function spellScaling(scaling: RopeScaling): Record<string, unknown> {
  const spelled: Record<string, unknown> = { rope_type: scaling.kind }
  const set = (key: string, value: unknown) => {
    if (value !== undefined && value !== null) spelled[key] = value
  }
  if (scaling.kind !== 'longrope') set('factor', scaling.factor)
  if (scaling.kind === 'llama3') {
    set('low_freq_factor', scaling.lowFrequencyFactor)
    set('high_freq_factor', scaling.highFrequencyFactor)
  }
  if (scaling.kind === 'yarn') {
    set('beta_fast', scaling.betaFast)
    set('beta_slow', scaling.betaSlow)
    set('attention_factor', scaling.attentionFactor)
    set('mscale', scaling.mscale)
    set('mscale_all_dim', scaling.mscaleAllDim)
    set('truncate', scaling.truncate)
  }
  if (scaling.kind === 'longrope') {
    set('short_factor', scaling.shortFactor)
    set('long_factor', scaling.longFactor)
    set('attention_factor', scaling.attentionFactor)
  }
  if (scaling.kind === 'llama3' || scaling.kind === 'yarn' || scaling.kind === 'longrope')
    set('original_max_position_embeddings', scaling.originalContext)
  return spelled
}
