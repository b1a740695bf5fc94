// What a folder says of an encoded parameter is checked before it is believed.
import { expect, test } from 'vitest'
import { encode } from '../formats/index.ts'
import { type EncodedParameter, encodedParameters, type StoredTensor, storeEncoded } from './encoded.ts'
import type { TensorToWrite } from './safetensors.ts'
import type { TensorFile } from './tensors.ts'

const x = Float32Array.from({ length: 8 * 32 }, (_, i) => Math.sin(i))
const order = Int32Array.from({ length: 32 }, (_, i) => 31 - i)
const { stored, tensors } = storeEncoded('w', {
  encoded: encode(x, [8, 32], 'int4@16+proxy7%', { keep: [3, 9] }),
  order,
})

/** The tensors as a file gives them. */
function fileOf(list: readonly TensorToWrite[]): TensorFile {
  const bytes = new Map(
    list.map(({ name, data }) => {
      const { buffer, byteOffset, byteLength } = data() as Uint8Array
      return [name, new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer)]
    }),
  )
  const infos = new Map(list.map(({ name, dtype, shape }) => [name, { dtype, shape, bytes: bytes.get(name)!.length }]))
  return {
    names: [...infos.keys()],
    has: name => infos.has(name),
    info: name => infos.get(name)!,
    read: name => bytes.get(name)!.slice(),
    metadata: {},
    close: () => {},
  }
}

const read = (entry: StoredTensor, list = tensors) =>
  (encodedParameters(fileOf(list), { w: entry }).get('w') as EncodedParameter).read()

/** The tensors with other whole numbers in one. */
const withNumbers = (field: string, numbers: number[]) =>
  tensors.map(tensor =>
    tensor.name === `bitlaw.w.${field}` ? { ...tensor, data: () => Int32Array.from(numbers) } : tensor,
  )

test('arrays that are not those of the format and shape are refused', () => {
  expect(read(stored)).toHaveLength(256)
  const { arrays } = stored
  const { scales, ...others } = arrays
  for (const [entry, message] of [
    [{ ...stored, arrays: others }, "parameter 'w' has no scales, expected 16 for int4@16+proxy7%"],
    [{ ...stored, shape: [8, 64] }, 'expected 496 for int4@16+proxy7% of [8, 64]'],
    [{ ...stored, arrays: { ...arrays, means: scales } }, 'has 16 means, expected none'],
    [{ ...stored, arrays: { ...arrays, codes: { ...arrays['codes'], array: 'Float64Array' } } }, 'codes, expected 240'],
    [{ ...stored, format: 'int4@32+proxy7%' }, 'has 16 scales, expected 8'],
  ] as [StoredTensor, string][])
    expect(() => read(entry)).toThrow(message)
})

test('an order, and kept dimensions, are columns', () => {
  for (const wrong of [
    [...order.subarray(0, 31), 31],
    [...order.subarray(0, 31), 32],
    [...order.subarray(0, 31), -1],
  ])
    expect(() => read(stored, withNumbers('order', wrong))).toThrow('places in its order that are not columns of 32')
  for (const wrong of [
    [3, 3],
    [3, 40],
  ])
    expect(() => read(stored, withNumbers('keep', wrong))).toThrow('kept dimensions that are not columns of 32')
})
