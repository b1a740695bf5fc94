// The values that one code can stand for, apart from its scale.
import { codebook } from './codebook.ts'
import { elementTable } from './elements.ts'
import { RequestError } from './error.ts'
import type { Element, FormatLike, PresetName } from './format.ts'
import { IQ4_LEVELS } from './ggml-tables.ts'
import { microscaling } from './preset.ts'
import { parseFormat } from './spelling.ts'

/** Whole numbers from low to high. */
function range(low: number, high: number): number[] {
  return Array.from({ length: high - low + 1 }, (_, i) => low + i)
}

/** Sorted, distinct finite values of a table of codes. */
function finite(values: Iterable<number>): number[] {
  return [
    ...new Set(
      Array.from(values)
        .filter(Number.isFinite)
        .map(value => value + 0),
    ),
  ].sort((a, b) => a - b)
}

function ggmlLevels(name: PresetName): number[] {
  switch (name) {
    case 'q4_0':
      return range(-8, 7)
    case 'q5_0':
      return range(-16, 15)
    case 'q8_0':
      return range(-127, 127)
    case 'q3_k':
      return range(-4, 3)
    case 'q6_k':
      return range(-32, 31)
    case 'iq4_nl':
    case 'iq4_xs':
      return [...IQ4_LEVELS]
    case 'tq1_0':
    case 'tq2_0':
      return [-1, 0, 1]
    default: // with a minimum: q4_1, q5_1, q2_k, q4_k, q5_k
      return range(0, 2 ** Number(name[1]) - 1)
  }
}

/** Sorted levels of a scaled element, those of absmax at -1 and 1; of `uint`, from 0 to 1. */
export function elementLevels(element: Element): Float64Array {
  if (element.kind === 'uint')
    return Float64Array.from(range(0, 2 ** element.bits - 1), code => code / (2 ** element.bits - 1))
  if (element.kind === 'full') {
    const half = 2 ** (element.bits - 1)
    return Float64Array.from(range(-half, half - 1), code => code / (half - 0.5))
  }
  return codebook(element).levels
}

/**
 * The sorted values of a format: of scaled elements normalised (a block's absmax at -1 and 1; of `uint` its range from 0 to
 * 1), of MX and NVFP4 the element's, of ggml's types the integers or table entries that scales multiply, of bf16 and fp16
 * all finite values. `quantile<k>` gives those of the normal. fp32 has too many: RequestError.
 */
export function levels(format: FormatLike): number[] {
  const record = parseFormat(format)
  if (record.kind === 'scaled') return Array.from(elementLevels(record.element))
  if (record.kind === 'preset') {
    const mx = microscaling(record.name)
    if (!mx) return ggmlLevels(record.name)
    return mx.element ? finite(elementTable(mx.element)) : range(-127, 127).map(code => code / 64)
  }
  if (record.name === 'fp32') throw new RequestError(`fp32 has ${levelCount('fp32')} levels, too many to list`)
  return finite(elementTable(record.name === 'bf16' ? 'bfloat16' : 'float16'))
}

/** How many levels a format has (of quantile formats: the most that estimation can give). */
export function levelCount(format: FormatLike): number {
  const record = parseFormat(format)
  if (record.kind === 'plain' && record.name === 'fp32') return 2 * 255 * 2 ** 23 - 1
  if (record.kind === 'scaled' && record.element.kind === 'quantile' && record.element.book.endsWith('_sample'))
    return 2 ** record.element.bits
  return levels(record).length
}
