// Speed of GPTQ of one layer: the Hessian of calibration inputs, then the layer, 4 bits in groups of 128.
// The peer is peers/gptq_torch.py with the same sizes, run in the same minute.
import { availableParallelism } from 'node:os'
import { randomNormal } from '../src/formats/random.ts'
import { griddable, gridOf } from '../src/quantize/grid.ts'
import { nativeSolvers } from '../src/quantize/solvers.ts'
import type { BenchOptions, BenchResult } from './main.ts'

function normals(count: number, seed: number): Float32Array {
  const x = new Float32Array(count)
  const period = (1 << 20) + 7
  for (let i = 0; i < count; i++) x[i] = i < period ? randomNormal(seed, i) : x[i - period]
  return x
}

/** `--shapes 4096x4096,1024x4096 --format int4@128 --tokens 8192 --threads 2 --rounds 3` */
export function run(options: BenchOptions): BenchResult {
  const { shapes = '4096x4096,1024x4096', format = 'int4@128', tokens = '8192', rounds = '3' } = options
  const threads = Number(options.threads ?? availableParallelism())
  const solvers = nativeSolvers({ threads, exact: options.exact === 'true' })
  if (!solvers) throw new Error('the native kernels are not built')
  const record = griddable(format, 'gptq')
  const rows = shapes.split(',').map(shape => {
    const [outputs, columns] = shape.split('x').map(Number)
    const count = Number(tokens)
    // Inputs that go together a little: each is mixed with its neighbours, as in the peer.
    const x = normals(count * columns, 1)
    for (let i = x.length - 1; i >= 3; i--) x[i] += 0.1 * (x[i - 1] + x[i - 2] - x[i - 3])
    const weight = normals(outputs * columns, 2)
    let hessianSeconds = Number.POSITIVE_INFINITY
    let quantizeSeconds = Number.POSITIVE_INFINITY
    let error = 0
    const hessian = new Float64Array(columns * columns)
    for (let round = 0; round < Number(rounds); round++) {
      hessian.fill(0)
      const start = performance.now()
      solvers.addToHessian(hessian, x, count, columns)
      const middle = performance.now()
      error =
        solvers.gptq(weight, hessian, outputs, columns, gridOf(record, weight, columns), { groupScales: 'current' })
          .error ?? 0
      hessianSeconds = Math.min(hessianSeconds, (middle - start) / 1000)
      quantizeSeconds = Math.min(quantizeSeconds, (performance.now() - middle) / 1000)
    }
    const nearest = solvers.decode(solvers.encode(weight, [outputs, columns], record))
    const rtn = solvers.outputError(weight, nearest, hessian, outputs, columns)
    return {
      shape,
      format,
      tokens: count,
      hessianSeconds: Number(hessianSeconds.toFixed(3)),
      quantizeSeconds: Number(quantizeSeconds.toFixed(3)),
      errorOverRtn: Number((error / rtn).toFixed(4)),
    }
  })
  return {
    title: `GPTQ on ${threads} threads`,
    rows,
    notes: rows.map(({ shape }) => {
      const [outputs, columns] = shape.split('x')
      return `Beside it: python gptq_torch.py --rows ${outputs} --columns ${columns} --tokens ${tokens} --threads ${threads}`
    }),
  }
}
