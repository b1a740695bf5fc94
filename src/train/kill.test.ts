// A real process, killed by the system at moments that differ from test to test, and stopped by Ctrl-C.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const root = mkdtempSync(join(tmpdir(), 'bitlaw-kill-'))
afterAll(() => rmSync(root, { recursive: true }))
mkdirSync(join(root, 'text'))
for (let i = 0; i < 20; i++)
  writeFileSync(
    join(root, 'text', `${i}.txt`),
    `Chapter ${i}. It was the best of times, it was the worst of times. `.repeat(20),
  )
const STEPS = 150
const config = join(root, 'run.yaml')
writeFileSync(
  config,
  `
data: { train: text, valid: { share: 0.1 }, tokenizer: { kind: bpe, vocab: 280 } }
model: { family: llama, width: 32, layers: 2, heads: 2, hidden: 64, context: 32 }
precision: { weights: 4, activations: 8, kv: 6 }
batch: 128
tokens: ${128 * STEPS}
evaluate: { every: 5120, tokens: 640 }
save: { every: 640 }
average: { last: 0.2 }
`,
)

function start(out: string, ...options: string[]): { child: ChildProcess; ended: Promise<[number | null, string]> } {
  const child = spawn(
    process.execPath,
    [resolve('bin/bitlaw'), 'train', config, '--out', out, '--resume', ...options],
    {
      env: { ...process.env, BITLAW_CACHE: join(root, 'cache') },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let errors = ''
  child.stderr!.on('data', text => (errors += text))
  child.stdout!.resume()
  return { child, ended: once(child, 'close').then(([status]) => [status as number | null, errors]) }
}

/** Resolves when the log holds `count` steps, or the process ends. */
async function untilSteps(out: string, count: number, child: ChildProcess): Promise<void> {
  const steps = () =>
    existsSync(join(out, 'log.jsonl')) ? readFileSync(join(out, 'log.jsonl'), 'utf8').split('\n').length - 1 : 0
  while (child.exitCode === null && child.signalCode === null && steps() < count)
    await new Promise(resolve => setTimeout(resolve, 1))
}

function checkpointBytes(out: string): Record<string, string> {
  const { checkpoint } = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8')) as { checkpoint: string }
  return Object.fromEntries(
    readdirSync(checkpoint)
      .sort()
      .map(name => [name, readFileSync(join(checkpoint, name), 'base64')]),
  )
}

test('kill -9 at any moment and --resume, with one thread or two: the bytes of a run never killed', async () => {
  const whole = join(root, 'whole')
  expect(await start(whole, '--threads', '1').ended).toEqual([0, expect.any(String)])
  const killed = join(root, 'killed')
  for (let kill = 0; kill < 2; kill++) {
    const { child, ended } = start(killed, '--threads', '2')
    await untilSteps(killed, 1 + Math.floor((kill + Math.random()) * (STEPS / 2)), child)
    await new Promise(resolve => setTimeout(resolve, Math.random() * 20))
    child.kill('SIGKILL')
    await ended
  }
  expect(await start(killed, '--threads', '2').ended).toEqual([0, expect.any(String)])
  expect(checkpointBytes(killed)).toEqual(checkpointBytes(whole))
  const bare = (out: string) =>
    readFileSync(join(out, 'log.jsonl'), 'utf8').replace(/"(tokensPerSecond|seconds)":[\d.]+,?/g, '')
  expect(bare(killed)).toBe(bare(whole))
})

test('Ctrl-C saves the state and ends with status 130', async () => {
  const out = join(root, 'stopped')
  const { child, ended } = start(out)
  await untilSteps(out, 20, child)
  child.kill('SIGINT')
  const [status, errors] = await ended
  expect(status).toBe(130)
  expect(errors).toMatch(/bitlaw: training stopped after \d+ tokens, saved in '.*step-\d+'; --resume goes on/)
  const step = Number(/step-(\d+)/.exec(errors)![1])
  expect(readFileSync(join(out, 'log.jsonl'), 'utf8').split('\n').length - 1).toBe(step)
})
