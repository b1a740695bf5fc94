// Expected squared error of a format on N(0,1): which integral each kind of record asks for, and what of training capacity
// that error predicts.
import { codebook } from './codebook.ts'
import { elementTable, encodeElement, exponentOf, findElement } from './elements.ts'
import type { Format, FormatLike, PresetName, ScaledFormat } from './format.ts'
import { type AbsmaxProblem, absmaxError, absmaxQuantile, bestScale, integrate } from './gaussian.ts'
import { gridMse, rangeMse } from './gaussian-grid.ts'
import { SEARCHED_MSE } from './gaussian-table.ts'
import { elementLevels, levels as levelsOf } from './levels.ts'
import { normalDensity, normalTail, normalWithin } from './normal.ts'
import { ggmlType, microscaling } from './preset.ts'
import { isStepped, largestStep } from './scaled.ts'
import { parseFormat, printFormat } from './spelling.ts'

/** Values of the tensor that gives e4m3 scales and NVFP4 their one f32. */
const TENSOR = 64 * 1024

/** Values that share a scale where a row or a tensor does. */
const ROW = 4096

const E4M3 = elementTable('float8_e4m3fn')
const HALF = findElement('float16')

/** Powers of two times `unit` from 2^-12 to 2^4: where a scale that is a power of two jumps. */
function octaves(unit: number): number[] {
  return Array.from({ length: 17 }, (_, i) => unit * 2 ** (i - 12))
}

/** Mean over the absmax M of a whole tensor of an error that depends on it, by its quantiles. */
function overTensors(error: (absmax: number) => number): number {
  return integrate(p => error(absmaxQuantile(TENSOR, p)), 0, 1, 10)
}

/** E4M3(x) for x from 0 to 448. */
const toE4m3 = (x: number) => E4M3[encodeElement('float8_e4m3fn', x, { saturate: true })]

/** Where E4M3 rounding changes: the middles of its values. */
const E4M3_MIDDLES = Array.from({ length: 126 }, (_, code) => (E4M3[code] + E4M3[code + 1]) / 2)

/** Mean error where scales are quantized again in blocks of 256: dyn8 of their distance from the mean, over the largest. */
function doubleQuantized(problem: AbsmaxProblem): number {
  const { block } = problem
  const low = absmaxQuantile(block, 1e-16)
  const high = absmaxQuantile(block, 1 - 1e-16)
  const density = (m: number) => 2 * block * normalDensity(m) * normalWithin(m) ** (block - 1)
  let mean = 0
  for (let i = 0; i < 16; i++)
    mean += integrate(m => m * density(m), low + ((high - low) * i) / 16, low + ((high - low) * (i + 1)) / 16, 8)
  const below = (m: number) => (m <= 0 ? 0 : normalWithin(m) ** block)
  const { levels, thresholds } = codebook({ kind: 'dyn', bits: 8, exponent: 7 })
  // The largest distance of 256, by its quantiles.
  const distance = (p: number) => {
    let a = 0
    let b = high
    for (let step = 0; step < 50; step++) {
      const c = (a + b) / 2
      if ((below(mean + c) - below(mean - c)) ** 256 < p) a = c
      else b = c
    }
    return (a + b) / 2
  }
  return integrate(
    p => {
      const largest = distance(p)
      const jumps = Array.from(thresholds, threshold => mean + threshold * largest)
      const scaleOf = (m: number) => {
        let code = 0
        while (code < thresholds.length && (m - mean) / largest > thresholds[code]) code++
        return mean + levels[code] * largest
      }
      return absmaxError({ ...problem, scaleOf, jumps })
    },
    0,
    1,
    6,
  )
}

function scaledMse(format: ScaledFormat): number {
  const { element, shares, scale, centered, proxy, stochastic, clip } = format
  const n = typeof shares === 'number' ? shares : ROW
  // Kept dimensions have no error and take their values out of the blocks.
  const kept = 1 - proxy / 100
  const block = Math.max(n * kept, 1)
  // What is left after the mean is subtracted is a little smaller, and so are its absmax and its error.
  const spread = centered ? 1 - 1 / n : 1
  const factor = kept * spread
  if (element.kind === 'uint' || element.kind === 'full')
    return factor * gridMse(element.kind, element.bits, block, stochastic)
  const levels = elementLevels(element)
  // Rounding of a step and of an absmax are the same but for e8m0, where the step is what becomes a power of two.
  const unit = isStepped(format) ? largestStep(element) : 1
  const problem: AbsmaxProblem = { block, levels, scaleOf: m => m, stochastic }
  let error: number
  if (scale === 'e8m0')
    error = absmaxError({ ...problem, scaleOf: m => unit * 2 ** Math.ceil(Math.log2(m / unit)), jumps: octaves(unit) })
  else if (scale === 'e4m3')
    error = overTensors(limit => {
      const g = limit / 448
      const jumps = E4M3_MIDDLES.map(middle => middle * g * unit)
      return absmaxError({ ...problem, limit, jumps, scaleOf: m => unit * g * toE4m3(m / unit / g) })
    })
  else if (scale === 'dyn8x256') error = doubleQuantized(problem)
  else error = absmaxError(problem)
  // A clipped scale is at least as good as the one scale that is best for all.
  if (clip) error = Math.min(error, bestScale(levels, stochastic).mse)
  return factor * error
}

/** Error of numbers rounded to a float of that many mantissa bits: an ulp squared over 12, octave by octave. */
function plainMse(mantissa: number, lowest: number): number {
  let sum = ((2 ** (lowest - mantissa)) ** 2 / 12) * normalWithin(2 ** lowest)
  for (let exponent = lowest; exponent < 4; exponent++)
    sum += ((2 ** (exponent - mantissa)) ** 2 / 12) * 2 * (normalTail(2 ** exponent) - normalTail(2 ** (exponent + 1)))
  return sum
}

/** Mean of an error over a number's rounding to fp16: as if it were off by plus or minus a standard deviation. */
function atHalf(error: (stored: (d: number) => number) => number): number {
  const off = (d: number) => 2 ** (Math.max(exponentOf(d), 1 - HALF.bias) - HALF.mantissa) / Math.sqrt(12)
  return (error(d => d - off(d)) + error(d => d + off(d))) / 2
}

function presetMse(name: PresetName): number {
  const searched = SEARCHED_MSE[name]
  if (searched !== undefined) return searched
  const levels = Float64Array.from(levelsOf(name))
  if (name === 'nvfp4')
    return overTensors(limit => {
      const g = limit / 2688
      const jumps = E4M3_MIDDLES.map(middle => middle * g * 6)
      return absmaxError({ block: 16, levels, limit, jumps, scaleOf: m => g * toE4m3(m / 6 / g) })
    })
  const mx = microscaling(name)
  if (mx)
    return absmaxError({ block: mx.block, levels, scaleOf: m => 2 ** (exponentOf(m) - mx.emax), jumps: octaves(1) })
  const { block } = ggmlType(name)!
  const top = levels[levels.length - 1]
  if (name === 'q4_1' || name === 'q5_1') return atHalf(stored => rangeMse(top, block, stored))
  // q4_0 and q5_0 put the extreme value, whatever its sign, on their lowest level; seen from it, levels are reversed.
  const reversed = name === 'q4_0' || name === 'q5_0'
  const steps = reversed ? levels.map(level => -level).reverse() : levels
  const reach = reversed ? -levels[0] : top
  return atHalf(stored => absmaxError({ block, levels: steps, scaleOf: m => stored(m / reach), signed: reversed }))
}

const kept = new Map<string, number>()

function compute(record: Format): number {
  if (record.kind === 'scaled') return scaledMse(record)
  if (record.kind === 'preset') return presetMse(record.name)
  if (record.name === 'fp32') return plainMse(23, -40)
  return record.name === 'bf16' ? plainMse(7, -40) : plainMse(10, -14)
}

/**
 * Mean squared error on N(0,1) of a format at its block, scaled by absmax: fp16, bf16 and fp32 scales count as exact, others
 * as they are stored; rows and tensors that share a scale have 4096 values; a tensor with one f32 of its own has 65536.
 * By quadrature; of the ggml types that search for scales from a table that their own encoders made.
 */
export function gaussianMse(format: FormatLike): number {
  const record = parseFormat(format)
  const name = printFormat(record)
  let error = kept.get(name)
  if (error === undefined) {
    error = compute(record)
    kept.set(name, error)
  }
  return error
}

const clipped = new Map<string, { scale: number; mse: number }>()

/** The best single scale for N(0,1) without blocks (of the normalised levels), and its mean squared error. */
export function bestClip(format: FormatLike): { scale: number; mse: number } {
  const record = parseFormat(format)
  if (record.kind !== 'scaled') return { scale: 1, mse: gaussianMse(record) }
  const name = `${record.stochastic} ${printFormat({ ...record, shares: 'tensor' })}`
  let best = clipped.get(name)
  if (!best) {
    best = bestScale(elementLevels(record.element), record.stochastic)
    clipped.set(name, best)
  }
  return best
}

/** Panferov et al. 2025 (arXiv 2506.01863), L0, F and C fitted to all of QuEST's published runs: rho = L0 tanh(F log_{1/4} GMSE)^C. */
export const CAPACITY = { L0: 1.0231504232670237, F: 0.4129323312412689, C: 1.6061156536601635 } as const

/**
 * Predicted training capacity: the share of its parameters that a model keeps when this format rounds its weights (and
 * activations: multiply), at most 1, from the error with the better of the absmax and the best clip.
 */
export function trainingCapacity(format: FormatLike): number {
  const record = parseFormat(format)
  const error = record.kind === 'scaled' ? Math.min(gaussianMse(record), bestClip(record).mse) : gaussianMse(record)
  const { L0, F, C } = CAPACITY
  return Math.min(L0 * Math.tanh((F * Math.log(error)) / Math.log(1 / 4)) ** C, 1)
}
