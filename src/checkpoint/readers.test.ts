// Readers of untrusted files: the sample is read, and any other bytes give its tensors or a clear error, never anything else.
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { shardNames } from './folder.ts'
import { openGguf } from './gguf.ts'
import { openLlama2c } from './llama2c.ts'
import { roundToBf16, widen } from './numbers.ts'
import { openTensors } from './open.ts'
import { openPickle } from './pickle.ts'
import { openSafetensors, outermostKeys, writeSafetensors } from './safetensors.ts'
import type { TensorFile } from './tensors.ts'
import {
  SAMPLE,
  sampleArchive,
  sampleGguf,
  sampleLlama2c,
  sampleOldPickle,
  samplePickle,
  sampleSafetensors,
} from './testing.ts'

const scratch = mkdtempSync(join(tmpdir(), 'bitlaw-readers-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const path = join(scratch, 'file.bin')

const formats: [string, (path: string) => TensorFile, Uint8Array<ArrayBuffer>][] = [
  ['safetensors', openSafetensors, sampleSafetensors()],
  // without the zeros behind its last tensor, which a file may lack
  ['gguf', openGguf, sampleGguf().slice(0, -30)],
  ['PyTorch archive', openPickle, sampleArchive()],
  ['older PyTorch file', openPickle, sampleOldPickle()],
  ['llama2.c', openLlama2c, sampleLlama2c()],
]

/** Opens bytes as a file and reads every tensor; an error must be an Error of one line that is not a slip of ours. */
function readAll(open: (path: string) => TensorFile, bytes: Uint8Array): string | null {
  writeFileSync(path, bytes)
  try {
    const file = open(path)
    let total = 0
    for (const name of file.names) total += file.read(name).length
    file.close()
    expect(total).toBeLessThan(16 * bytes.length + 1024)
    return null
  } catch (error) {
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(TypeError)
    expect(error).not.toBeInstanceOf(RangeError)
    expect((error as Error).message).not.toMatch(/\n/)
    expect((error as Error).message).toContain(path)
    return (error as Error).message
  }
}

describe.each(formats)('%s', (name, open, sample) => {
  test('the sample is read', () => {
    writeFileSync(path, sample)
    const file = open(path)
    expect(openTensors(path).names).toEqual(file.names)
    if (name === 'llama2.c') expect(file.info('layers.0.wk').shape).toEqual([2, 4])
    else {
      expect(file.info('w')).toMatchObject({ dtype: 'F32', shape: [2, 3], bytes: 24 })
      expect(new Float32Array(file.read('w').buffer)).toEqual(SAMPLE)
    }
    expect(() => file.read('none')).toThrow("no tensor 'none'")
    file.close()
  })

  test('cut off at every byte', () => {
    for (let length = 0; length < sample.length; length++)
      expect(readAll(open, sample.subarray(0, length)), `${length} bytes`).not.toBeNull()
  })

  test('bytes changed', () => {
    const change = fc.tuple(fc.nat(sample.length - 1), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x22, 0x7b, 0x2c))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), changes => {
        const bytes = sample.slice()
        for (const [at, value] of changes) bytes[at] = value
        readAll(open, bytes)
      }),
      { numRuns: 400 },
    )
  })

  test('random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        expect(readAll(open, bytes)).not.toBeNull()
      }),
      { numRuns: 100 },
    )
  })
})

/** A safetensors file of a header and bytes. */
function withHeader(header: string, data = 0): Uint8Array {
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length + data)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

test('safetensors headers that lie', () => {
  const entry = (name: string, dtype: string, shape: string, offsets: string) =>
    `"${name}":{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`
  const cases: [string, number, RegExp][] = [
    [`{${entry('a', 'F32', '[2]', '[0,8]')},${entry('a', 'F32', '[2]', '[0,8]')}}`, 8, /twice/],
    [`{${entry('a', 'F32', '[2]', '[0,8]')},${entry('b', 'F32', '[2]', '[4,12]')}}`, 12, /overlaps/],
    [`{${entry('a', 'F32', '[2]', '[4,12]')}}`, 12, /belong to none/],
    [`{${entry('a', 'F32', '[2]', '[0,8]')}}`, 9, /expected 8/],
    [`{${entry('a', 'F32', '[4294967296,4294967296]', '[0,8]')}}`, 8, /more numbers/],
    [`{${entry('a', 'F32', '[-1]', '[0,8]')}}`, 8, /whole numbers/],
    [`{${entry('a', 'F32', '[1.5]', '[0,6]')}}`, 6, /whole numbers/],
    [`{${entry('a', 'F33', '[2]', '[0,8]')}}`, 8, /dtype 'F33'/],
    [`{${entry('a', 'toString', '[2]', '[0,8]')}}`, 8, /dtype 'toString'/],
    [`{${entry('a', 'F32', '[2]', '[0,99]')}}`, 8, /range within 8/],
    [`{${entry('a', 'F32', '[2]', '[8,0]')}}`, 8, /range within 8/],
    [`{${entry('a', 'F32', '[3]', '[0,8]')}}`, 8, /more numbers|expected 12/],
    ['[]', 0, /no JSON object/],
    ['{"__metadata__":{"a":1}}', 0, /strings/],
    ['{"a":1}', 0, /no object/],
    ['{', 0, /not JSON/],
  ]
  for (const [header, data, message] of cases)
    expect(readAll(openSafetensors, withHeader(header, data)), header).toMatch(message)
  const huge = new Uint8Array(16)
  new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true)
  expect(readAll(openSafetensors, huge)).toMatch(/header of/)
})

test('a file of 10 GB is read by place, never whole', () => {
  const large = 10 * 2 ** 30
  const entries = `{"hole":{"dtype":"U8","shape":[${large}],"data_offsets":[0,${large}]},"w":{"dtype":"F32","shape":[2],"data_offsets":[${large},${large + 8}]}}`
  writeFileSync(path, withHeader(entries))
  const start = statSync(path).size
  const descriptor = openSync(path, 'r+')
  ftruncateSync(descriptor, start + large)
  writeSync(descriptor, new Uint8Array(Float32Array.of(3, 4).buffer), 0, 8, start + large)
  closeSync(descriptor)
  const before = process.memoryUsage.rss()
  const file = openSafetensors(path)
  expect([...new Float32Array(file.read('w').buffer)]).toEqual([3, 4])
  expect(file.info('hole').bytes).toBe(large)
  file.close()
  expect(process.memoryUsage.rss() - before).toBeLessThan(200e6)
})

test('names like __proto__ are names', () => {
  writeSafetensors(path, [{ name: '__proto__', dtype: 'U8', shape: [1], data: () => Uint8Array.of(7) }])
  const file = openSafetensors(path)
  expect(file.names).toEqual(['__proto__'])
  expect([...file.read('__proto__')]).toEqual([7])
  file.close()
})

test('the outermost keys of a JSON text', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.jsonValue())), pairs => {
      const json = `{${pairs.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(', ')}}`
      expect(outermostKeys(json)).toEqual(pairs.map(([key]) => key))
    }),
  )
})

test('GGUF counts that lie', () => {
  const patch = (at: number, value: bigint) => {
    const bytes = sampleGguf()
    new DataView(bytes.buffer).setBigUint64(at, value, true)
    return bytes
  }
  expect(readAll(openGguf, patch(8, 2n ** 40n))).toMatch(/more than it can hold/)
  expect(readAll(openGguf, patch(16, 2n ** 60n))).toMatch(/more than any file holds/)
  expect(readAll(openGguf, patch(24, 2n ** 33n))).toMatch(/metadata key of/)
  const old = sampleGguf()
  old[4] = 1
  expect(readAll(openGguf, old)).toMatch(/version 1, expected 2 or 3/)
})

test('a pickle that asks for anything else is refused', () => {
  const text = (value: string) => [...new TextEncoder().encode(value)]
  const system = [0x80, 2, 0x63, ...text('os\nsystem\n'), 0x58, 2, 0, 0, 0, ...text('ls'), 0x85, 0x52, 0x2e]
  expect(readAll(openPickle, sampleArchive(system))).toMatch(/asks for 'os\.system'/)
  const proto = [0x80, 2, 0x63, ...text('torch\n__proto__\n'), 0x2e]
  expect(readAll(openPickle, sampleArchive(proto))).toMatch(/asks for/)
  expect(readAll(openPickle, sampleArchive([0x80, 2, 0x69, 0x2e]))).toMatch(/opcode 0x69/)
  expect(readAll(openPickle, sampleArchive([0x80, 2, 0x7d, 0x2e]))).toMatch(/no named tensors/)
  const pickle = samplePickle()
  const shape = pickle.indexOf(0x86) - 3
  pickle[shape] = 9
  expect(readAll(openPickle, sampleArchive(pickle))).toMatch(/more numbers|beyond its storage/)
})

test('an index must name plain files', () => {
  const names = (map: unknown) => shardNames(JSON.stringify({ weight_map: map }), 'x')
  expect(names({ a: 'model-1.safetensors', b: 'model-1.safetensors' })).toEqual(['model-1.safetensors'])
  for (const wrong of ['../x.safetensors', '/etc/passwd', 'a/b.safetensors', 'x.txt', 3])
    expect(() => names({ a: wrong })).toThrow('plain file name')
})

test('bf16 rounds to nearest, ties to even, and back', () => {
  const values = Float32Array.of(
    1,
    1.00390625,
    1.01171875,
    -0,
    Number.POSITIVE_INFINITY,
    Number.NaN,
    3.4028234663852886e38,
    1e-40,
  )
  const bits = roundToBf16(values)
  expect([...widen(new Uint8Array(bits.buffer), 'BF16', [8])].slice(0, 5)).toEqual([
    1,
    1,
    1.015625,
    -0,
    Number.POSITIVE_INFINITY,
  ])
  expect(widen(new Uint8Array(bits.buffer), 'BF16', [8])[5]).toBeNaN()
  expect(bits[6]).toBe(0x7f80)
})

test('every number type is widened', () => {
  const bytes = (view: ArrayBufferView) => new Uint8Array(view.buffer as ArrayBuffer)
  const cases: [ArrayBufferView, string, number[]][] = [
    [Float64Array.of(0.5), 'F64', [0.5]],
    [Uint16Array.of(0x3c00, 0xfc00, 0x0001), 'F16', [1, Number.NEGATIVE_INFINITY, 2 ** -24]],
    [Uint8Array.of(0x38, 0xb8, 0x01), 'F8_E4M3', [1, -1, 2 ** -9]],
    [Uint8Array.of(0x3c, 0x7c), 'F8_E5M2', [1, Number.POSITIVE_INFINITY]],
    [Int8Array.of(-3), 'I8', [-3]],
    [Uint8Array.of(200), 'U8', [200]],
    [Int16Array.of(-300), 'I16', [-300]],
    [Int32Array.of(-70000), 'I32', [-70000]],
    [BigInt64Array.of(-5n), 'I64', [-5]],
    [Uint8Array.of(1, 0), 'BOOL', [1, 0]],
  ]
  for (const [view, dtype, expected] of cases)
    expect([...widen(bytes(view), dtype, [expected.length])], dtype).toEqual(expected)
  expect(() => widen(new Uint8Array(66), 'iq2_xxs', [256])).toThrow('cannot be widened')
})
