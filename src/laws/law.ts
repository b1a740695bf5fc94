// What a scaling law is: a plain record. Each law is one file that holds one or a few of them; fitting, intervals and
// comparison work on any record. A law states its formula twice: `predict`, as the paper prints it, and `core`, the
// same law in the family that core.ts differentiates. The tests hold the two equal.
import type { Jet } from './jet.ts'

/** One cell of a table of runs. */
export type Cell = number | string | null | undefined

/**
 * One run, or one thing to predict: N parameters, D tokens, bits (absent = 16, not quantized; P_post absent or null =
 * no PTQ), names of formats, and whatever other column a law reads.
 */
export type Configuration = Readonly<Record<string, Cell>>

/** Values of a law's parameters by name, in the units of the formula. */
export type Parameters = Readonly<Record<string, number>>

/** One parameter: what it is, how the fitter moves it, and where it may go. */
export interface Parameter {
  name: string
  meaning: string
  unit: string
  /** log: positive, moved as its logarithm. */
  transform: 'log' | 'linear'
  bounds: readonly [number, number]
  /** Where starts are drawn from (uniform, or log-uniform for `log`); prefactors and E are solved for instead. */
  start: readonly [number, number]
}

/** What a published fit or one of ours was made on: smallest and largest value of each column. */
export type Range = Readonly<Record<string, readonly [number, number]>>

/** Constants as published. */
export interface PublishedFit {
  /** First author and year: `hoffmann2022`, `kumar2024`. */
  name: string
  parameters: Parameters
  /** Paper and table. */
  source: string
  /** What was trained: family, data, schedule, quantizer. */
  setup: string
  /** Validated range of N, D, bits and D/N. */
  range: Range
  notes?: readonly string[]
}

/** What a law says about one configuration; null where it says nothing. */
export interface Prediction {
  /** Nats a token: after PTQ where P_post is given, else after training. */
  loss: number | null
  /** Effective parameters. */
  nEff: number | null
  /** Loss after PTQ minus loss before; null without P_post. */
  deltaPtq: number | null
  /** Tokens past which more data makes the quantized model worse. */
  dCrit: number | null
  /** Compute-optimal bits of training, all quantized parts alike. */
  optimalBits: number | null
  /** Figures that only this law has: qatShare, lifetimeFlops … */
  extra?: Readonly<Record<string, number>>
}

/** A sum of parameters times coefficients plus a constant; a `log` parameter enters by its logarithm. */
export interface Slot {
  terms: readonly (readonly [string, number])[]
  constant?: number
}

/** One summand of ln N_eff, ln D_eff or ln delta that depends on precision: a function of few parameters and few numbers of the row. */
export interface Piece {
  /** Names of its parameters and the row's numbers; null: it adds nothing on this row. */
  at(row: Configuration): { locals: readonly string[]; x: readonly number[] } | null
  /** Its value with derivatives; locals arrive in natural units. */
  value(locals: readonly Jet[], x: readonly number[]): Jet
}

/**
 * A law in the common family
 *   L = (e^{a − α(ln N + F)} + e^{b − β(ln D + G)})^γ + E + e^{c + γ_D ln D − γ_N(ln N + F) + H}
 * where F, G and H are sums of pieces, that is, depend on the row's precision only. An absent slot drops its part.
 */
export interface Core {
  a?: Slot
  alpha?: Slot
  b?: Slot
  beta?: Slot
  E?: Slot
  gamma?: Slot
  c?: Slot
  gammaD?: Slot
  gammaN?: Slot
  F?: readonly Piece[]
  G?: readonly Piece[]
  H?: readonly Piece[]
  /** Whether the last exponential is present on a row. */
  post?(row: Configuration): boolean
}

/** A column that a law reads. */
export interface Column {
  name: string
  kind: 'number' | 'text'
  /** Absent or empty: the value taken instead; undefined: the column is needed. */
  fallback?: Cell
  meaning: string
}

/** A scaling law. */
export interface Law {
  name: string
  title: string
  /** LaTeX. */
  formula: string
  source: string
  /** What a row's target is: `loss`, or delta = loss − loss_before_ptq. */
  response: 'loss' | 'delta'
  parameters: readonly Parameter[]
  /** Parameters that exist once for each format in the rows. */
  parametersFor?(rows: readonly Configuration[]): Parameter[]
  columns: readonly Column[]
  fits: readonly PublishedFit[]
  core: Core
  /** Why the search over starts does not apply to this law (kbit is solved, apple_qat predicts no loss). */
  notFitted?: string
  predict(parameters: Parameters, configuration: Configuration): Prediction
}

/** A prediction that says nothing yet. */
export const NOTHING: Prediction = { loss: null, nEff: null, deltaPtq: null, dCrit: null, optimalBits: null }

/** A slot that is one parameter. */
export function slot(name: string, coefficient = 1, constant = 0): Slot {
  return { terms: [[name, coefficient]], constant }
}

/** The number in a column of a configuration, or the fallback where it is absent, null or empty. */
export function numberOf(row: Configuration, column: string, fallback = Number.NaN): number {
  const cell = row[column]
  if (cell === undefined || cell === null || cell === '') return fallback
  return typeof cell === 'number' ? cell : Number(cell)
}

/** The text in a column of a configuration, or undefined where it is absent or empty. */
export function textOf(row: Configuration, column: string): string | undefined {
  const cell = row[column]
  return cell === undefined || cell === null || cell === '' ? undefined : String(cell)
}

/** Bits of one part in the forward pass of training; 16 where not given. */
export function bitsOf(row: Configuration, column: 'P_w' | 'P_a' | 'P_kv'): number {
  return numberOf(row, column, 16)
}
