// Speed of block quantization and back, in GB of float32 read (or written) a second, beside the machine's own copy of
// the same array. The peer is peers/quantize_peers.py (bitsandbytes, torch, gguf-py), run in the same minute.
import { availableParallelism } from 'node:os'
import type { Encoded } from '../src/formats/index.ts'
import { randomNormal } from '../src/formats/random.ts'
import { createEngine } from '../src/tensor/addon.ts'
import { createNativeQuantizers } from '../src/tensor/quantizers.ts'
import type { BenchOptions, BenchResult } from './main.ts'

const FORMATS = [
  'int4@64',
  'int8@64',
  'mxfp4',
  'q8_0',
  'nf4@64',
  'fp4e2m1@64',
  'dyn8@256',
  'nf8@64',
  'uint4@64',
  'int4full@128',
  'int8@channel',
  'fp16',
  'nvfp4',
  'mxfp8e4m3',
  'mxint8',
  'int12@64',
  'nf4@64/e8m0',
  'int4@16/e4m3',
  'int4@64+sr',
  'int4@64+centered',
  'int4@64+hadamard',
  'int4@64+clip',
  'nf4@64+clip',
  'uint4@128+clip',
  'q4_0',
  'q5_1',
  'q4_k',
  'q6_k',
  'iq4_nl',
]

/** Seconds of the fastest of several calls after a first one; of fewer where they take long, as searches do. */
function fastest(rounds: number, work: () => void): number {
  const seconds: number[] = []
  let total = 0
  for (let round = 0; round <= rounds && total < 2; round++) {
    const start = performance.now()
    work()
    seconds.push((performance.now() - start) / 1000)
    total += seconds[round]
  }
  return Math.min(...(seconds.length > 1 ? seconds.slice(1) : seconds))
}

/** `--elements 33554432 --threads 2 --formats int4@64,nf4@64 --rounds 7` */
export function run(options: BenchOptions): BenchResult {
  const { elements = '33554432', formats = FORMATS.join(','), rounds = '7' } = options
  const threads = Number(options.threads ?? availableParallelism())
  const made = createEngine({ threads })
  const quantizers = createNativeQuantizers({ threads })
  if (!made || !quantizers) throw new Error('the native kernels are not built')
  const width = 4096
  const rows = Math.max(1, Math.round(Number(elements) / width))
  const size = rows * width
  const x = new Float32Array(size)
  for (let i = 0; i < size; i++) x[i] = i < 1 << 20 ? randomNormal(0, i) : x[i - (1 << 20)]
  const out = new Float32Array(size)
  const gigabytes = (4 * size) / 1e9
  const copy = () => gigabytes / fastest(Number(rounds), () => made.addon.copy(made.engine, size, x, out))
  const results = formats.split(',').map(format => {
    const into = {
      codes: new Uint8Array(format === 'q8_0' ? (size / 32) * 34 : size),
      scales: new Float32Array(size / 16),
      zeros: new Uint8Array(size / 16),
    }
    let encoded: Encoded = quantizers.encode(x, [rows, width], format, undefined, into)
    // The copy is measured beside each format: machines are shared and their speed drifts.
    const speed = copy()
    const encode =
      gigabytes /
      fastest(Number(rounds), () => (encoded = quantizers.encode(x, [rows, width], format, undefined, into)))
    const decode = gigabytes / fastest(Number(rounds), () => quantizers.decode(encoded, out))
    return {
      format,
      quantizeGBps: Number(encode.toPrecision(4)),
      dequantizeGBps: Number(decode.toPrecision(4)),
      copyGBps: Number(speed.toPrecision(4)),
      quantizeOfCopy: Number((encode / speed).toFixed(2)),
      dequantizeOfCopy: Number((decode / speed).toFixed(2)),
    }
  })
  return {
    title: `Quantize and dequantize ${rows} x ${width} float32, ${threads} threads, ${made.addon.pathName(made.engine)}`,
    rows: results,
    notes: [`Beside it: python quantize_peers.py --elements ${size} --threads ${threads}`],
  }
}
