// The heavy arithmetic of this folder, native where the kernels are built, else the definitions in TypeScript.
import { availableParallelism } from 'node:os'
import { decode, encode } from '../formats/index.ts'
import { createNativeGptq, type NativeGptq } from '../tensor/gptq.ts'
import type { Floats } from '../tensor/kernels.ts'
import { createNativeQuantizers } from '../tensor/quantizers.ts'
import type { AddToHessian } from './calibration.ts'
import { actOrder, type GptqOptions, type GptqResult, gptq, staleScales } from './gptq.ts'
import type { Grid } from './grid.ts'
import { addToHessian, outputError } from './hessian.ts'
import type { Codec, SolveGptq } from './layer.ts'

/** What quantizeModel computes with. */
export interface Solvers extends Codec {
  readonly name: 'native' | 'reference'
  addToHessian: AddToHessian
  gptq: SolveGptq
  /** As in hessian.ts. */
  outputError(weight: Floats, quantized: Floats, hessian: Float64Array, rows: number, columns: number): number
}

/** The definitions: plain TypeScript, float64. */
const REFERENCE: Solvers = { name: 'reference', encode, decode, addToHessian, gptq, outputError }

/** Least columns a block of the native solver has. */
const BLOCK = 128

/** How the native solver cuts columns into blocks of whole groups; null where it cannot. */
function blockOf(group: number, early: boolean, stale: boolean, blocksize: number): number | null {
  if (early) return BLOCK
  if (stale) return blocksize % group === 0 ? blocksize : null
  return group >= BLOCK ? group : Math.floor(BLOCK / group) * group
}

function dequantized(grid: Grid, { codes, scales, zeros, groupOf }: Omit<GptqResult, 'values'>): Float64Array {
  const columns = groupOf.length
  const values = new Float64Array(codes.length)
  const groups = (scales.length * columns) / Math.max(codes.length, 1)
  for (let i = 0; i < codes.length; i++) {
    const at = Math.floor(i / columns) * groups + groupOf[i % columns]
    values[i] = grid.value(codes[i], scales[at], zeros[at])
  }
  return values
}

/** GPTQ by the native solver, in double where `exact`; what it does not know is left to the definition. */
function nativeGptq(native: NativeGptq, exact: boolean): SolveGptq {
  return function solve(weight, hessian, rows, columns, grid, options: GptqOptions = {}): GptqResult {
    const {
      damp = 0.01,
      blocksize = 128,
      staticGroups = false,
      groupScales = 'best',
      keep,
      fixedScales,
      fixedZeros,
    } = options
    const group = grid.group ?? columns
    const early = staticGroups || grid.group === null || fixedScales !== undefined
    const canBeStale = staleScales(grid.group, columns, options)
    const { scale } = grid
    if (keep || scale === 'e8m0' || (canBeStale && groupScales !== 'current' && blocksize % group !== 0))
      return gptq(weight, hessian, rows, columns, grid, options)
    const order = options.actOrder ? actOrder(hessian, columns) : null
    const groups = Math.ceil(columns / group)
    const thresholds =
      grid.levels &&
      Float64Array.from({ length: grid.last }, (_, i) => (grid.levels![i] + grid.levels![i + 1]) / 2 + 1e-12)
    const values = weight instanceof Float32Array ? weight : Float32Array.from(weight)
    const groupOf = new Int32Array(columns)
    for (let place = 0; place < columns; place++) {
      const column = order ? order[place] : place
      groupOf[column] = Math.floor((early ? column : place) / group)
    }
    const run = (stale: boolean): GptqResult => {
      const codes = new Uint8Array(rows * columns)
      const scales = fixedScales?.slice() ?? new Float64Array(rows * groups)
      const zeros = fixedScales
        ? Uint8Array.from(fixedZeros ?? scales.map(() => (grid.kind === 'step' ? grid.last / 2 : 0)))
        : new Uint8Array(rows * groups)
      const twice = native.solve(
        {
          weight: values,
          hessian,
          rows,
          columns,
          order,
          damp,
          kind: grid.kind,
          symmetric: grid.symmetric,
          last: grid.last,
          scale,
          levels: grid.levels,
          thresholds,
          group,
          early,
          fixed: fixedScales !== undefined,
          rowScales: grid.group === null,
          stale,
          block: blockOf(group, early, stale, blocksize)!,
          codes,
          scales,
          zeros,
        },
        exact,
      )
      const found = { codes, scales, zeros, order, groupOf, error: twice / 2 }
      let lazy: Float64Array | undefined
      return {
        ...found,
        get values() {
          lazy ??= dequantized(grid, found)
          return lazy
        },
      }
    }
    if (!canBeStale || groupScales === 'current') return run(false)
    if (groupScales === 'block') return run(true)
    const current = run(false)
    const block = run(true)
    return block.error! < current.error! ? block : current
  }
}

/** Native solvers, or undefined where the kernels are not built; `exact` computes GPTQ in double. */
export function nativeSolvers({
  threads,
  isa,
  exact = false,
}: {
  threads: number
  isa?: string
  exact?: boolean
}): Solvers | undefined {
  const native = createNativeGptq({ threads, isa })
  const quantizers = createNativeQuantizers({ threads, isa })
  if (!native || !quantizers) return undefined
  const single = (x: Floats) => (x instanceof Float32Array ? x : Float32Array.from(x))
  return {
    name: 'native',
    encode: (x, shape, format, options) => quantizers.encode(x, shape, format, options),
    decode: encoded => quantizers.decode(encoded),
    addToHessian: (hessian, x, rows, columns) => native.addToHessian(hessian, single(x), rows, columns, exact),
    gptq: nativeGptq(native, exact),
    outputError: (weight, quantized, hessian, rows, columns) =>
      native.quadraticError(single(weight), single(quantized), hessian, rows, columns, exact) / 2,
  }
}

/** What is fastest here. */
export function defaultSolvers({
  threads = availableParallelism(),
  exact = false,
}: {
  threads?: number
  exact?: boolean
} = {}): Solvers {
  return nativeSolvers({ threads, exact }) ?? REFERENCE
}
