// Plain floats and the presets by the native kernels; those that the kernels do not know, and shapes that are refused, are
// left to formats/.
import { elementTable } from '../formats/elements.ts'
import type { Encoded, EncodeOptions, PlainFormat, PresetName } from '../formats/format.ts'
import { GGML_TYPES, ggmlWeights } from '../formats/ggml.ts'
import type { Microscaling } from '../formats/mx.ts'
import { ggmlType, microscaling } from '../formats/preset.ts'
import { absmaxOf, E4M3_LEVELS, type EncodedArrays, type Native } from './quantize-scaled.ts'

/** ggml's types in the addon's order. */
const KINDS = GGML_TYPES.map(({ name }) => name)

/** What the addon knows of an MX format: bits (0: int8 / 64), mantissa, bias, largest code, exponent of the largest value. */
function microArguments({ element, emax }: Microscaling): [number, number, number, number, number] {
  return element ? [element.bits, element.mantissa, element.bias, element.maxCode, emax] : [0, 1, 0, 0, emax]
}

const tables = new Map<PresetName, Float32Array>()

/** The values of all 256 codes of an MX format; nan for those it does not have. */
function levelsOf({ name, element }: Microscaling): Float32Array {
  let levels = tables.get(name)
  if (!levels) {
    levels = new Float32Array(256).fill(Number.NaN)
    if (element) levels.set(elementTable(element))
    else for (let code = 0; code < 256; code++) levels[code] = ((code << 24) >> 24) / 64
    tables.set(name, levels)
  }
  return levels
}

/** Encodes a tensor that is not empty as a plain float. */
export function encodePlainNative(
  { addon, engine }: Native,
  x: Float32Array,
  shape: readonly number[],
  { name }: PlainFormat,
): Encoded {
  const head = { format: name, shape: [...shape] }
  if (name === 'fp32') {
    const codes = new Float32Array(x.length)
    addon.copy(engine, x.length, x, codes)
    return { ...head, codes }
  }
  const codes = new Uint16Array(x.length)
  addon.encodeHalf(engine, x.length, name === 'bf16', x, codes)
  return { ...head, codes }
}

/** Decodes a plain float into `out`; false, and nothing written, where its codes are not those of the kernels. */
export function decodePlainNative(
  { addon, engine }: Native,
  { codes }: Encoded,
  { name }: PlainFormat,
  out: Float32Array,
): boolean {
  if (name === 'fp32') {
    if (!(codes instanceof Float32Array)) return false
    addon.copy(engine, out.length, codes, out)
    return true
  }
  if (!(codes instanceof Uint16Array)) return false
  if (name === 'bf16') addon.widenBf16(engine, out.length, codes, out)
  else addon.decodeHalf(engine, out.length, codes, out)
  return true
}

/** Encodes a tensor that is not empty in a preset; undefined where that is left to formats/. */
export function encodePresetNative(
  native: Native,
  x: Float32Array,
  shape: readonly number[],
  name: PresetName,
  options: EncodeOptions,
  into: EncodedArrays,
): Encoded | undefined {
  const { addon, engine } = native
  const head = { format: name, shape: [...shape] }
  const size = x.length
  const micro = microscaling(name)
  if (!micro) {
    const type = ggmlType(name)!
    const { block, bytes: each } = type
    if (shape[shape.length - 1] % block !== 0) return undefined
    const weights = ggmlWeights(x, shape, type, options.importance)
    // The small types are rounded without a search there.
    if (weights && /^q[45]_[01]$/.test(name)) return undefined
    const blocks = size / block
    const bytes = into.codes ?? new Uint8Array(blocks * each)
    if (name === 'q8_0') addon.encodeQ8(engine, size, x, bytes)
    else addon.encodeGgml(engine, KINDS.indexOf(name), blocks, x, weights ?? null, bytes)
    return { ...head, bytes }
  }
  const codes = into.codes ?? new Uint8Array(size)
  const scales = into.zeros ?? new Uint8Array(Math.ceil(size / micro.block))
  if (name === 'nvfp4') {
    const tensorScale = Math.fround(absmaxOf(native, x) / 2688)
    addon.encodeNvfp4(engine, size, ...microArguments(micro), E4M3_LEVELS, tensorScale, x, scales, codes)
    return { ...head, codes, scales, tensorScale }
  }
  if (name === 'mxfp4' && size % 32 === 0) addon.encodeMxfp4(engine, size, x, scales, codes)
  else addon.encodeMicro(engine, size, ...microArguments(micro), x, scales, codes)
  if (micro.element) return { ...head, codes, scales }
  return { ...head, codes: new Int8Array(codes.buffer, codes.byteOffset, codes.length), scales }
}

/** Decodes a preset into `out`; false, and nothing written, where that is left to formats/. */
export function decodePresetNative(
  { addon, engine }: Native,
  encoded: Encoded,
  name: PresetName,
  out: Float32Array,
): boolean {
  const { codes, scales, bytes, tensorScale } = encoded
  const size = out.length
  const micro = microscaling(name)
  if (!micro) {
    const { block, bytes: each } = ggmlType(name)!
    const blocks = size / block
    if (!bytes || encoded.shape[encoded.shape.length - 1] % block !== 0 || bytes.length < blocks * each) return false
    if (name === 'q8_0') addon.decodeQ8(engine, size, bytes, out)
    else addon.decodeGgml(engine, KINDS.indexOf(name), blocks, bytes, out)
    return true
  }
  if (!(codes instanceof Uint8Array || codes instanceof Int8Array) || !(scales instanceof Uint8Array)) return false
  const patterns = new Uint8Array(codes.buffer, codes.byteOffset, codes.length)
  if (name === 'nvfp4')
    addon.decodeNvfp4(engine, size, levelsOf(micro), E4M3_LEVELS, tensorScale, patterns, scales, out)
  else if (name === 'mxfp4' && size % 32 === 0) addon.decodeMxfp4(engine, size, patterns, scales, out)
  else addon.decodeMicro(engine, size, levelsOf(micro), patterns, scales, out)
  return true
}
