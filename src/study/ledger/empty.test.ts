import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { makeEmpty } from './empty.ts'

let root: string
let made: number
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bitlaw-empty-'))
  made = 0
  vi.stubEnv('BITLAW_CACHE', join(root, 'cache'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(root, { recursive: true, force: true })
})

async function create(folder: string): Promise<void> {
  made++
  mkdirSync(join(folder, 'base', '1'), { recursive: true })
  mkdirSync(join(folder, 'nothing'))
  writeFileSync(
    join(folder, 'base', '1', 'table'),
    new Uint8Array(100_000).map((_, i) => i % 251),
  )
  writeFileSync(join(folder, 'base', 'none'), '')
  writeFileSync(join(folder, 'version'), '17')
}

/** All paths of a folder, files with their bytes. */
const content = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .map(entry => {
      const path = join(entry.parentPath, entry.name)
      return [path.slice(folder.length), entry.isFile() ? readFileSync(path, 'base64') : null]
    })
    .sort()

test('the second empty database is the first one, file for file, without being made', async () => {
  const [first, second] = [join(root, 'first'), join(root, 'second')]
  await makeEmpty(first, create)
  await makeEmpty(second, create)
  expect(made).toBe(1)
  expect(content(second)).toEqual(content(first))
  expect(content(second).length).toBe(6)
})

test('a kept one that was damaged is made anew, and a cache that cannot be written is done without', async () => {
  await makeEmpty(join(root, 'first'), create)
  const [name] = readdirSync(join(root, 'cache', 'ledger'))
  const kept = join(root, 'cache', 'ledger', name)
  const bytes = readFileSync(kept)
  for (const [i, damaged] of [bytes.subarray(0, 500), Buffer.from(bytes).fill(7, 200, 300)].entries()) {
    writeFileSync(kept, damaged)
    await makeEmpty(join(root, `again-${i}`), create)
    expect(content(join(root, `again-${i}`))).toEqual(content(join(root, 'first')))
    expect(made).toBe(i + 2)
    expect(readFileSync(kept)).toEqual(bytes)
  }
  // Nobody, not even root, makes files there.
  vi.stubEnv('BITLAW_CACHE', '/sys/bitlaw')
  await makeEmpty(join(root, 'last'), create)
  expect(content(join(root, 'last'))).toEqual(content(join(root, 'first')))
})
