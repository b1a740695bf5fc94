// Presets by name: which of the two families encodes them.
import type { Encoded, EncodeOptions, Floats, PresetName } from './format.ts'
import { decodeGgml, encodeGgml, GGML_TYPES, type GgmlType } from './ggml.ts'
import { decodeMicroscaling, encodeMicroscaling, MICROSCALING, type Microscaling } from './mx.ts'

const MX = new Map<PresetName, Microscaling>(MICROSCALING.map(format => [format.name, format]))
const GGML = new Map<PresetName, GgmlType>(GGML_TYPES.map(type => [type.name, type]))

/** The microscaling record of a preset, or undefined. */
export function microscaling(name: PresetName): Microscaling | undefined {
  return MX.get(name)
}

/** The ggml record of a preset, or undefined. */
export function ggmlType(name: PresetName): GgmlType | undefined {
  return GGML.get(name)
}

/** Encodes a tensor in a preset. */
export function encodePreset(
  x: Floats,
  shape: readonly number[],
  name: PresetName,
  { importance }: EncodeOptions = {},
): Encoded {
  const mx = MX.get(name)
  return mx ? encodeMicroscaling(x, shape, mx) : encodeGgml(x, shape, GGML.get(name)!, importance)
}

/** Decodes a tensor of a preset into `out`. */
export function decodePreset(encoded: Encoded, name: PresetName, out: Floats): void {
  const mx = MX.get(name)
  if (mx) decodeMicroscaling(encoded, mx, out)
  else decodeGgml(encoded, GGML.get(name)!, out)
}
