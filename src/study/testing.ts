// What the end-to-end tests of studies share: the command in a process of its own, and texts with some order in them.
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const bitlaw = resolve('bin/bitlaw')

/** What a command left. */
export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

/** Runs `bitlaw` in a folder, with a cache of its own there and no server; `kill` ends it after so many milliseconds. */
export function runCommand(
  root: string,
  words: readonly string[],
  { kill, env = {} }: { kill?: number; env?: Record<string, string> } = {},
): Promise<Ended> {
  return new Promise(done => {
    const child = spawn(process.execPath, [bitlaw, ...words], {
      cwd: root,
      env: { ...process.env, BITLAW_CACHE: join(root, 'cache'), DATABASE_URL: '', ...env },
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', data => {
      stdout += String(data)
    })
    child.stderr.on('data', data => {
      stderr += String(data)
    })
    if (kill) setTimeout(() => child.kill('SIGKILL'), kill)
    child.on('close', status => done({ status, stdout, stderr }))
  })
}

const words =
  'the a of and to in is was he for it with as his on be at by i this had not are but from or have an they which'.split(
    ' ',
  )

/** A text with some order in it, `length` words; a sentence ends after every `sentence` of them. */
function story(seed: number, length: number, sentence: number): string {
  const text: string[] = []
  for (let i = 0, at = seed; i < length; i++) {
    at = (at * 31 + 7 * ((i + seed) % 5)) % 9973
    text.push(words[at % words.length] + ((i + 1) % sentence ? '' : '.'))
  }
  return `${text.join(' ')}.\n`
}

/** Writes `texts/train` and `texts/valid` into a folder. */
export function writeTexts(root: string, { sentence = Number.POSITIVE_INFINITY } = {}): void {
  for (const [part, count, first] of [
    ['train', 6, 1],
    ['valid', 2, 500],
  ] as const) {
    mkdirSync(join(root, 'texts', part), { recursive: true })
    for (let i = 0; i < count; i++)
      writeFileSync(join(root, 'texts', part, `${i}.txt`), story(i + first, 4000, sentence))
  }
}
