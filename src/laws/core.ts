// The family of laws that core slots and pieces describe, evaluated over many rows with exact first and second
// derivatives. Rows that share a precision setting share F, G and H, so a row itself costs two exponentials and a
// logarithm, whatever the number of parameters: each setting gathers its rows' derivatives by at most nine
// coefficients, and only the sums are carried on to the parameters.
//   u = k0 + k1 x, v = k2 + k3 y, w = k4 + k5 x + k6 y, L = (e^u + e^v)^k8 + k7 + e^w
// with x = ln N − mean, y = ln D − mean.
import type { Jet } from './jet.ts'
import { variable } from './jet.ts'
import type { Configuration, Core, Parameter, Piece, Slot } from './law.ts'
import { numberOf } from './law.ts'

/** How a row's residual is made and what is summed. */
export interface Objective {
  kind: 'huber' | 'squares' | 'log-squares'
  /** Where Huber's loss turns linear. */
  delta: number
}

/** Rows as arrays, grouped by precision setting. */
export interface Data {
  count: number
  /** ln N and ln D less their means. */
  x: Float64Array
  y: Float64Array
  meanX: number
  meanY: number
  target: Float64Array
  logTarget: Float64Array
  weight: Float64Array
  /** Row numbers in the order of the arrays: sorted by setting. */
  order: Int32Array
  settings: readonly Setting[]
}

/** One precision setting: its rows are first..end. */
interface Setting {
  first: number
  end: number
  post: boolean
  F: readonly number[]
  G: readonly number[]
  H: readonly number[]
}

/** A piece at distinct numbers, shared by all settings that use it. */
interface Use {
  piece: Piece
  /** Indices of the law's parameters. */
  locals: readonly number[]
  x: readonly number[]
}

/** A law bound to rows. Parameters are on the fitter's scale (log or as they are). */
export interface Bound {
  parameters: readonly Parameter[]
  data: Data
  core: Core
  uses: readonly Use[]
  /** (9 slots) coefficients by parameter and constants: a alpha b beta E gamma c gammaD gammaN, on centred data. */
  slots: readonly { index: readonly number[]; coefficient: readonly number[]; constant: number }[]
}

const SLOTS = ['a', 'alpha', 'b', 'beta', 'E', 'gamma', 'c', 'gammaD', 'gammaN'] as const

function bindSlot(spec: Slot | undefined, fallback: number, parameters: readonly Parameter[]) {
  if (!spec) return { index: [], coefficient: [], constant: fallback }
  const index = spec.terms.map(([name]) => parameters.findIndex(p => p.name === name))
  return { index, coefficient: spec.terms.map(([, c]) => c), constant: spec.constant ?? 0 }
}

/** Binds a core to rows; `target` is what is fitted, `weight` multiplies each row's share of the objective. */
export function bind(
  core: Core,
  parameters: readonly Parameter[],
  rows: readonly Configuration[],
  target: ArrayLike<number>,
  weight?: ArrayLike<number>,
): Bound {
  const count = rows.length
  const uses: Use[] = []
  const useIndex = new Map<string, number>()
  const indexOf = new Map(parameters.map((p, i) => [p.name, i]))
  const pieceIds = new Map<Piece, number>()
  for (const piece of [...(core.F ?? []), ...(core.G ?? []), ...(core.H ?? [])]) pieceIds.set(piece, pieceIds.size)
  const usesOf = (pieces: readonly Piece[] | undefined, row: Configuration): number[] => {
    const out: number[] = []
    for (const piece of pieces ?? []) {
      const at = piece.at(row)
      if (at === null) continue
      const key = `${pieceIds.get(piece)}|${at.locals.join('|')}|${at.x.join('|')}`
      let use = useIndex.get(key)
      if (use === undefined) {
        use = uses.length
        uses.push({ piece, locals: at.locals.map(name => indexOf.get(name) ?? -1), x: at.x })
        useIndex.set(key, use)
      }
      out.push(use)
    }
    return out
  }
  const groups = new Map<string, { rows: number[]; setting: Omit<Setting, 'first' | 'end'> }>()
  for (let i = 0; i < count; i++) {
    const row = rows[i]
    const post = core.c !== undefined && (core.post?.(row) ?? true)
    const F = usesOf(core.F, row)
    const G = usesOf(core.G, row)
    const H = post ? usesOf(core.H, row) : []
    const key = `${F.join()};${G.join()};${H.join()};${post}`
    const group = groups.get(key)
    if (group) group.rows.push(i)
    else groups.set(key, { rows: [i], setting: { post, F, G, H } })
  }
  const order = new Int32Array(count)
  const settings: Setting[] = []
  let at = 0
  for (const group of groups.values()) {
    const first = at
    for (const i of group.rows) order[at++] = i
    settings.push({ ...group.setting, first, end: at })
  }
  const x = Float64Array.from(order, i => Math.log(numberOf(rows[i], 'N')))
  const y = Float64Array.from(order, i => Math.log(numberOf(rows[i], 'D')))
  const meanX = center(x)
  const meanY = center(y)
  return {
    parameters,
    core,
    uses,
    slots: SLOTS.map(name => bindSlot(core[name], name === 'gamma' ? 1 : 0, parameters)),
    data: {
      count,
      x,
      y,
      meanX,
      meanY,
      target: Float64Array.from(order, i => target[i]),
      logTarget: Float64Array.from(order, i => Math.log(target[i])),
      weight: Float64Array.from(order, i => (weight ? weight[i] : 1)),
      order,
      settings,
    },
  }
}

function center(values: Float64Array): number {
  let sum = 0
  for (const v of values) sum += v
  const mean = values.length > 0 ? sum / values.length : 0
  for (let i = 0; i < values.length; i++) values[i] -= mean
  return mean
}

/** The same rows with other weights, in the rows' own order (a resample counts each row's draws). */
export function reweigh(bound: Bound, weight: ArrayLike<number>): Bound {
  return { ...bound, data: { ...bound.data, weight: Float64Array.from(bound.data.order, i => weight[i]) } }
}

/** The same rows with other targets, in the rows' own order. */
export function retarget(bound: Bound, target: ArrayLike<number>): Bound {
  const { order } = bound.data
  const moved = Float64Array.from(order, i => target[i])
  return { ...bound, data: { ...bound.data, target: moved, logTarget: moved.map(Math.log) } }
}

/** Values of all uses at theta. */
export function jetsAt(bound: Bound, theta: Float64Array): Jet[] {
  const { parameters } = bound
  return bound.uses.map(({ piece, locals, x }) =>
    piece.value(
      locals.map((p, i) => variable(locals.length, i, theta[p], parameters[p].transform)),
      x,
    ),
  )
}

/** Values of the nine slots at theta, not yet centred. */
export function slotsAt(bound: Bound, theta: Float64Array): Float64Array {
  return Float64Array.from(bound.slots, ({ index, coefficient, constant }) => {
    let sum = constant
    for (let k = 0; k < index.length; k++) sum += coefficient[k] * theta[index[k]]
    return sum
  })
}

/** Coefficients k0..k8 of a setting with sums F, G, H. */
export function coefficientsAt(bound: Bound, q: Float64Array, F: number, G: number, H: number, k: Float64Array): void {
  const { meanX, meanY } = bound.data
  const { a, b } = bound.core
  k[0] = a ? q[0] - q[1] * (meanX + F) : Number.NEGATIVE_INFINITY
  k[1] = -q[1]
  k[2] = b ? q[2] - q[3] * (meanY + G) : Number.NEGATIVE_INFINITY
  k[3] = -q[3]
  k[4] = q[6] + q[7] * meanY - q[8] * (meanX + F) + H
  k[5] = -q[8]
  k[6] = q[7]
  k[7] = q[4]
  k[8] = q[5]
}

/** Predicted targets in the rows' own order. */
export function predictions(bound: Bound, theta: Float64Array): Float64Array {
  const { data } = bound
  const out = new Float64Array(data.count)
  const jets = jetsAt(bound, theta)
  const q = slotsAt(bound, theta)
  const k = new Float64Array(9)
  const sum = (list: readonly number[]) => list.reduce((s, u) => s + jets[u].v, 0)
  const loss = bound.core.a !== undefined || bound.core.b !== undefined
  for (const setting of data.settings) {
    coefficientsAt(bound, q, sum(setting.F), sum(setting.G), sum(setting.H), k)
    for (let i = setting.first; i < setting.end; i++) {
      const x = data.x[i]
      const y = data.y[i]
      let value = loss ? (Math.exp(k[0] + k[1] * x) + Math.exp(k[2] + k[3] * y)) ** k[8] + k[7] : 0
      if (setting.post) value += Math.exp(k[4] + k[5] * x + k[6] * y)
      out[data.order[i]] = value
    }
  }
  return out
}
