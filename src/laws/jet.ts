// A number with its first and second derivatives by a few variables: exact automatic differentiation for the small
// precision factors of a law. Layout: value, gradient (n), upper triangle of the Hessian row by row.

/** Value, gradient and Hessian by `n` variables. */
export interface Jet {
  n: number
  v: number
  /** (n) */
  g: Float64Array
  /** (n, n), symmetric */
  h: Float64Array
}

/** A constant. */
export function constant(n: number, v: number): Jet {
  return { n, v, g: new Float64Array(n), h: new Float64Array(n * n) }
}

/** Variable i of n, given on the fitter's scale: `log` means that the value is exp(theta). */
export function variable(n: number, i: number, theta: number, transform: 'log' | 'linear'): Jet {
  const jet = constant(n, transform === 'log' ? Math.exp(theta) : theta)
  jet.g[i] = transform === 'log' ? jet.v : 1
  if (transform === 'log') jet.h[i * n + i] = jet.v
  return jet
}

/** f(a) from the values f, f' and f'' at a. */
export function apply(a: Jet, f: number, f1: number, f2: number): Jet {
  const { n } = a
  const out = constant(n, f)
  for (let i = 0; i < n; i++) {
    out.g[i] = f1 * a.g[i]
    for (let j = 0; j < n; j++) out.h[i * n + j] = f1 * a.h[i * n + j] + f2 * a.g[i] * a.g[j]
  }
  return out
}

/** a·p + b·q for numbers p and q. */
export function combine(a: Jet, p: number, b: Jet, q: number): Jet {
  const out = constant(a.n, a.v * p + b.v * q)
  for (let i = 0; i < out.g.length; i++) out.g[i] = a.g[i] * p + b.g[i] * q
  for (let i = 0; i < out.h.length; i++) out.h[i] = a.h[i] * p + b.h[i] * q
  return out
}

/** a + b. */
export const add = (a: Jet, b: Jet): Jet => combine(a, 1, b, 1)

/** a·b. */
export function multiply(a: Jet, b: Jet): Jet {
  const { n } = a
  const out = constant(n, a.v * b.v)
  for (let i = 0; i < n; i++) {
    out.g[i] = a.g[i] * b.v + b.g[i] * a.v
    for (let j = 0; j < n; j++)
      out.h[i * n + j] = a.h[i * n + j] * b.v + b.h[i * n + j] * a.v + a.g[i] * b.g[j] + a.g[j] * b.g[i]
  }
  return out
}

/** a·p + q for numbers p and q. */
export function affine(a: Jet, p: number, q: number): Jet {
  const out = apply(a, a.v * p + q, p, 0)
  return out
}

/** 1 / a. */
export const reciprocal = (a: Jet): Jet => apply(a, 1 / a.v, -1 / a.v ** 2, 2 / a.v ** 3)

/** e^a. */
export function exp(a: Jet): Jet {
  const e = Math.exp(a.v)
  return apply(a, e, e, e)
}

/** ln a; not a number where a is not positive. */
export const log = (a: Jet): Jet => apply(a, a.v > 0 ? Math.log(a.v) : Number.NaN, 1 / a.v, -1 / a.v ** 2)

/** tanh a. */
export function tanh(a: Jet): Jet {
  const t = Math.tanh(a.v)
  return apply(a, t, 1 - t * t, -2 * t * (1 - t * t))
}
