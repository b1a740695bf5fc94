// Monte Carlo of the presets whose encoders search for scales, on N(0,1): makes src/formats/gaussian-table.ts.
import { fakeQuantize } from '../src/formats/index.ts'
import { randomNormal } from '../src/formats/random.ts'
import type { BenchOptions, BenchResult } from './main.ts'

const SEARCHED = ['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs']

/** `--samples 4194304`: values a format. */
export function run({ samples = '4194304' }: BenchOptions): BenchResult {
  const size = 64 * 1024
  const batches = Math.max(Math.round(Number(samples) / size), 2)
  const rows = SEARCHED.map(format => {
    const errors: number[] = []
    for (let batch = 0; batch < batches; batch++) {
      const x = Float32Array.from({ length: size }, (_, i) => randomNormal(batch, i))
      const y = fakeQuantize(x, [64, 1024], format)
      let sum = 0
      for (let i = 0; i < size; i++) sum += (x[i] - y[i]) ** 2
      errors.push(sum / size)
    }
    const mse = errors.reduce((a, b) => a + b, 0) / batches
    const variance = errors.reduce((a, b) => a + (b - mse) ** 2, 0) / (batches - 1)
    return {
      format,
      mse: Number(mse.toPrecision(6)),
      standardError: Number(Math.sqrt(variance / batches).toPrecision(3)),
    }
  })
  return { title: `Mean squared error on N(0,1), ${batches * size} samples`, rows }
}
