// What the end-to-end tests of studies share: the command in a process of its own, rows that can be compared, and texts
// with some order in them.
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

/** Columns that differ between two runs of the same work: times, attempts, who did it for which study. */
const MOMENTS = new Set([
  'study',
  'attempts',
  'worker',
  'startedAt',
  'finishedAt',
  'seconds',
  'processorSeconds',
  'quantizeSeconds',
  'predictedTraining',
  'predictedQuantizing',
  'predictedEvaluating',
  'tokensPerSecond',
])

/** Rows of a ledger without what depends on the moment. */
export function settled(rows: readonly object[]): Record<string, unknown>[] {
  return rows.map(row => Object.fromEntries(Object.entries(row).filter(([column]) => !MOMENTS.has(column))))
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
