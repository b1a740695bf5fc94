// The command as people run it: verbs, help, wrong requests, exit statuses.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { VERBS } from './verbs.ts'

const bin = resolve(import.meta.dirname, '../../bin/bitlaw')
const folder = mkdtempSync(join(tmpdir(), 'bitlaw-main-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Ran {
  status: number
  out: string
  err: string
}

/** Runs the command with those words. */
function bitlaw(...words: string[]): Promise<Ran> {
  return new Promise(done => {
    const child = execFile(process.execPath, [bin, ...words], (error, out, err) => {
      done({ status: error ? (child.exitCode ?? -1) : 0, out, err })
    })
  })
}

describe.concurrent('the command', () => {
  test('without a verb it lists all verbs with an example each', async () => {
    for (const ran of await Promise.all([bitlaw(), bitlaw('--help'), bitlaw('help')])) {
      expect(ran.status).toBe(0)
      for (const verb of VERBS) {
        expect(ran.out).toContain(verb.summary.split(' ')[0])
        expect(ran.out).toContain(verb.example)
      }
    }
  })

  test('a verb has help of its own, with its options and example', async () => {
    for (const ran of await Promise.all([bitlaw('formats', '--help'), bitlaw('help', 'formats')])) {
      expect(ran.status).toBe(0)
      expect(ran.out).toContain('--json')
      expect(ran.out).toMatch(/Example:\n {2}bitlaw formats/)
      expect(ran.err).toBe('')
    }
  })

  test('an unknown verb, option or format is a wrong request: status 2, one sentence, a near name', async () => {
    const wrong: [string[], RegExp][] = [
      [['formts'], /^bitlaw: unknown verb 'formts', expected one of formats.* \(did you mean formats\?\)\n$/],
      [['formats', '--jsn'], /^bitlaw: unknown option '--jsn' \(did you mean --json\?\)\n$/],
      [['-x'], /^bitlaw: unknown option '-x'\n$/],
      [['formats', '--shape'], /^bitlaw: option '--shape <shape>' argument missing\n$/],
      [['formats', '--shape', '4xa'], /^bitlaw: shape '4xa' is not a list of whole numbers/],
      [['formats', 'int9x'], /^bitlaw: unknown format 'int9x' \(did you mean int9\?\)\n$/],
      [['help', 'nothing'], /^bitlaw: unknown verb 'nothing'/],
      [['laws', 'kumr'], /^bitlaw: unknown law 'kumr' \(did you mean kumar\?\), expected one of /],
      [
        ['predict', '--law', 'kumar', '--n', '1b', '--d', '1b', '--pw', '0.5'],
        /^bitlaw: --pw '0\.5' is not a number of bits, expected 1 to 32\n$/,
      ],
      [['plan'], /^bitlaw: plan needs a word more, expected one of train, serve, devices\n$/],
      [['study'], /^bitlaw: study needs a word more, expected one of run, status, .*repair\n$/],
      [['study', 'rn'], /^bitlaw: unknown command 'rn' \(did you mean run\?\)\n$/],
      [['laws', 'kumar', 'gmse'], /^bitlaw: too many arguments: expected 1, got 2\n$/],
      [['check', 'lama-3-8b'], /^bitlaw: no model 'lama-3-8b' \(did you mean llama-3-8b\?\)\n$/],
      [['fit', folder, '--law', 'chinchilla'], /^bitlaw: '.*' is a folder, expected a table of runs\n$/],
      [
        ['fit', 'x', '--law', 'chinchilla', '--out', 'no/x.json'],
        /^bitlaw: --out 'no\/x\.json' lies in a folder that does not exist\n$/,
      ],
      [['plan', 'train', '--compute', '1e21', '--svg', folder], /^bitlaw: --svg '.*' is a folder, expected a file\n$/],
      [['plan', 'train', '--compute', 'much'], /^bitlaw: --compute 'much' is not a quantity/],
      [['generate', '.', '--threads', '0'], /^bitlaw: --threads '0' is not a positive whole number\n$/],
      [['check', 'llama-3-8b', '--measure', folder], /^bitlaw: '.*' is a folder, expected a file with text\n$/],
    ]
    await Promise.all(
      wrong.map(async ([words, message]) => {
        const { status, out, err } = await bitlaw(...words)
        expect(err, words.join(' ')).toMatch(message)
        expect(status, words.join(' ')).toBe(2)
        expect(out).toBe('')
      }),
    )
  })

  test('what cannot come out is refused before the work begins', async () => {
    const spec = resolve(import.meta.dirname, '../../studies/thread.yaml')
    const wrong: [string[], RegExp][] = [
      [['formats', '--markdown', '--shape', '4x4'], /^bitlaw: option '--markdown' cannot be used with option '--shape/],
      [['predict', '--law', 'chinchilla', '--n', '0', '--d', '1b'], /^bitlaw: N is '0', expected a number above 0\n$/],
      [['plan', 'serve', '8b', '--d', '0'], /^bitlaw: --d '0' is not positive\n$/],
      [['quantize', 'x', '--format', 'nf4@64', '--target-bits', '4'], /^bitlaw: --target-bits and .* without --format/],
      [['quantize', 'x', '--format', 'nf4@64', '--limit', '0'], /^bitlaw: --limit '0' is not a positive whole number/],
      [['quantize', 'x', '--format', 'nf4@64', '--out', bin], /^bitlaw: --out '.*' is a file, expected a folder\n$/],
      [
        ['evaluate', 'x', '--text', bin, '--gate', 'kl < 1'],
        /^bitlaw: gate 'kl < 1' needs a reference, give --reference\n$/,
      ],
      [
        ['evaluate', 'x', '--text', bin, '--reference-logits', folder],
        /^bitlaw: --reference-logits '.*' is a folder, expected a file\n$/,
      ],
      [
        ['check', 'llama-3-8b', '--out', 'rows.jsonl'],
        /^bitlaw: --out 'rows\.jsonl' .*expected --measure FILE with it\n$/,
      ],
      [
        ['check', 'llama-3-8b', '--measure', bin, '--out', spec],
        /^bitlaw: --out '.*' holds something else, expected rows of bitlaw check or a new file\n$/,
      ],
      [
        ['study', 'import', spec, 'none.csv', '--out', join(folder, 'study')],
        /^bitlaw: no table at 'none\.csv', expected a file\n$/,
      ],
    ]
    for (const [words, message] of wrong) {
      const { status, out, err } = await bitlaw(...words)
      expect(err, words.join(' ')).toMatch(message)
      expect([status, out], words.join(' ')).toEqual([2, ''])
    }
    expect(existsSync(join(folder, 'study'))).toBe(false)
  })

  test('predict heads the interval with the share that was asked for', async () => {
    const { out } = await bitlaw('predict', '--law', 'chinchilla', '--n', '1b', '--d', '20b', '--level', '0.5')
    expect(out).toMatch(/^law +fit +loss +50% /)
  })

  test('a stack trace comes with --debug alone', async () => {
    const [plain, debug] = await Promise.all([bitlaw('formats', 'int4'), bitlaw('formats', 'int4', '--debug')])
    expect(plain.err.trim().split('\n').length).toBe(1)
    expect(debug.err).toMatch(/\n {4}at /)
    expect(debug.status).toBe(2)
  })

  test('work that fails has status 1', async () => {
    writeFileSync(
      join(folder, 'config.json'),
      '{"model_type":"llama","hidden_size":8,"intermediate_size":16,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":16,"max_position_embeddings":16,"rms_norm_eps":1e-5}',
    )
    writeFileSync(join(folder, 'model.safetensors'), 'abc')
    writeFileSync(join(folder, 'text.txt'), 'words')
    const { status, err } = await bitlaw('evaluate', folder, '--text', join(folder, 'text.txt'))
    expect(err).toMatch(/^bitlaw: .*too few for safetensors\n$/)
    expect(status).toBe(1)
  })

  test('formats prints one JSON document with the fixed names, sorted by size', async () => {
    const { status, out } = await bitlaw('formats', 'nf4@64', 'int3@64', '--json')
    expect(status).toBe(0)
    const rows = JSON.parse(out)
    expect(rows.map((row: { name: string }) => row.name)).toEqual(['int3@64', 'nf4@64'])
    expect(Object.keys(rows[0]).sort()).toEqual([
      'bits',
      'bitsPerParameter',
      'capacity',
      'gaussianMse',
      'levels',
      'name',
    ])
    expect(rows[1]).toMatchObject({ bits: 4, bitsPerParameter: 4.25, levels: 16 })
  })

  test('formats prints a table of the common formats, or of a shape', async () => {
    const [all, shaped] = await Promise.all([
      bitlaw('formats'),
      bitlaw('formats', 'nvfp4', '--shape', '64x64', '--json'),
    ])
    expect(all.out).toContain('bits/param')
    for (const name of ['int4@64', 'nf4@64', 'mxfp4', 'nvfp4', 'q4_k', 'bf16']) expect(all.out).toContain(`\n${name} `)
    expect(JSON.parse(shaped.out)[0].bitsPerParameter).toBe(4.5 + 32 / 4096)
  })
})
