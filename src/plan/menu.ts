// Which training precisions a law can choose from. Some laws are functions of the number of bits; others know formats by
// name, or were fitted at one width each, and are asked about those alone.
import type { TrainingBits } from './cost.ts'
import type { LawFit } from './fits.ts'
import { lossAt, tied } from './train.ts'

/** A precision that a law knows by the name of its formats: what is put into its columns, beside the bits that are paid for. */
export interface TrainingFormats extends TrainingBits {
  label: string
  columns: Readonly<Record<string, string | number>>
}

/** 16 bits everywhere. */
const PLAIN: TrainingFormats = { ...tied(16), label: '16', columns: {} }

/** Bits in the name of a format: of int4, mxfp4, fp8e4m3, or of BF16; formats without a number in their name have 4 (Quartet's are MXFP4). */
function bitsOfName(name: string): number {
  if (/^(bf16|fp16|none)$/i.test(name)) return 16
  return name.toLowerCase() === 'ternary' ? Math.log2(3) : Number(/\d+/.exec(name)?.[0] ?? 4)
}

/** Weights and activations in formats of these names; the cache is stored as activations are. */
function pair(weights: string, activations: string): TrainingFormats {
  const [pw, pa] = [bitsOfName(weights), bitsOfName(activations)]
  const label = weights === activations ? weights : `${weights}/${activations}`
  return { pw, pa, pkv: pa, label, columns: { format_w: weights, format_a: activations } }
}

/** Element formats that a law of Gaussian error is asked about: those of hardware, and integers. */
const BY_ERROR = ['int2', 'int3', 'int4', 'int5', 'int6', 'int7', 'int8', 'mxfp4', 'nvfp4', 'fp6e2m3', 'fp8e4m3']

/** Floating-point formats, as the law of Sun et al. reads them. */
const FLOATS = ['fp4e2m1', 'fp5e2m2', 'fp6e2m3', 'fp6e3m2', 'fp8e4m3', 'fp8e5m2']

/** Choices by names in the fit's parameters: `eff int4/BF16` of multipliers; `eff_N RTN` with `eff_D SR` of Quartet. */
function namedChoices({ law, parameters }: LawFit): TrainingFormats[] {
  const names = Object.keys(parameters)
  const after = (prefix: string) => names.filter(name => name.startsWith(prefix)).map(name => name.slice(prefix.length))
  if (law.columns.some(column => column.name === 'forward')) {
    // Names of one and the same thing are asked about once.
    const distinct = (prefix: string) => {
      const of = (name: string) => parameters[prefix + name]
      return after(prefix).filter((name, i, all) => all.findIndex(other => of(other) === of(name)) === i)
    }
    const backward = ['BF16', ...distinct('eff_D ')]
    return distinct('eff_N ').flatMap(forward =>
      backward.map(back => {
        const bits = bitsOfName(forward)
        return { ...tied(bits), label: `${forward}/${back}`, columns: { forward, backward: back } }
      }),
    )
  }
  return after('eff ')
    .filter(name => !name.includes('sparse'))
    .map(name => pair(name.split('/')[0], name.split('/')[1] ?? 'BF16'))
}

/** Choices of a law, 16 bits among them; null: it is a function of bits; only 16: it does not tell precisions apart. */
export function menuOf(fit: LawFit): readonly TrainingFormats[] | null {
  const reads = (name: string) => fit.law.columns.some(column => column.name === name)
  if (reads('forward') || Object.keys(fit.parameters).some(name => name.startsWith('eff ')))
    return [...namedChoices(fit), PLAIN]
  if (reads('log_quarter_w')) return [...BY_ERROR.map(name => pair(name, name)), ...['int3', 'int4', 'int8'].map(name => pair(name, 'BF16')), PLAIN] // biome-ignore format: one line a law
  if (reads('exponent')) return [...FLOATS.map(name => ({ ...pair(name, name), columns: { format_w: `${name}@128` } })), PLAIN] // biome-ignore format: one line a law
  if (reads('group')) {
    // One fit a width: its range says which.
    const [pw, pa] = [fit.range['P_w']?.[0] ?? 4, fit.range['P_a']?.[0] ?? 4]
    return [{ pw, pa, pkv: pa, label: `W${pw}A${pa}, groups of 128`, columns: { group: 128 } }, PLAIN]
  }
  return seesBits(fit) ? null : [PLAIN]
}

/** True where a law's loss is a function of the bits of training, fractions included. */
export function seesBits({ law, parameters }: LawFit): boolean {
  if (!law.columns.some(column => column.name === 'P_w')) return false
  const at = (bits: number) => lossAt(law, parameters, { cost: { kind: 'bits' } }, 1e8, 1e10, tied(bits))
  const values = [16, 8, 6.5, 5].map(at)
  return values.every(Number.isFinite) && new Set(values).size === values.length
}
