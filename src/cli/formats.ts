// bitlaw formats: what each number format stores and loses.
import { type Command, Option } from 'commander'
import { RequestError } from '../formats/error.ts'
import {
  COMMON_FORMATS,
  describeFormat,
  effectiveBits,
  type FormatDescription,
  formatsMarkdown,
  sortDescriptions,
} from '../formats/index.ts'
import { printJson, printText, table } from './output.ts'

/** `4096x4096` as [4096, 4096]. */
function parseShape(text: string): number[] {
  const axes = text.split(/[x,]/i).map(Number)
  if (text.trim() !== '' && axes.every(axis => Number.isSafeInteger(axis) && axis > 0)) return axes
  throw new RequestError(`shape '${text}' is not a list of whole numbers, expected something like 4096x11008`)
}

/** A bar to scale, a cell a bit: full where the bits lower the error, light where the format spends more than the error needs. */
function bar(row: FormatDescription, cells: number, widest: number): string {
  const scale = cells / widest
  const useful = Math.min(effectiveBits(row), row.bitsPerParameter) * scale
  const spent = Math.round(row.bitsPerParameter * scale)
  const eighths = ' ▏▎▍▌▋▊▉'
  const whole = Math.floor(useful)
  const part = eighths[Math.floor((useful - whole) * 8)].trim()
  const solid = '█'.repeat(whole) + part
  return solid + '·'.repeat(Math.max(spent - solid.length, 0))
}

function report(rows: readonly FormatDescription[]): string {
  const widest = Math.max(...rows.map(row => row.bitsPerParameter))
  const cells = rows.map(row => [
    row.name,
    row.bitsPerParameter.toFixed(4).replace(/\.?0+$/, ''),
    row.levels,
    row.gaussianMse.toPrecision(3),
    effectiveBits(row).toFixed(2),
    row.capacity.toFixed(3),
    bar(row, Math.min(Math.round(3 * widest), 36), widest),
  ])
  const header = [
    'format',
    'bits/param',
    'levels',
    'Gaussian MSE',
    'effective',
    'capacity',
    'bits: █ effective · spent',
  ]
  return table(header, cells)
}

/** Adds arguments, options and action. */
export function register(command: Command): void {
  command
    .argument('[format...]', 'formats to compare, like nf4@64 or mxfp4 (default: the common ones)')
    .option('--shape <shape>', 'count every bit of a tensor of this shape (out x in), like 4096x4096')
    .addOption(new Option('--markdown', 'print a Markdown table').conflicts(['json', 'shape']))
    .option('--json', 'print one JSON document')
    .action((formats: string[], options: { shape?: string; markdown?: boolean; json?: boolean }) => {
      const names = formats.length > 0 ? formats : COMMON_FORMATS
      if (options.markdown) return printText(formatsMarkdown(names))
      const shape = options.shape === undefined ? undefined : parseShape(options.shape)
      const rows = sortDescriptions(names.map(name => describeFormat(name, shape)))
      if (options.json) return printJson(rows)
      printText(report(rows))
      printText(
        '\nGaussian MSE: squared error on N(0,1) at that block. Effective: bits that the best possible code needs for that error.\nCapacity: share of its parameters that a model trained at the format is predicted to keep.',
      )
    })
}
