// Speed of the TypeScript path of formats/: encoding and decoding a tensor, in GB of float32 a second on one thread.
// Beside it stands shared/peers/quantize_peers.py (bitsandbytes, torch, gguf-py), run in the same minute.
import { decode, encode } from '../src/formats/index.ts'
import { randomNormal } from '../src/formats/random.ts'
import type { BenchOptions, BenchResult } from './main.ts'

const FORMATS = [
  'int4@64',
  'nf4@64',
  'fp4e2m1@64',
  'dyn8@256',
  'int8@channel',
  'uint4@64',
  'mxfp4',
  'mxfp8e4m3',
  'q4_0',
  'q8_0',
  'q4_k',
]

/** Seconds of the fastest of several calls, at least three and until half a second has passed. */
function fastest(work: () => void): number {
  let best = Infinity
  const start = performance.now()
  for (let round = 0; round < 3 || performance.now() - start < 500; round++) {
    const before = performance.now()
    work()
    best = Math.min(best, performance.now() - before)
  }
  return best / 1000
}

/** `--elements 4194304 --formats int4@64,nf4@64` */
export function run({ elements = '4194304', formats = FORMATS.join(',') }: BenchOptions): BenchResult {
  const width = 4096
  const rows = Math.max(Math.round(Number(elements) / width), 1)
  const x = Float32Array.from({ length: rows * width }, (_, i) => randomNormal(0, i % 2 ** 20))
  const copy = new Float32Array(x.length)
  const gigabytes = (4 * x.length) / 1e9
  const copySpeed = gigabytes / fastest(() => copy.set(x))
  const results = formats.split(',').map(format => {
    // The search of q4_k is measured on a part.
    const part = format.endsWith('_k') ? Math.max(Math.round(rows / 32), 1) : rows
    const some = x.subarray(0, part * width)
    const share = (gigabytes * part) / rows
    let encoded = encode(some, [part, width], format)
    const encodeSpeed = share / fastest(() => (encoded = encode(some, [part, width], format)))
    const decodeSpeed = share / fastest(() => decode(encoded))
    return {
      format,
      encodeGBps: Number(encodeSpeed.toPrecision(3)),
      decodeGBps: Number(decodeSpeed.toPrecision(3)),
      encodeOfCopy: Number((encodeSpeed / copySpeed).toPrecision(2)),
    }
  })
  return {
    title: `Encode and decode in TypeScript, one thread, ${rows} x ${width} float32 (a copy runs at ${copySpeed.toPrecision(3)} GB/s)`,
    rows: results,
    notes: [`Beside it: python quantize_peers.py --elements ${rows * width} --threads 1`],
  }
}
