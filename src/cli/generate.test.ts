// The command in a process of its own: what it prints, and how it refuses.
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { shared } from '../../test/shared.ts'

function bitlaw(...words: string[]): Promise<{ status: number; out: string; errors: string }> {
  return new Promise(done =>
    execFile(process.execPath, [resolve('bin/bitlaw'), ...words], (error, out, errors) =>
      done({ status: error === null ? 0 : Number(error.code), out, errors }),
    ),
  )
}

test('the text of --json is what the tokens say, and a seed repeats it', async () => {
  const model = shared('models', 'tinystories-656k')
  if (model === undefined) return
  const options = ['--prompt', 'Once upon a time', '--tokens', '12', '--threads', '1']
  const [first, again, other, plain] = await Promise.all([
    bitlaw('generate', model, ...options, '--seed', '7', '--json'),
    bitlaw('generate', model, ...options, '--seed', '7', '--json'),
    bitlaw('generate', model, ...options, '--seed', '8', '--json'),
    bitlaw('generate', model, ...options, '--seed', '7'),
  ])
  const said = JSON.parse(first.out)
  expect(said.tokens).toHaveLength(12)
  expect(JSON.parse(again.out)).toMatchObject({ tokens: said.tokens, text: said.text })
  expect(JSON.parse(other.out).tokens).not.toEqual(said.tokens)
  expect(plain.out).toBe(`Once upon a time${said.text}\n`)
})

test('wrong requests end with status 2 and one sentence', async () => {
  const cases: [string[], RegExp][] = [
    [['generate', 'no-such-model'], /^bitlaw: no model 'no-such-model'.*\n$/],
    [['generate', '.', '--tokens', '1.5'], /^bitlaw: --tokens '1\.5' is not a whole number from 0\n$/],
    [['train', 'no-such.yaml'], /^bitlaw: no run configuration at 'no-such\.yaml'\n$/],
  ]
  for (const [words, message] of cases)
    expect(await bitlaw(...words)).toMatchObject({ status: 2, out: '', errors: expect.stringMatching(message) })
})
