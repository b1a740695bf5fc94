// The objective of a bound law with its gradient and Hessian by the parameters. Rows add to at most nine sums a
// setting (see core.ts); the chain rule from those sums to the parameters runs once a setting.
import { type Bound, coefficientsAt, type Data, jetsAt, type Objective, slotsAt } from './core.ts'
import { fastExp, logRatio } from './elementary.ts'
import type { Jet } from './jet.ts'

/** What a curvature matrix is: `exact` the Hessian; `reweighted` the positive one of iteratively reweighted least squares, good far from the minimum. */
export type Curvature = 'exact' | 'reweighted'

/** Value, gradient (p) and curvature (p, p) on the fitter's scale. */
export interface Evaluation {
  value: number
  gradient: Float64Array
  curvature: Float64Array
}

/** Room for an evaluation of p parameters. */
export function createEvaluation(p: number): Evaluation {
  return { value: Number.POSITIVE_INFINITY, gradient: new Float64Array(p), curvature: new Float64Array(p * p) }
}

const K = 9
const Q = 12
const [F, G, H] = [9, 10, 11]

/** Scratch of one call at a time: sums by coefficient. */
const sumG = new Float64Array(K)
const sumH = new Float64Array(K * K)
const k = new Float64Array(K)
const qG = new Float64Array(Q)
const qH = new Float64Array(Q * Q)
const linearG = new Float64Array(K)
const linearH = new Float64Array(K * K)
let cross = new Float64Array(K * 32)

/** Where the fifteen sums of the plain form stand in sumH, by coefficients 0 1 2 3 7. */
const PLAIN = [0, 1, 2, 3, 7]
const PLAIN_AT = PLAIN.flatMap((a, i) => PLAIN.slice(i).map(b => a * K + b))
const PLAIN_MIRROR = PLAIN.flatMap((a, i) => PLAIN.slice(i).map(b => b * K + a))

/** Rows first..end of the plain form e^u + e^v + E, added to sumG and sumH; returns the objective. */
function addPlainRows(data: Data, first: number, end: number, { kind, delta }: Objective, exact: boolean): number {
  const { x: xs, y: ys, target, logTarget, weight } = data
  const [k0, k1, k2, k3] = k
  const floor = k[7]
  const logarithmic = kind !== 'squares'
  let f = 0
  let g0 = 0,
    g1 = 0,
    g2 = 0,
    g3 = 0,
    g7 = 0
  let h00 = 0,
    h01 = 0,
    h02 = 0,
    h03 = 0,
    h07 = 0,
    h11 = 0,
    h12 = 0,
    h13 = 0,
    h17 = 0
  let h22 = 0,
    h23 = 0,
    h27 = 0,
    h33 = 0,
    h37 = 0,
    h77 = 0
  for (let i = first; i < end; i++) {
    const w = weight[i]
    if (w === 0) continue
    const x = xs[i]
    const y = ys[i]
    const eu = fastExp(k0 + k1 * x)
    const ev = fastExp(k2 + k3 * y)
    const loss = eu + ev + floor
    const r = logarithmic ? logRatio(loss, target[i], logTarget[i]) : loss - target[i]
    let slope = w * r
    let bend = w
    if (kind === 'huber' && (r > delta || r < -delta)) {
      const size = Math.abs(r)
      f += w * delta * (size - delta / 2)
      slope = r > 0 ? w * delta : -w * delta
      bend = exact ? 0 : slope / r
    } else f += kind === 'huber' ? (w * r * r) / 2 : w * r * r
    if (kind !== 'huber') {
      slope *= 2
      bend *= 2
    }
    const scale = logarithmic ? 1 / loss : 1
    const du = eu * scale
    const dv = ev * scale
    g0 += slope * du
    g1 += slope * du * x
    g2 += slope * dv
    g3 += slope * dv * y
    g7 += slope * scale
    const s = exact && logarithmic ? bend - slope : bend
    const su = s * du
    const sv = s * dv
    const uu = exact ? su * du + slope * du : su * du
    const vv = exact ? sv * dv + slope * dv : sv * dv
    const uv = su * dv
    const ue = su * scale
    const ve = sv * scale
    h00 += uu
    h01 += uu * x
    h11 += uu * x * x
    h02 += uv
    h03 += uv * y
    h12 += uv * x
    h13 += uv * x * y
    h22 += vv
    h23 += vv * y
    h33 += vv * y * y
    h07 += ue
    h17 += ue * x
    h27 += ve
    h37 += ve * y
    h77 += s * scale * scale
  }
  sumG[0] = g0
  sumG[1] = g1
  sumG[2] = g2
  sumG[3] = g3
  sumG[7] = g7
  const sums = [h00, h01, h02, h03, h07, h11, h12, h13, h17, h22, h23, h27, h33, h37, h77]
  for (let i = 0; i < sums.length; i++) sumH[PLAIN_AT[i]] = sumH[PLAIN_MIRROR[i]] = sums[i]
  return f
}

const d = new Float64Array(K)

/** Rows first..end of the whole family, added to sumG and sumH; returns the objective. */
function addRows(
  bound: Bound,
  setting: { first: number; end: number; post: boolean },
  objective: Objective,
  exact: boolean,
): number {
  const { x: xs, y: ys, target, logTarget, weight } = bound.data
  const { kind, delta } = objective
  const logarithmic = kind !== 'squares'
  const loss = bound.core.a !== undefined || bound.core.b !== undefined
  const outer = bound.core.gamma !== undefined
  const [k0, k1, k2, k3, k4, k5, k6, floor, gamma] = k
  let f = 0
  for (let i = setting.first; i < setting.end; i++) {
    const w = weight[i]
    if (w === 0) continue
    const x = xs[i]
    const y = ys[i]
    const eu = loss ? fastExp(k0 + k1 * x) : 0
    const ev = loss ? fastExp(k2 + k3 * y) : 0
    const inner = eu + ev
    const logInner = outer ? Math.log(inner) : 0
    const power = outer ? fastExp(gamma * logInner) : inner
    const z = k4 + k5 * x + k6 * y
    const post = setting.post ? fastExp(z) : 0
    const value = power + (loss ? floor : 0) + post
    const r = logarithmic ? (loss ? logRatio(value, target[i], logTarget[i]) : z - logTarget[i]) : value - target[i]
    let slope = w * r
    let bend = w
    if (kind === 'huber' && (r > delta || r < -delta)) {
      f += w * delta * (Math.abs(r) - delta / 2)
      slope = r > 0 ? w * delta : -w * delta
      bend = exact ? 0 : slope / r
    } else f += kind === 'huber' ? (w * r * r) / 2 : w * r * r
    if (kind !== 'huber') {
      slope *= 2
      bend *= 2
    }
    const scale = logarithmic ? 1 / value : 1
    const pu = outer && loss ? eu / inner : eu
    const pv = outer && loss ? ev / inner : ev
    const t = outer ? gamma * power * scale : scale
    const du = t * pu
    const dv = t * pv
    const dw = post * scale
    d[0] = du
    d[1] = du * x
    d[2] = dv
    d[3] = dv * y
    d[4] = dw
    d[5] = dw * x
    d[6] = dw * y
    d[7] = loss ? scale : 0
    d[8] = outer ? power * logInner * scale : 0
    const s = exact && logarithmic ? bend - slope : bend
    for (let a = 0; a < K; a++) {
      const da = d[a]
      if (da === 0) continue
      sumG[a] += slope * da
      for (let b = a; b < K; b++) sumH[a * K + b] += s * da * d[b]
    }
    if (!exact) continue
    // slope times the second derivatives of the loss (over the loss, where the residual is of logarithms)
    let uu = slope * du
    let vv = slope * dv
    if (outer) {
      const c = slope * t * (gamma - 1)
      const uv = c * pu * pv
      uu += c * pu * pu
      vv += c * pv * pv
      sumH[2] += uv
      sumH[3] += uv * y
      sumH[K + 2] += uv * x
      sumH[K + 3] += uv * x * y
      const mixed = slope * power * scale * (1 + gamma * logInner)
      sumH[8] += mixed * pu
      sumH[K + 8] += mixed * pu * x
      sumH[2 * K + 8] += mixed * pv
      sumH[3 * K + 8] += mixed * pv * y
      sumH[8 * K + 8] += slope * power * scale * logInner * logInner
    }
    sumH[0] += uu
    sumH[1] += uu * x
    sumH[K + 1] += uu * x * x
    sumH[2 * K + 2] += vv
    sumH[2 * K + 3] += vv * y
    sumH[3 * K + 3] += vv * y * y
    if (dw === 0) continue
    const ww = slope * dw
    sumH[4 * K + 4] += ww
    sumH[4 * K + 5] += ww * x
    sumH[4 * K + 6] += ww * y
    sumH[5 * K + 5] += ww * x * x
    sumH[5 * K + 6] += ww * x * y
    sumH[6 * K + 6] += ww * y * y
  }
  for (let a = 0; a < K; a++) for (let b = 0; b < a; b++) sumH[a * K + b] = sumH[b * K + a]
  return f
}

// Where the nine coefficients depend on slots (0..8) and on F, G, H: pairs of (coefficient, column), values set by setting.
const PAIRS_K = Int32Array.of(0, 0, 0, 1, 2, 2, 2, 3, 7, 8, 4, 4, 4, 4, 4, 5, 6)
const PAIRS_Q = Int32Array.of(0, 1, F, 1, 2, 3, G, 3, 4, 5, 6, 7, 8, F, H, 8, 7)
const PAIRS_V = new Float64Array(PAIRS_K.length)
const WITHOUT_POST = 10

/** Carries sumG and sumH to slots and F, G, H (qG, qH). */
function toSlots(
  q: Float64Array,
  meanX: number,
  meanY: number,
  f: number,
  g: number,
  post: boolean,
  exact: boolean,
): void {
  PAIRS_V.set([1, -(meanX + f), -q[1], -1, 1, -(meanY + g), -q[3], -1, 1, 1])
  const pairs = post ? PAIRS_K.length : WITHOUT_POST
  if (post) PAIRS_V.set([1, meanY, -(meanX + f), -q[8], 1, -1, 1], WITHOUT_POST)
  qG.fill(0)
  qH.fill(0)
  for (let i = 0; i < pairs; i++) {
    const vi = PAIRS_V[i]
    const row = PAIRS_Q[i] * Q
    const from = PAIRS_K[i] * K
    qG[PAIRS_Q[i]] += vi * sumG[PAIRS_K[i]]
    for (let j = 0; j < pairs; j++) qH[row + PAIRS_Q[j]] += vi * PAIRS_V[j] * sumH[from + PAIRS_K[j]]
  }
  if (!exact) return
  qH[1 * Q + F] -= sumG[0]
  qH[F * Q + 1] -= sumG[0]
  qH[3 * Q + G] -= sumG[2]
  qH[G * Q + 3] -= sumG[2]
  if (post) {
    qH[8 * Q + F] -= sumG[4]
    qH[F * Q + 8] -= sumG[4]
  }
}

const total = (jets: readonly Jet[], list: readonly number[]): number => {
  let sum = 0
  for (const use of list) sum += jets[use].v
  return sum
}

/** Adds one setting's slots-by-parameter and parameter-by-parameter terms. */
function addLocals(
  bound: Bound,
  jets: readonly Jet[],
  setting: { F: readonly number[]; G: readonly number[]; H: readonly number[] },
  out: Evaluation,
  exact: boolean,
): void {
  const p = bound.parameters.length
  const { gradient, curvature } = out
  const kinds = [setting.F, setting.G, setting.H]
  for (let a = 0; a < 3; a++)
    for (const use of kinds[a]) {
      const { locals } = bound.uses[use]
      const jet = jets[use]
      const g = qG[F + a]
      for (let i = 0; i < locals.length; i++) {
        const t = locals[i]
        const slope = jet.g[i]
        gradient[t] += g * slope
        if (exact) for (let j = 0; j < locals.length; j++) curvature[t * p + locals[j]] += g * jet.h[i * jet.n + j]
        for (let s = 0; s < K; s++) cross[s * p + t] += qH[s * Q + F + a] * slope
        for (let b = 0; b < 3; b++) {
          const bend = qH[(F + a) * Q + F + b] * slope
          if (bend === 0) continue
          for (const other of kinds[b]) {
            const { g: slopes } = jets[other]
            const indices = bound.uses[other].locals
            for (let j = 0; j < indices.length; j++) curvature[t * p + indices[j]] += bend * slopes[j]
          }
        }
      }
    }
}

/** Objective, gradient and curvature at theta (p, fitter's scale); the value is Infinity where the law is not defined. */
export function evaluate(
  bound: Bound,
  theta: Float64Array,
  objective: Objective,
  curvature: Curvature,
  out: Evaluation,
): void {
  const { data, core, slots } = bound
  const p = bound.parameters.length
  const exact = curvature === 'exact'
  const plain = core.gamma === undefined && core.c === undefined && core.a !== undefined && core.b !== undefined
  const jets = jetsAt(bound, theta)
  const q = slotsAt(bound, theta)
  if (cross.length < K * p) cross = new Float64Array(K * p)
  cross.fill(0)
  linearG.fill(0)
  linearH.fill(0)
  out.gradient.fill(0)
  out.curvature.fill(0)
  let value = 0
  for (const setting of data.settings) {
    const f = total(jets, setting.F)
    const g = total(jets, setting.G)
    coefficientsAt(bound, q, f, g, total(jets, setting.H), k)
    sumG.fill(0)
    sumH.fill(0)
    value += plain
      ? addPlainRows(data, setting.first, setting.end, objective, exact)
      : addRows(bound, setting, objective, exact)
    if (!(value < Number.POSITIVE_INFINITY)) {
      out.value = Number.POSITIVE_INFINITY
      return
    }
    toSlots(q, data.meanX, data.meanY, f, g, setting.post, exact)
    for (let s = 0; s < K; s++) {
      linearG[s] += qG[s]
      for (let t = 0; t < K; t++) linearH[s * K + t] += qH[s * Q + t]
    }
    if (bound.uses.length > 0) addLocals(bound, jets, setting, out, exact)
  }
  // from slots to parameters, which slots are linear in
  for (let s = 0; s < K; s++) {
    const { index, coefficient } = slots[s]
    for (let i = 0; i < index.length; i++) {
      const t = index[i]
      const c = coefficient[i]
      out.gradient[t] += c * linearG[s]
      for (let other = 0; other < p; other++) {
        const v = c * cross[s * p + other]
        out.curvature[t * p + other] += v
        out.curvature[other * p + t] += v
      }
      for (let r = 0; r < K; r++)
        for (let j = 0; j < slots[r].index.length; j++)
          out.curvature[t * p + slots[r].index[j]] += c * slots[r].coefficient[j] * linearH[s * K + r]
    }
  }
  out.value = value
}
