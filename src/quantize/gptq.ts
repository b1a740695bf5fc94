// GPTQ (arXiv 2210.17323): columns are rounded one after another, and what rounding a column does to the layer's
// output is made good by the columns that follow, as the inverse Hessian says. This is the definition in float64,
// one column at a time; the native path gives the same codes at speed. Any grid that rounds a group at a time will do.
import { fromFloat16, toFloat16 } from '../formats/index.ts'
import type { Floats } from '../tensor/kernels.ts'
import { inverseFactor } from './cholesky.ts'
import type { Grid } from './grid.ts'
import { outputError } from './hessian.ts'

/** How GPTQ runs; the names are those of the authors' code. */
export interface GptqOptions {
  /** Share of the Hessian's mean diagonal that is added to it. */
  damp?: number
  /** Columns after which updates are taken over; it matters only where groupScales is `block`. */
  blocksize?: number
  /** Columns with the largest inputs first. */
  actOrder?: boolean
  /** Scales of all groups from the weights before any update; with act-order, groups are then those of the stored columns. */
  staticGroups?: boolean
  /**
   * Weights that a group's scale is found from: as updated by all columns before the group (`current`), or as they
   * were when the block of columns began (`block`: what the authors' code does). Neither wins everywhere (at 3 and
   * more bits `current` by 1 to 2% of the output error, at 2 bits `block` by 10%), so `best` tries both and keeps
   * the one with the smaller output error.
   */
  groupScales?: 'best' | 'current' | 'block'
  /** Stored columns that are only rounded to fp16; they make good what the others before them did. */
  keep?: Int32Array
  /** Scales (rows, groups of the stored columns) that are given, and zero points; none is fitted then. */
  fixedScales?: Float64Array
  fixedZeros?: Float64Array
}

/** A layer after GPTQ: codes (rows, columns) in the order of the stored columns, scales and zeros (rows, groups). */
export interface GptqResult {
  codes: Uint8Array
  scales: Float64Array
  zeros: Uint8Array
  /** Stored column at each place of the order of rounding; null: as stored. */
  order: Int32Array | null
  /** Group of each stored column. */
  groupOf: Int32Array
  /** Dequantized weights (rows, columns). */
  readonly values: Float64Array
  /** Sum of squares of the output error on the inputs of the Hessian, where the solver knows it. */
  error?: number
}

/** Columns by falling diagonal of the Hessian, equal ones as stored. */
export function actOrder(hessian: Float64Array, columns: number): Int32Array {
  const order = Int32Array.from({ length: columns }, (_, i) => i)
  return order.sort((a, b) => hessian[b * columns + b] - hessian[a * columns + a] || a - b)
}

/** What GPTQ needs of a Hessian: the order of columns, which are dead, and the factor U (in that order) with U'U = H^-1. */
export interface PreparedHessian {
  order: Int32Array | null
  dead: Uint8Array
  upper: Float64Array
}

/** Orders, damps and factors a Hessian; layers that read the same input share it. */
export function prepareHessian(
  hessian: Float64Array,
  columns: number,
  { damp = 0.01, actOrder: byActivation = false }: GptqOptions = {},
): PreparedHessian {
  const order = byActivation ? actOrder(hessian, columns) : null
  const { ordered, dead } = dampedHessian(hessian, columns, order, damp)
  return { order, dead, upper: inverseFactor(ordered, columns) }
}

/** Hessian with dead dimensions set to 1 and damping added, in the order given; and which dimensions are dead. */
function dampedHessian(hessian: Float64Array, columns: number, order: Int32Array | null, damp: number) {
  const dead = new Uint8Array(columns)
  let trace = 0
  for (let i = 0; i < columns; i++) {
    const diagonal = hessian[i * columns + i]
    if (diagonal === 0) dead[i] = 1
    trace += diagonal === 0 ? 1 : diagonal
  }
  const ordered = new Float64Array(columns * columns)
  for (let i = 0; i < columns; i++) {
    const row = (order ? order[i] : i) * columns
    for (let j = 0; j < columns; j++) ordered[i * columns + j] = hessian[row + (order ? order[j] : j)]
    ordered[i * columns + i] = (dead[order ? order[i] : i] ? 1 : ordered[i * columns + i]) + (damp * trace) / columns
  }
  return { ordered, dead }
}

/** Whether `current` and `block` could differ: a group begins inside a block of columns. */
export function staleScales(
  group: number | null,
  columns: number,
  { blocksize = 128, staticGroups = false, fixedScales }: GptqOptions,
): boolean {
  return group !== null && !staticGroups && !fixedScales && group < columns && group % blocksize !== 0
}

/** GPTQ of weight (rows, columns) with hessian = 2 X'X (columns, columns) onto a grid, in float64. */
export function gptq(
  weight: Floats,
  hessian: Float64Array,
  rows: number,
  columns: number,
  grid: Grid,
  options: GptqOptions = {},
  prepared = prepareHessian(hessian, columns, options),
): GptqResult {
  const { groupScales = 'best' } = options
  const run = (scales: 'current' | 'block') =>
    roundColumns(weight, rows, columns, grid, { ...options, groupScales: scales }, prepared)
  if (groupScales !== 'best') return run(groupScales)
  const current = run('current')
  if (!staleScales(grid.group, columns, options)) return current
  const block = run('block')
  const error = (result: GptqResult) => outputError(weight, result.values, hessian, rows, columns)
  return error(block) < error(current) ? block : current
}

/** The loop over columns, given their order, the dead ones, and the factor of the inverse Hessian in that order. */
function roundColumns(
  weight: Floats,
  rows: number,
  columns: number,
  grid: Grid,
  { blocksize = 128, staticGroups = false, groupScales, keep, fixedScales, fixedZeros }: GptqOptions,
  { order, dead, upper }: PreparedHessian,
): GptqResult {
  const group = grid.group ?? columns
  const groups = Math.ceil(columns / group)
  const codes = new Uint8Array(rows * columns)
  const values = new Float64Array(rows * columns)
  const scales = new Float64Array(rows * groups)
  const zeros = new Uint8Array(rows * groups)
  const kept = new Uint8Array(columns)
  if (keep) for (const column of keep) kept[column] = 1
  const stored = (place: number) => (order ? order[place] : place)
  const early = staticGroups || grid.group === null || fixedScales !== undefined
  const groupOf = new Int32Array(columns)
  for (let place = 0; place < columns; place++)
    groupOf[stored(place)] = Math.floor((early ? stored(place) : place) / group)

  const now = new Float64Array(columns) // weights of one row in the order of rounding, with all updates so far
  const atBlock = new Float64Array(columns) // the same when the block began
  const gathered = new Float64Array(group)
  for (let r = 0; r < rows; r++) {
    const row = r * columns
    const fit = (g: number, from: (i: number) => number) => {
      const count = Math.min(group, columns - g * group)
      for (let i = 0; i < count; i++)
        gathered[i] = kept[early ? g * group + i : stored(g * group + i)] ? 0 : from(g * group + i)
      const fitted = grid.fit(gathered.subarray(0, count))
      scales[r * groups + g] = fitted.scale
      zeros[r * groups + g] = fitted.zero
    }
    if (fixedScales)
      for (let at = r * groups; at < (r + 1) * groups; at++) {
        scales[at] = fixedScales[at]
        zeros[at] = fixedZeros?.[at] ?? (grid.kind === 'step' ? grid.last / 2 : 0)
      }
    else if (early) for (let g = 0; g < groups; g++) fit(g, c => (grid.group !== null && dead[c] ? 0 : weight[row + c]))
    for (let place = 0; place < columns; place++) now[place] = dead[stored(place)] ? 0 : weight[row + stored(place)]
    for (let place = 0; place < columns; place++) {
      if (place % blocksize === 0) atBlock.set(now)
      const column = stored(place)
      if (!early && place % group === 0) fit(place / group, groupScales === 'block' ? c => atBlock[c] : c => now[c])
      const at = r * groups + groupOf[column]
      const code = grid.code(kept[column] ? 0 : now[place], scales[at], zeros[at])
      const value = kept[column] ? fromFloat16(toFloat16(now[place])) : grid.value(code, scales[at], zeros[at])
      codes[row + column] = code
      values[row + column] = value
      const line = place * columns
      const error = (now[place] - value) / upper[line + place]
      for (let later = place + 1; later < columns; later++) now[later] -= error * upper[line + later]
    }
  }
  return { codes, scales, zeros, order, groupOf, values }
}

/** Round to nearest on the same grid, with groups as stored: what GPTQ is compared with. */
export function roundToGrid(weight: Floats, rows: number, columns: number, grid: Grid): GptqResult {
  const group = grid.group ?? columns
  const groups = Math.ceil(columns / group)
  const codes = new Uint8Array(rows * columns)
  const values = new Float64Array(rows * columns)
  const scales = new Float64Array(rows * groups)
  const zeros = new Uint8Array(rows * groups)
  const gathered = new Float64Array(group)
  for (let r = 0; r < rows; r++)
    for (let g = 0; g < groups; g++) {
      const start = r * columns + g * group
      const count = Math.min(group, columns - g * group)
      for (let i = 0; i < count; i++) gathered[i] = weight[start + i]
      const { scale, zero } = grid.fit(gathered.subarray(0, count))
      scales[r * groups + g] = scale
      zeros[r * groups + g] = zero
      for (let i = 0; i < count; i++) {
        const code = grid.code(weight[start + i], scale, zero)
        codes[start + i] = code
        values[start + i] = grid.value(code, scale, zero)
      }
    }
  const groupOf = Int32Array.from({ length: columns }, (_, c) => Math.floor(c / group))
  return { codes, scales, zeros, order: null, groupOf, values }
}
