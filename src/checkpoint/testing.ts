// Small files of every format, made here byte by byte, for the tests of readers and for the fuzz run.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bool, f32, f32s, i32s, text, texts, u32, writeGguf } from './gguf-write.ts'
import { writeSafetensors } from './safetensors.ts'

/** The numbers of the one tensor `w` (2, 3) that every sample holds. */
export const SAMPLE = Float32Array.of(1, -2, 3.5, 0, 0.25, -6)

/** What a writer puts into a file. */
function written(write: (path: string) => void): Uint8Array<ArrayBuffer> {
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-sample-'))
  try {
    write(join(folder, 'file'))
    return new Uint8Array(readFileSync(join(folder, 'file')))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A .safetensors file of three tensors. */
export function sampleSafetensors(): Uint8Array<ArrayBuffer> {
  return written(path =>
    writeSafetensors(path, [
      { name: 'w', dtype: 'F32', shape: [2, 3], data: () => SAMPLE },
      { name: 'half', dtype: 'F16', shape: [2], data: () => Uint16Array.of(0x3c00, 0xc000) },
      { name: 'flags', dtype: 'BOOL', shape: [1], data: () => Uint8Array.of(1) },
    ]),
  )
}

/** A .gguf file with metadata of every kind and two tensors. */
export function sampleGguf(): Uint8Array<ArrayBuffer> {
  const metadata = {
    'general.architecture': text('llama'),
    'llama.block_count': u32(1),
    'llama.rope.freq_base': f32(10000),
    'x.flag': bool(true),
    'tokenizer.ggml.tokens': texts(['<unk>', 'a', 'bc']),
    'tokenizer.ggml.scores': f32s([0, -1, -2]),
    'tokenizer.ggml.token_type': i32s([2, 1, 1]),
  }
  return written(path =>
    writeGguf(path, metadata, [
      { name: 'w', dtype: 'F32', shape: [2, 3], data: () => SAMPLE },
      { name: 'q', dtype: 'q8_0', shape: [1, 32], data: () => new Uint8Array(34) },
    ]),
  )
}

/** The pickle of `{'w': tensor}` over the storage '0', protocol 2, as torch.save writes it. */
export function samplePickle(): number[] {
  const global = (module: string, name: string) => [0x63, ...encode(`${module}\n${name}\n`)]
  const unicode = (value: string) => [0x58, value.length, 0, 0, 0, ...encode(value)]
  const storage = [
    0x28,
    ...unicode('storage'),
    ...global('torch', 'FloatStorage'),
    ...unicode('0'),
    ...unicode('cpu'),
    0x4b,
    6,
    0x74,
    0x51,
  ]
  const shape = [0x4b, 2, 0x4b, 3, 0x86]
  const strides = [0x4b, 3, 0x4b, 1, 0x86]
  const hooks = [...global('collections', 'OrderedDict'), 0x29, 0x52]
  const tensor = [
    ...global('torch._utils', '_rebuild_tensor_v2'),
    0x28,
    ...storage,
    0x4b,
    0,
    ...shape,
    ...strides,
    0x89,
    ...hooks,
    0x74,
    0x52,
  ]
  return [
    0x80,
    2,
    ...global('collections', 'OrderedDict'),
    0x71,
    0,
    0x29,
    0x52,
    0x71,
    1,
    0x28,
    ...unicode('w'),
    ...tensor,
    0x75,
    0x2e,
  ]
}

const encode = (value: string) => [...new TextEncoder().encode(value)]

/** A pytorch_model.bin of torch 1.6 or later: a zip archive of stored entries. */
export function sampleArchive(pickle = samplePickle()): Uint8Array<ArrayBuffer> {
  const entries: [string, Uint8Array][] = [
    ['archive/data.pkl', Uint8Array.from(pickle)],
    ['archive/byteorder', Uint8Array.from(encode('little'))],
    ['archive/data/0', new Uint8Array(SAMPLE.buffer)],
    ['archive/version', Uint8Array.from(encode('3\n'))],
  ]
  const bytes: number[] = []
  const directory: number[] = []
  const word = (value: number, size: number) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 255)
  for (const [name, content] of entries) {
    const sizes = [...word(0, 4), ...word(content.length, 4), ...word(content.length, 4), ...word(name.length, 2)]
    const common = [...word(20, 2), ...word(0, 2), ...word(0, 2), ...word(0, 4), ...sizes]
    directory.push(
      ...word(0x02014b50, 4),
      ...word(20, 2),
      ...common,
      ...word(0, 2),
      ...word(0, 2),
      ...word(0, 2),
      ...word(0, 2),
      ...word(0, 4),
      ...word(bytes.length, 4),
      ...encode(name),
    )
    bytes.push(...word(0x04034b50, 4), ...common, ...word(0, 2), ...encode(name), ...content)
  }
  const start = bytes.length
  const end = [
    ...word(0x06054b50, 4),
    ...word(0, 4),
    ...word(entries.length, 2),
    ...word(entries.length, 2),
    ...word(directory.length, 4),
    ...word(start, 4),
    ...word(0, 2),
  ]
  return Uint8Array.from([...bytes, ...directory, ...end])
}

/** A pytorch_model.bin of the older layout. */
export function sampleOldPickle(): Uint8Array<ArrayBuffer> {
  const magic = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]
  const version = [0x80, 2, 0x4d, 0xe9, 0x03, 0x2e]
  const machine = [0x80, 2, 0x7d, 0x71, 0, 0x2e]
  const keys = [0x80, 2, 0x5d, 0x71, 0, 0x58, 1, 0, 0, 0, 0x30, 0x61, 0x2e]
  return Uint8Array.from([
    ...magic,
    ...version,
    ...machine,
    ...samplePickle(),
    ...keys,
    6,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    ...new Uint8Array(SAMPLE.buffer),
  ])
}

/** A llama2.c checkpoint of one layer, width 4. */
export function sampleLlama2c(): Uint8Array<ArrayBuffer> {
  const header = Int32Array.of(4, 6, 1, 2, 1, 5, 3)
  const floats = 5 * 4 + 4 + 16 + 8 + 8 + 16 + 4 + 3 * 24 + 4 + 2 * 3
  const out = new Uint8Array(28 + 4 * floats)
  out.set(new Uint8Array(header.buffer))
  out.set(new Uint8Array(Float32Array.from({ length: floats }, (_, i) => i / 8).buffer), 28)
  return out
}
