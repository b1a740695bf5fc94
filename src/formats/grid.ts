// Integer grids that use all 2^k codes, with the GPTQ authors' way of finding them: `uint<k>` has a zero point of k bits,
// `int<k>full` puts it at 2^(k-1). Zero is always on the grid. Value = scale * (code - zero).
import { roundHalfEven } from './elements.ts'
import type { Encoded, Floats, ScaledFormat } from './format.ts'
import type { Layout } from './layout.ts'
import { randomUniform } from './random.ts'
import { roundScale, roundScales } from './scale.ts'
import { searchRatio } from './search.ts'

const f32 = Math.fround

/** Least and largest value of a run, 0 included; full grids symmetric; -1 and 1 where all are 0; nan where a value is not finite. */
function rangeOf(x: Floats, start: number, end: number, symmetric: boolean): { low: number; high: number } {
  let low = 0
  let high = 0
  let low2 = 0
  let high2 = 0
  let i = start
  // Math.min and Math.max keep a nan; two chains of each, as every one waits for its last result.
  for (; i + 1 < end; i += 2) {
    low = Math.min(low, x[i])
    high = Math.max(high, x[i])
    low2 = Math.min(low2, x[i + 1])
    high2 = Math.max(high2, x[i + 1])
  }
  low = Math.min(low, low2, i < end ? x[i] : 0)
  high = Math.max(high, high2, i < end ? x[i] : 0)
  if (!Number.isFinite(high - low)) return { low: Number.NaN, high: Number.NaN }
  if (symmetric) {
    high = Math.max(-low, high)
    if (low < 0) low = -high
  }
  return low === 0 && high === 0 ? { low: -1, high: 1 } : { low, high }
}

/** The zero point of a grid from its rounded scale: round(-low / scale), 0 … top; 2^(k-1) of a full grid. */
export function zeroPoint(low: number, scale: number, bits: number, full: boolean, single: boolean): number {
  if (full) return 2 ** (bits - 1)
  if (!(scale > 0)) return 0
  const zero = single ? f32(-low / scale) : -low / scale
  return roundHalfEven(Math.min(Math.max(zero, 0), 2 ** bits - 1))
}

/** Squared error of a run on a grid. */
function gridError(x: Floats, start: number, end: number, scale: number, zero: number, top: number): number {
  if (!(scale > 0)) return Infinity
  let error = 0
  for (let i = start; i < end; i++) {
    const code = Math.min(Math.max(roundHalfEven(Math.min(x[i] / scale, 2 ** 40)) + zero, 0), top)
    const off = x[i] - scale * (code - zero)
    error += off * off
  }
  return error
}

/** Codes of a run: nearest, ties to even, in the arithmetic of the array's type. */
function encodeRun(
  x: Floats,
  start: number,
  end: number,
  scale: number,
  zero: number,
  top: number,
  codes: Uint8Array,
): void {
  const low = -zero
  const high = top - zero
  const single = x instanceof Float32Array
  for (let i = start; i < end; i++) {
    let q = x[i] / scale
    if (single) q = f32(q)
    if (q > high) q = high
    else if (q < low) q = low
    codes[i] = roundHalfEven(q) + zero
  }
}

/** Codes of a run, rounded up as often as a value is nearer to the step above. */
function encodeRunRandomly(
  x: Floats,
  start: number,
  end: number,
  scale: number,
  zero: number,
  top: number,
  codes: Uint8Array,
  seed: number,
): void {
  for (let i = start; i < end; i++) {
    const q = Math.min(Math.max(x[i] / scale, -zero), top - zero)
    const below = Math.floor(q)
    codes[i] = below + (randomUniform(seed, i) < q - below ? 1 : 0) + zero
  }
}

/** Encodes a tensor on grids: codes, scales (rounded first) and zero points. */
export function encodeGrid(
  x: Floats,
  layout: Layout,
  format: ScaledFormat,
  ratio: number,
  seed: number | undefined,
): Partial<Encoded> {
  const { count, length, size } = layout
  const bits = format.element.kind === 'uint' || format.element.kind === 'full' ? format.element.bits : 0
  const full = format.element.kind === 'full'
  const single = x instanceof Float32Array
  const top = 2 ** bits - 1
  const lows = new Float64Array(count)
  const unrounded = single ? new Float32Array(count) : new Float64Array(count)
  let absmax = 0
  for (let block = 0; block < count; block++) {
    const start = block * length
    const end = Math.min(start + length, size)
    const { low, high } = rangeOf(x, start, end, full)
    absmax = Math.max(absmax, -low, high)
    const scaleAt = (factor: number) =>
      single ? f32(f32((high - low) * ratio * factor) / top) : ((high - low) * ratio * factor) / top
    let factor = 1
    if (format.clip && Number.isFinite(high - low)) {
      const kind = format.scale === 'e4m3' || format.scale === 'dyn8x256' ? 'exact' : format.scale
      factor = searchRatio(tried => {
        const scale = roundScale(scaleAt(tried), kind)
        return gridError(x, start, end, scale, zeroPoint(low * ratio * tried, scale, bits, full, single), top)
      })
    }
    unrounded[block] = scaleAt(factor)
    lows[block] = low * ratio * factor
  }
  const { codes: scaleCodes, ...rounded } = roundScales(unrounded, format.scale, absmax)
  const codes = new Uint8Array(size)
  const zeros = new Uint8Array(count)
  for (let block = 0; block < count; block++) {
    const end = Math.min((block + 1) * length, size)
    const scale = rounded.scales[block]
    const zero = zeroPoint(lows[block], scale, bits, full, single)
    zeros[block] = zero
    if (!(scale > 0)) codes.fill(zero, block * length, end)
    else if (seed === undefined) encodeRun(x, block * length, end, scale, zero, top, codes)
    else encodeRunRandomly(x, block * length, end, scale, zero, top, codes, seed)
  }
  return { codes, zeros, ...rounded, ...(scaleCodes && { scaleCodes }) }
}

/** Decodes grids into `out`. */
export function decodeGrid({ codes, scales, zeros }: Encoded, { count, length, size }: Layout, out: Floats): void {
  for (let block = 0; block < count; block++) {
    const end = Math.min((block + 1) * length, size)
    const scale = scales![block]
    const zero = zeros![block]
    for (let i = block * length; i < end; i++) out[i] = scale * (codes![i] - zero)
  }
}
