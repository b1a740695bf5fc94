// Every command block of the README is executed, in order, in a folder of its own; set-up, test and start are what .ci/run runs.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { formatsMarkdown } from '../src/formats/index.ts'

const root = resolve(import.meta.dirname, '..')
const text = readFileSync(join(root, 'README.md'), 'utf8')
const commands = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)]
  .flatMap(([, block]) => block.split('\n'))
  .map(line => line.replace(/\s+#.*$/, '').trim())
  .filter(line => line !== '' && !line.startsWith('npm ci'))

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-readme-'))
for (const name of ['README.md', 'studies', 'docs']) cpSync(join(root, name), join(folder, name), { recursive: true })
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the README shows commands of the project alone', () => {
  expect(commands.length).toBeGreaterThan(10)
  for (const command of commands) expect(command).toMatch(/^npx bitlaw /)
})

test('the table of formats is what the command prints', () => {
  const shown = /<!-- formats -->\n([\s\S]*?)\n<!-- \/formats -->/.exec(text)?.[1] ?? ''
  const names = [...shown.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name)
  expect(names.length).toBeGreaterThan(3)
  expect(formatsMarkdown(names)).toContain(shown)
})

/** Words of a command line, double quotes taken off. */
function words(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain)
}

for (const command of commands)
  test(command, () => {
    const [, , ...args] = words(command)
    const output = execFileSync(process.execPath, [join(root, 'bin', 'bitlaw'), ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, BITLAW_CACHE: join(folder, 'cache') },
    })
    expect(output.trim().length).toBeGreaterThan(0)
  }, 300_000)
