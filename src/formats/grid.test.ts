// The grids of `uint<k>` and `int<k>full` against the GPTQ authors' quantizer (round to nearest, float64).
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { readSafetensors } from '../../test/safetensors.ts'
import { golden } from '../../test/shared.ts'
import { encode, fakeQuantize } from './encode.ts'

const path = golden('ptq', 'gptq.json')

test.skipIf(!path)('codes, scales and zero points are the GPTQ quantizer’s', () => {
  const { layers, cases } = JSON.parse(readFileSync(path!, 'utf8'))
  const files = new Map<string, ReturnType<typeof readSafetensors>>()
  for (const { layer, method, bits, group, sym, codes, scales, zeros } of cases) {
    if (method !== 'rtn') continue
    const { file, rows, cols } = layers[layer]
    const tensors = files.get(file) ?? readSafetensors(golden('ptq', file)!)
    files.set(file, tensors)
    const shares = group === -1 || group >= cols ? 'channel' : group
    if (typeof shares === 'number' && cols % shares !== 0) continue
    const weights = Float64Array.from(tensors.W.values)
    const format = `${sym ? `int${bits}full` : `uint${bits}`}@${shares}/exact`
    const encoded = encode(weights, [rows, cols], format)
    const label = `${layer} ${format}`
    const stored = tensors[codes].values
    const packed = stored.length * 2 === weights.length
    const wanted = weights.map((_, i) => (packed ? (stored[i >> 1] >> (4 * (i & 1))) & 15 : stored[i]))
    // A row of zeros has its zero point at a tie; its weights are 0 either way.
    const length = weights.length / encoded.scales!.length
    const empty = (run: number) => weights.subarray(run * length, (run + 1) * length).every(value => value === 0)
    for (let run = 0; run < encoded.scales!.length; run++) {
      if (encoded.scales![run] !== tensors[scales].values[run])
        expect.fail(`${label} scale ${run} is ${encoded.scales![run]}, not ${tensors[scales].values[run]}`)
      if (!empty(run) && encoded.zeros![run] !== tensors[zeros].values[run])
        expect.fail(`${label} zero ${run} is ${encoded.zeros![run]}, not ${tensors[zeros].values[run]}`)
    }
    const values = fakeQuantize(weights, [rows, cols], format)
    for (let i = 0; i < wanted.length; i++) {
      const run = Math.floor(i / length)
      if (empty(run) && values[i] !== 0) expect.fail(`${label} value ${i} of a row of zeros is ${values[i]}`)
      if (!empty(run) && encoded.codes![i] !== wanted[i])
        expect.fail(`${label} code ${i} is ${encoded.codes![i]}, not ${wanted[i]}`)
    }
  }
})
