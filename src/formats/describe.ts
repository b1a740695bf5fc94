// What a person compares formats by, one row a format: for the command's table, its JSON, and the table of the README.
import { bitsPerParameter, codeBits } from './bits.ts'
import { type FormatLike, PRESETS } from './format.ts'
import { levelCount } from './levels.ts'
import { gaussianMse, trainingCapacity } from './mse.ts'
import { parseFormat, printFormat } from './spelling.ts'

/** One row about a format. */
export interface FormatDescription {
  readonly name: string
  /** The k of k-bit. */
  readonly bits: number
  readonly bitsPerParameter: number
  /** Mean squared error on N(0,1). */
  readonly gaussianMse: number
  /** Predicted share of parameters that training at this format keeps. */
  readonly capacity: number
  /** How many values a code can have. */
  readonly levels: number
}

/** The formats that people choose among: a data type each at block 64, and the presets. */
export const COMMON_FORMATS: readonly string[] = [
  ...['int2', 'ternary', 'int3', 'nf3', 'int4', 'nf4', 'fp4e2m1', 'dyn4', 'quantile4', 'uint4'].map(
    name => `${name}@64`,
  ),
  'nf4@64/dyn8x256',
  'int4@32/e8m0',
  'int4@128',
  'int5@64',
  'fp5e2m2@64',
  'int6@64',
  'fp6e2m3@64',
  'dyn8@256',
  'fp8e4m3@64',
  'int8@channel',
  'int8@64',
  ...PRESETS,
  'fp16',
  'bf16',
]

/** The row of one format; with a shape, bits per parameter of a tensor of that shape. */
export function describeFormat(format: FormatLike, shape?: readonly number[]): FormatDescription {
  const record = parseFormat(format)
  return {
    name: printFormat(record),
    bits: codeBits(record),
    bitsPerParameter: bitsPerParameter(record, shape),
    gaussianMse: gaussianMse(record),
    capacity: trainingCapacity(record),
    levels: levelCount(record),
  }
}

/** Bits that the best possible code would need for the same error on N(0,1): log2(1 / MSE) / 2, the rate-distortion bound. */
export function effectiveBits({ gaussianMse }: FormatDescription): number {
  return gaussianMse > 0 ? -Math.log2(gaussianMse) / 2 : Infinity
}

/** Rows by bits per parameter, equal ones by error. */
export function sortDescriptions(rows: readonly FormatDescription[]): FormatDescription[] {
  return [...rows].sort((a, b) => a.bitsPerParameter - b.bitsPerParameter || a.gaussianMse - b.gaussianMse)
}

const trimmed = (x: number, digits: number) => Number(x.toFixed(digits)).toString()

/** The table of formats as Markdown, made from the records. */
export function formatsMarkdown(formats: readonly FormatLike[] = COMMON_FORMATS): string {
  const rows = sortDescriptions(formats.map(format => describeFormat(format)))
  const lines = rows.map(
    row =>
      `| \`${row.name}\` | ${trimmed(row.bitsPerParameter, 4)} | ${row.levels} | ${row.gaussianMse.toPrecision(3)} | ${effectiveBits(row).toFixed(2)} | ${row.capacity.toFixed(3)} |`,
  )
  return [
    '| format | bits per parameter | levels | Gaussian MSE | effective bits | capacity |',
    '|---|---:|---:|---:|---:|---:|',
    ...lines,
  ].join('\n')
}
