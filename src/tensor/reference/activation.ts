// Activation functions of the MLP, alone or gating, with their derivatives.
import type { Activation, Floats } from '../kernels.ts'

/** Error function to double precision: Kummer's series up to 3, the continued fraction of erfc beyond. */
export function erf(x: number): number {
  const z = Math.abs(x)
  if (!(z < 6)) return Math.sign(x)
  const scale = Math.exp(-z * z) / Math.sqrt(Math.PI)
  if (z < 3) {
    // erf z = 2/sqrt(pi) e^(-z^2) sum of 2^n z^(2n+1) / (1·3·…·(2n+1)): all terms positive
    let term = z
    let sum = z
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * z * z) / (2 * n + 1)
      sum += term
    }
    return Math.sign(x) * 2 * scale * sum
  }
  // erfc z = e^(-z^2)/sqrt(pi) / (z + (1/2)/(z + 1/(z + (3/2)/(z + …))))
  let fraction = z
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction
  return Math.sign(x) * (1 - scale / fraction)
}

const TANH_SCALE = Math.sqrt(2 / Math.PI)

/** f(x). */
function value(x: number, kind: Activation): number {
  if (kind === 'silu') return x / (1 + Math.exp(-x))
  if (kind === 'relu') return Math.max(x, 0)
  if (kind === 'gelu') return 0.5 * x * (1 + erf(x * Math.SQRT1_2))
  return 0.5 * x * (1 + Math.tanh(TANH_SCALE * (x + 0.044715 * x ** 3)))
}

/** f'(x); relu has 0 at 0. */
function derivative(x: number, kind: Activation): number {
  if (kind === 'silu') {
    const s = 1 / (1 + Math.exp(-x))
    return s * (1 + x * (1 - s))
  }
  if (kind === 'relu') return x > 0 ? 1 : 0
  if (kind === 'gelu') return 0.5 * (1 + erf(x * Math.SQRT1_2)) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)
  const t = Math.tanh(TANH_SCALE * (x + 0.044715 * x ** 3))
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * TANH_SCALE * (1 + 3 * 0.044715 * x * x)
}

/** See Kernels.activation. */
export function activation(gate: Floats, up: Floats | null, out: Floats, kind: Activation): void {
  for (let i = 0; i < gate.length; i++) {
    const f = value(gate[i], kind)
    out[i] = up === null ? f : f * up[i]
  }
}

/** See Kernels.activationBackward. */
export function activationBackward(
  gate: Floats,
  up: Floats | null,
  dOut: Floats,
  dGate: Floats,
  dUp: Floats | null,
  kind: Activation,
): void {
  for (let i = 0; i < gate.length; i++) {
    const x = gate[i]
    const d = dOut[i]
    const slope = derivative(x, kind)
    if (up === null) {
      dGate[i] = d * slope
      continue
    }
    const u = up[i]
    dGate[i] = d * u * slope
    if (dUp !== null) dUp[i] = d * value(x, kind)
  }
}
