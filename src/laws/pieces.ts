// The precision factors that laws are put together from, once as derivatives for the fitter (Piece) and once as plain
// numbers for predictions. All are logarithms, so that a product of factors is a sum of pieces.
import { add, affine, apply, constant, exp, type Jet, log, multiply, reciprocal, tanh } from './jet.ts'
import { bitsOf, type Cell, type Configuration, numberOf, type Piece, textOf } from './law.ts'

/** ln(1 − e^t); not a number where t >= 0. */
function logOneMinusExp(t: Jet): Jet {
  const factor = -Math.expm1(t.v)
  const ratio = Math.exp(t.v) / factor
  return apply(t, factor > 0 ? Math.log(factor) : Number.NaN, -ratio, -ratio * (1 + ratio))
}

/** f = 1 − exp(−P/gamma + n): the share of parameters that P bits leave (Kumar et al.). */
export function bitsFactor(bits: number, gamma: number, n = 0): number {
  return -Math.expm1(-bits / gamma + n)
}

/** ln f of the column's bits, by gamma and (where named) the offset n. */
export function bitsPiece(column: 'P_w' | 'P_a' | 'P_kv', gamma: string, n?: string): Piece {
  return {
    at: row => ({ locals: n === undefined ? [gamma] : [gamma, n], x: [bitsOf(row, column)] }),
    value(locals, [bits]) {
      const t = affine(reciprocal(locals[0]), -bits, 0)
      return logOneMinusExp(n === undefined ? t : add(t, locals[1]))
    },
  }
}

/** coefficient · parameter · ln of a number of the row: a power law in it. */
export function powerPiece(parameter: string, coefficient: number, column: (row: Configuration) => number): Piece {
  return {
    at: row => ({ locals: [parameter], x: [column(row)] }),
    value: (locals, [x]) => affine(locals[0], coefficient * Math.log(x), 0),
  }
}

/** −P_post / gamma_post. */
export function postBitsPiece(gamma: string): Piece {
  return {
    at: row => ({ locals: [gamma], x: [numberOf(row, 'P_post')] }),
    value: (locals, [bits]) => affine(reciprocal(locals[0]), -bits, 0),
  }
}

/** ln(1 − exp(−C (P_x − P_post))): a model that was trained at few bits loses less. */
export function trainedBitsPiece(column: 'P_w' | 'P_a' | 'P_kv', c: string): Piece {
  return {
    at: row => ({ locals: [c], x: [bitsOf(row, column) - numberOf(row, 'P_post')] }),
    value: (locals, [gap]) => logOneMinusExp(affine(locals[0], -gap, 0)),
  }
}

/** ln of one free number for a format: the local parameter itself. */
export function freePiece(nameOf: (row: Configuration) => string | null): Piece {
  return {
    at(row) {
      const name = nameOf(row)
      return name === null ? null : { locals: [name], x: [] }
    },
    value: locals => log(locals[0]),
  }
}

/** ln(L0 tanh(F x)^C), x = log(gmse)/log(1/4) of the format. */
export function errorPiece(x: (row: Configuration) => number, names: readonly [string, string, string]): Piece {
  return {
    at(row) {
      const at = x(row)
      return at > 0 ? { locals: names, x: [at] } : null
    },
    value: ([scale, rate, power], [at]) => add(log(scale), multiply(power, log(tanh(affine(rate, at, 0))))),
  }
}

/** −parameter · ln(column + shift): a falling power law in a column that may be 0. */
export function shiftedPowerPiece(parameter: string, column: string, shift: number, fallback: number): Piece {
  return {
    at: row => ({ locals: [parameter], x: [numberOf(row, column, fallback)] }),
    value: (locals, [x]) => affine(locals[0], -Math.log(x + shift), 0),
  }
}

/** ln of U(1 + R*(1 − e^{−R/R*}))/(U(1 + R)): what repetitions are worth, R = total/unique − 1. */
export function repetitionPiece(parameter: string, repetitions: (row: Configuration) => number): Piece {
  return {
    at(row) {
      const r = repetitions(row)
      return r > 0 ? { locals: [parameter], x: [r] } : null
    },
    value(locals, [r]) {
      const one = constant(locals[0].n, 1)
      const decay = exp(affine(reciprocal(locals[0]), -r, 0))
      const worth = add(one, multiply(locals[0], affine(decay, -1, 1)))
      return affine(log(worth), 1, -Math.log(1 + r))
    },
  }
}

const PLAIN = /^(bf16|fp16|fp32|bfloat16|float16|float32|float|none|noquantizer|no|16|32)(:(16|32))?$/i

/** Whether a format's name means that nothing is quantized (BF16, FP16, none, NoQuantizer:16 …). */
export function isPlain(format: string): boolean {
  return PLAIN.test(format)
}

/** Name of one part's format: the text column, or `int<bits>` from the width, or BF16. */
export function formatName(row: Configuration, part: 'w' | 'a'): string {
  const name = textOf(row, `format_${part}`)
  if (name !== undefined) return name
  const bits = bitsOf(row, part === 'w' ? 'P_w' : 'P_a')
  return bits >= 16 ? 'BF16' : `int${bits}`
}

/** Whether a cell is present. */
export function given(cell: Cell): boolean {
  return cell !== undefined && cell !== null && cell !== ''
}

/** Whether a row was quantized after training. */
export function hasPost(row: Configuration): boolean {
  return given(row['P_post'])
}
