// The heavy arithmetic of this folder, native where the kernels are built, else the definitions in TypeScript.

import { decode, encode } from '../formats/index.ts'
import type { AddToHessian } from './calibration.ts'
import { gptq } from './gptq.ts'
import { addToHessian } from './hessian.ts'
import type { Codec, SolveGptq } from './layer.ts'

/** What quantizeModel computes with. */
export interface Solvers extends Codec {
  readonly name: 'native' | 'reference'
  addToHessian: AddToHessian
  gptq: SolveGptq
}

/** The definitions: plain TypeScript, float64. */
export const REFERENCE: Solvers = { name: 'reference', encode, decode, addToHessian, gptq }

/** What is fastest here. */
export function defaultSolvers(): Solvers {
  return REFERENCE
}
