// Codes, scales and bytes against the tools that define the formats.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type GoldenTensor, readSafetensors } from '../../test/safetensors.ts'
import { golden } from '../../test/shared.ts'
import { codebook } from './codebook.ts'
import { decodeElement, encodeElement } from './elements.ts'
import { decode, encode } from './encode.ts'
import { PRESETS, type PresetName, type ScaledFormat } from './format.ts'
import { parseFormat } from './spelling.ts'

type Tensors = Record<string, GoldenTensor>

/** A golden JSON file and the tensors beside it, or undefined. */
function load(name: string) {
  const json = golden('formats', `${name}.json`)
  const tensors = golden('formats', `${name}.safetensors`)
  if (!json || !tensors) return undefined
  return { document: JSON.parse(readFileSync(json, 'utf8')), tensors: readSafetensors(tensors) as Tensors }
}

const floats = (tensor: GoldenTensor) => tensor.values as Float32Array
const bytesOf = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength)
const sha256 = (x: Float32Array) => createHash('sha256').update(bytesOf(x)).digest('hex')

/** Fails at the first index where two arrays differ, unless it is excused. */
function expectEqual(name: string, got: ArrayLike<number>, wanted: ArrayLike<number>, excused = new Set<number>()) {
  expect(got.length, name).toBe(wanted.length)
  for (let i = 0; i < wanted.length; i++)
    if (!Object.is(got[i], wanted[i]) && !excused.has(i)) expect.fail(`${name}[${i}] is ${got[i]}, not ${wanted[i]}`)
}

const elements = load('elements')
test.skipIf(!elements)('element types: every value, and the codes of special, tied and random numbers', () => {
  const { document, tensors } = elements!
  const number = (value: number | string) =>
    typeof value === 'string' ? Number(value.replace('inf', 'Infinity')) : value
  for (const { name, decode: all, decode_codes: some, decode_values: values } of document.elements) {
    const wanted: (number | string)[] = all ?? values
    wanted.forEach((value, i) => {
      const code = all ? i : some[i]
      expect(decodeElement(name, code), `${name} ${code}`).toBe(number(value))
    })
    const x = floats(tensors[`${name}.x`])
    const codes = tensors[`${name}.code`].values
    const saturated = tensors[`${name}.code_saturated`].values
    for (let i = 0; i < x.length; i++) {
      for (const [got, want, kind] of [
        [encodeElement(name, x[i]), codes[i], 'code'],
        [encodeElement(name, x[i], { saturate: true }), saturated[i], 'saturated code'],
      ] as const) {
        const bothNan = Number.isNaN(decodeElement(name, got)) && Number.isNaN(decodeElement(name, want))
        const noNan = Number.isNaN(x[i]) && !Number.isNaN(decodeElement(name, got))
        if (got !== want && !bothNan && !noNan) expect.fail(`${name}: ${kind} of ${x[i]} is ${got}, not ${want}`)
      }
    }
  }
})

const blockwise = load('blockwise')
test.skipIf(!blockwise)('block formats with fp32 scales: codes and dequantized values', () => {
  const { document, tensors } = blockwise!
  for (const { tensor, codebook: name, block, near_ties, dequantised_sha256 } of document.cases) {
    const x = tensors[tensor]
    const spelling = `${name}@${block}/fp32`
    const encoded = encode(floats(x), x.shape, spelling)
    const prefix = `${tensor}.${name}.${block}`
    const label = `${prefix} codes`
    expectEqual(label, encoded.codes as Uint8Array, tensors[`${prefix}.codes`].values, new Set<number>(near_ties))
    if (tensors[`${tensor}.absmax.${block}`])
      expectEqual(`${prefix} absmax`, encoded.scales as Float32Array, tensors[`${tensor}.absmax.${block}`].values)
    // Equal bit for bit where no near tie went the other way.
    const wanted = tensors[`${prefix}.codes`].values
    if ((encoded.codes as Uint8Array).every((code, i) => code === wanted[i]))
      expect(sha256(decode(encoded)), `${prefix} values`).toBe(dequantised_sha256)
  }
})

test.skipIf(!blockwise)('4-bit kernels of bitsandbytes: nf4 and fp4, packed', () => {
  const { document, tensors } = blockwise!
  for (const { tensor, type, block, not_nearest } of document.four_bit) {
    const x = tensors[tensor]
    const spelling = `${type === 'nf4' ? 'nf4' : 'fp4e2m1'}.bnb_table@${block}/fp32`
    const encoded = encode(floats(x), x.shape, spelling)
    const { levels } = codebook((parseFormat(spelling) as ScaledFormat).element)
    const packed = tensors[`${tensor}.${type}.${block}.packed`].values
    // fp4's codes are bit patterns: sign, then the table of magnitudes of its kernel.
    const magnitudes = [0, 0.0052083333, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4]
    const excused = new Set<number>(
      (Array.isArray(not_nearest) ? not_nearest : []).map((entry: number | number[]) =>
        Array.isArray(entry) ? entry[0] : entry,
      ),
    )
    for (let i = 0; i < floats(x).length; i++) {
      const nibble = i % 2 === 0 ? packed[i >> 1] >> 4 : packed[i >> 1] & 15
      const level = levels[encoded.codes![i]]
      if (excused.has(i)) continue
      const wanted = type === 'nf4' ? levels[nibble] : (nibble & 8 ? -1 : 1) * magnitudes[nibble & 7]
      if (Math.abs(level - wanted) > 1e-6 && typeof not_nearest !== 'number')
        expect.fail(`${tensor} ${type} ${block} [${i}]: ${level} is not ${wanted}`)
    }
  }
})

test.skipIf(!blockwise)('scales quantized again are those of bitsandbytes', () => {
  const { document, tensors } = blockwise!
  const { offset } = document.double_quantised
  const x = tensors['input']
  const encoded = encode(floats(x), x.shape, 'nf4.bnb_table@64/dyn8x256')
  expect(encoded.scaleOffset).toBeCloseTo(offset, 7)
  const wanted = tensors['input.nf4.double.absmax_codes'].values
  const absmax = tensors['input.absmax.64'].values
  const { levels } = codebook((parseFormat('dyn8@256') as ScaledFormat).element)
  const scaleScales = tensors['input.nf4.double.scale'].values
  for (let i = 0; i < wanted.length; i++) {
    const block = Math.floor(i / 256)
    expect(encoded.scaleScales![block]).toBeCloseTo(scaleScales[block], 6)
    // The tool looks its code up in 65536 steps: it may be off where the ratio is that near to a middle.
    const ratio = (absmax[i] - offset) / scaleScales[block]
    const off = Math.abs(levels[wanted[i]] - ratio) - Math.abs(levels[encoded.scaleCodes![i]] - ratio)
    expect(Math.abs(off), `double absmax code ${i}`).toBeLessThan(4e-5)
    const value = levels[encoded.scaleCodes![i]] * scaleScales[block] + offset
    expect(Math.abs((encoded.scales as Float32Array)[i] - value)).toBeLessThan(1e-6)
  }
})

const mx = load('mx')
test.skipIf(!mx)('MX and NVFP4: scales, codes and values', () => {
  const { document, tensors } = mx!
  for (const { tensor, format, dequantised_sha256 } of document.cases) {
    const x = tensors[tensor]
    const prefix = `${tensor}.${format}`
    const width = x.shape[x.shape.length - 1]
    const perRow = tensors[`${prefix}.tensor_scale`]?.shape[0] === x.shape[0] && tensor === 'edge'
    // Each edge row of nvfp4 is a tensor of its own.
    const rows = perRow ? x.shape[0] : 1
    const size = (x.shape[0] / rows) * width
    const values = new Float32Array(floats(x).length)
    const codes: number[] = []
    const scales: number[] = []
    for (let row = 0; row < rows; row++) {
      const encoded = encode(floats(x).subarray(row * size, (row + 1) * size), [size / width, width], format)
      codes.push(...encoded.codes!)
      scales.push(...(encoded.scales as Uint8Array))
      values.set(decode(encoded), row * size)
      const tensorScale = tensors[`${prefix}.tensor_scale`]
      if (tensorScale) expect(encoded.tensorScale, prefix).toBe(tensorScale.values[row])
    }
    expectEqual(`${prefix}.scales`, scales, tensors[`${prefix}.scales`].values)
    expectEqual(`${prefix}.codes`, codes, tensors[`${prefix}.codes`].values)
    expectEqual(`${prefix}.dequantised`, values, tensors[`${prefix}.dequantised`].values)
    expect(sha256(values), prefix).toBe(dequantised_sha256)
  }
})

const activations = load('activations')
test.skipIf(!activations)('integers by token, channel and tensor', () => {
  const { document, tensors } = activations!
  for (const { tensor, format, near_ties, dequantised_sha256 } of document.cases) {
    const x = tensors[tensor]
    const prefix = `${tensor}.${format.replace('/fp32', '')}`
    const encoded = encode(floats(x), x.shape, format)
    expectEqual(`${prefix}.scale`, encoded.scales as Float32Array, tensors[`${prefix}.scale`].values)
    expectEqual(
      `${prefix}.codes`,
      encoded.codes as Int8Array,
      tensors[`${prefix}.codes`].values,
      new Set<number>(near_ties),
    )
    const wanted = tensors[`${prefix}.codes`].values
    // A zero times a code has the code's sign, as in the tool: compare values, not the sign of zero.
    if ((encoded.codes as Int8Array).every((code, i) => code === wanted[i])) {
      const stored = tensors[`${prefix}.dequantised`]?.values
      const values = decode(encoded)
      if (stored) for (let i = 0; i < values.length; i++) expect(values[i] === stored[i]).toBe(true)
      else expect(sha256(values), prefix).toBe(dequantised_sha256)
    }
  }
})

const ggml = load('ggml')
/** The types whose encoders do not search: the same bytes. */
const EXACT = ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'tq1_0', 'tq2_0']
test.skipIf(!ggml)(
  'ggml: values of any bytes exactly, bytes of its plain encoders, errors no larger than its searches',
  () => {
    const { document, tensors } = ggml!
    for (const { tensor, type, rows, mse } of document.cases) {
      const name = type as PresetName
      if (!PRESETS.includes(name)) continue
      const prefix = `${tensor}.${name}`
      const bytes = tensors[`${prefix}.bytes`].values as Uint8Array
      const wanted = tensors[`${prefix}.dequantised`].values
      const shape = rows ?? [1, wanted.length]
      const values = decode({ format: name, shape, bytes })
      for (let i = 0; i < wanted.length; i++)
        if (values[i] !== wanted[i]) expect.fail(`${prefix} value ${i} is ${values[i]}, not ${wanted[i]}`)
      if (tensor === 'random') continue
      const x = tensor === 'edge' ? edgeRows(tensors) : floats(tensors[tensor])
      const encoded = encode(x, shape, name)
      if (EXACT.includes(name)) expectSameBlocks(prefix, encoded.bytes!, bytes, name, shape)
      const error = meanSquare(x, decode(encoded))
      if (mse !== undefined) expect(error, `${prefix} error`).toBeLessThanOrEqual(mse * (1 + 1e-9))
      else expect(error, `${prefix} error`).toBeLessThanOrEqual(meanSquare(x, values) * (1 + 1e-9))
    }
  },
)

/** The nine edge rows that ggml takes. */
function edgeRows(tensors: Tensors): Float32Array {
  const { shape, values } = tensors['edge']
  const width = shape[1]
  const rows = [0, 1, 2, 3, 4, 8, 9, 10, 11]
  const out = new Float32Array(rows.length * width)
  rows.forEach((row, i) => {
    out.set((values as Float32Array).subarray(row * width, (row + 1) * width), i * width)
  })
  return out
}

function meanSquare(x: Float32Array, y: Float32Array): number {
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += (x[i] - y[i]) ** 2
  return sum / x.length
}

/** Bytes are equal, but for the sign of a zero scale (the tools differ there among themselves). */
function expectSameBlocks(
  prefix: string,
  got: Uint8Array,
  wanted: ArrayLike<number>,
  name: PresetName,
  shape: number[],
) {
  const zero = decode({ format: name, shape, bytes: got })
  for (let i = 0; i < got.length; i++) {
    const signOnly = (got[i] ^ wanted[i]) === 0x80 && zero.some(value => value === 0)
    if (got[i] !== wanted[i] && !signOnly) expect.fail(`${prefix} byte ${i} is ${got[i]}, not ${wanted[i]}`)
  }
}
