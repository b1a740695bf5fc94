// What is known of a model before it is measured: its shape, N, the tokens it was trained on, the precision it was
// trained at, whether its learning rate had decayed. From a checkpoint's own files, or from the record of a known model.
import { codeBits } from '../formats/index.ts'
import { countParameters, type ModelConfig, type Precision, parameterSpecs } from '../model/config.ts'
import { parseConfig } from '../model/families/index.ts'
import { readPrecision } from '../model/load.ts'
import { asObject, openSource } from '../model/sources.ts'
import { type KnownModel, MODELS, type Shape, type TrainingBits } from '../plan/index.ts'
import { readCard, tokensFromCard } from './card.ts'

/** A model as laws see it. */
export interface Subject {
  name: string
  n: number
  nTotal: number
  /** Training tokens; null: not known. */
  d: number | null
  /** Where D comes from, in words. */
  dSource: string | null
  shape: Shape
  /** Bits of training. */
  trained: TrainingBits
  /** Whether the learning rate had decayed at this checkpoint; null: not known. */
  decayed: boolean | null
}

const PLAIN: TrainingBits = { pw: 16, pa: 16, pkv: 16 }

/** The known model of that name or hub name. */
export function findKnown(name: string): KnownModel | undefined {
  return MODELS.find(model => model.name === name || model.hub.toLowerCase() === name.toLowerCase())
}

/** The planner's shape of a model's record: matrices by their sizes, all else in `vectors`. */
export function shapeOfConfig(config: ModelConfig): Shape {
  const { layers, width, heads, kvHeads, headSize, hidden, vocab, tied } = config
  let vectors = 0
  let positions = 0
  for (const spec of parameterSpecs(config)) {
    const size = spec.shape.reduce((a, b) => a * b, 1)
    if (spec.kind === 'position' || spec.name === 'head.bias') positions += size
    else if (spec.shape.length === 1 || /^project(In|Out)/.test(spec.name)) vectors += size
  }
  return {
    layers,
    width,
    heads,
    kvHeads,
    headSize,
    hidden,
    gated: config.mlp.gated,
    vocab,
    tied,
    vectors,
    positions: positions / width,
  }
}

/** Bits of a precision that a checkpoint was trained at. */
function bitsOfPrecision(precision: Precision | null): TrainingBits {
  const bits = (format: string | null | undefined) => (format == null ? 16 : codeBits(format))
  return precision ? { pw: bits(precision.weights), pa: bits(precision.activations), pkv: bits(precision.kv) } : PLAIN
}

/** A known model as a subject; a D that is given comes first. */
export function knownSubject({ name, n, nTotal, d, shape, source }: KnownModel, given: number | null): Subject {
  return {
    name,
    n,
    nTotal,
    d: given ?? d,
    dSource: given !== null ? 'given' : d === null ? null : source,
    shape,
    trained: PLAIN,
    decayed: null,
  }
}

/** A checkpoint as a subject, by its configuration and card; no weights are read. */
export async function openSubject(reference: string, given: number | null): Promise<Subject> {
  const source = await openSource(reference, [])
  try {
    const { quantization_config: _, ...rawConfig } = source.rawConfig
    const { config } = parseConfig(rawConfig, [])
    const bitlaw = asObject(source.rawConfig['bitlaw'])
    const known = given !== null || typeof bitlaw?.['d'] === 'number' || findKnown(reference)?.d != null
    const card = known ? null : await readCard(reference, source.folder)
    return subjectOf(reference, config, bitlaw, card, given)
  } finally {
    source.tensors.close()
  }
}

function subjectOf(
  name: string,
  config: ModelConfig,
  bitlaw: Record<string, unknown> | null,
  card: string | null,
  given: number | null,
): Subject {
  const known = findKnown(name)
  const own = typeof bitlaw?.['d'] === 'number' ? bitlaw['d'] : null
  const written = card === null ? null : tokensFromCard(card)
  const sources: [number | null | undefined, string][] = [
    [given, 'given'],
    [own, 'config.json'],
    [known?.d, known?.source ?? ''],
    [written, 'the model card'],
  ]
  const [d, dSource] = sources.find(([value]) => value != null) ?? [null, null]
  const rate = bitlaw?.['lrFraction']
  return {
    name,
    ...countParameters(config),
    d: d ?? null,
    dSource,
    shape: shapeOfConfig(config),
    trained: bitsOfPrecision(readPrecision(bitlaw?.['precision'])),
    decayed: typeof rate === 'number' ? rate < 0.5 : null,
  }
}
