// The loss that `quantize --evaluate` prints is that of what it writes: `evaluate` of the output finds it again.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'
import { loadModel } from '../model/load.ts'
import { saveModel } from '../model/save.ts'

const stories = shared('models', 'tinystories-656k')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-quantized-loss-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const text = join(folder, 'text.txt')
const other = join(folder, 'other.txt')
const untied = join(folder, 'untied')
const trained = join(folder, 'trained')
const windows = ['--context', '64', '--limit', '6', '--json']

beforeAll(async () => {
  if (!stories) return
  writeFileSync(
    text,
    'One day, a little girl named Lily found a needle in her room. She was happy to play. '.repeat(30),
  )
  writeFileSync(other, 'Once upon a time there was a little dog who liked to run in the park with a ball. '.repeat(40))
  const model = await loadModel(stories, { dtype: 'float32' })
  // The same model with a head of its own, in bf16: its residual stream can be rotated.
  const parameters = new Map([...model.parameters.keys()].map(name => [name, model.parameters.get(name)!]))
  parameters.set('head.weight', parameters.get('embedding.weight')!)
  const config = { ...model.config, tied: false }
  await saveModel(untied, { config, parameters }, { dtype: 'bf16', tokenizer: model.tokenizer })
  // As if trained at low precision: the folder has the master weights.
  cpSync(stories, trained, { recursive: true })
  const raw = JSON.parse(readFileSync(join(stories, 'config.json'), 'utf8'))
  const precision = { weights: 3, activations: 6, kv: 6 }
  rmSync(join(trained, 'config.json'))
  writeFileSync(join(trained, 'config.json'), JSON.stringify({ ...raw, bitlaw: { precision } }))
})

function bitlaw(...args: string[]) {
  const { status, stdout, stderr } = spawnSync('node', ['bin/bitlaw', ...args, ...windows], { encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return JSON.parse(stdout)
}

const importance = ['--calibration', other, '--calibration-sequences', '4', '--calibration-length', '64']
const imatrix = ['--imatrix', join(folder, 'importance.dat'), ...importance]
const menu = ['--target-bits', '3.7', '--menu', 'int{2,3,4,5}@64']
const CASES: Record<string, [source: () => string, options: string[]]> = {
  'an importance matrix': [() => stories!, ['--format', 'q4_0', ...imatrix]],
  'a budget': [() => stories!, [...menu, '--embeddings', 'int4@64']],
  'a budget by importance': [() => untied, [...menu, ...imatrix]],
  'a rotated model': [() => untied, ['--format', 'int3@32+hadamard', '--embeddings', 'int8@channel+hadamard']],
  'rotated tensors': [() => stories!, ['--format', 'int3@32+hadamard', '--exclude', '*.v.*']],
  'bf16 numbers of a rotated model': [() => untied, ['--format', 'int3@32+hadamard', '--dequantize']],
  'bf16 numbers by a budget': [() => stories!, [...menu, '--dequantize']],
  'GGUF by importance': [() => untied, ['--format', 'iq4_nl', '--embeddings', 'q8_0', ...imatrix]],
  'a model trained at low precision': [() => trained, ['--format', 'int4@64']],
}

test.skipIf(!stories).each(Object.entries(CASES))(
  'what is written has the loss that was printed: %s',
  (name, [source, options]) => {
    const out = join(folder, `out${name.startsWith('GGUF') ? '.gguf' : ''}`)
    rmSync(out, { recursive: true, force: true })
    const [printed] = bitlaw('quantize', source(), ...options, '--out', out, '--evaluate', text)
    const found = bitlaw('evaluate', out, '--reference', source(), '--text', text, '--dtype', 'float32')
    // Every number that is stored is the one that was evaluated, so all is equal to the last bit.
    for (const key of ['tokens', 'loss', 'lossStandardError', 'lossChange', 'kl', 'topAgreement'])
      expect(found[key], key).toEqual(printed[key])
    expect(Math.abs(printed.lossChange.mean)).toBeGreaterThan(1e-4)
  },
)
