import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const script = `
  import fs from 'node:fs'
  import { syncBuiltinESMExports } from 'node:module'
  let full = false
  for (const name of ['writeSync', 'fsyncSync']) {
    const real = fs[name]
    fs[name] = (...words) => {
      if (full && words[0] > 2) throw Object.assign(new Error('injected'), { code: 'ENOSPC' })
      return real(...words)
    }
  }
  syncBuiltinESMExports()
  const { openLedger } = await import(${JSON.stringify(new URL('./open.ts', import.meta.url).href)})
  const { patiently } = await import(${JSON.stringify(new URL('./errors.ts', import.meta.url).href)})
  const ledger = await openLedger(process.argv[1], undefined)
  await ledger.query('create table t (x int)')
  const insert = () => ledger.transaction(connection => connection.query('insert into t values (1)'))
  await insert()
  full = true
  for (let i = 0; i < 2; i++)
    await patiently(ledger, insert).then(() => console.log('inserted'), error => console.log(error.name + ': ' + error.message))
  await ledger.close().catch(() => {})
  console.log('closed')`

test('a disk that is full when the log is flushed ends the ledger in a sentence, at once and for good', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-guard-'))
  try {
    const words = ['--import', 'tsx', '--input-type=module', '-e', script, folder]
    const { stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 100_000, killSignal: 'SIGKILL' })
    const lines = stdout.trim().split('\n').slice(-3)
    expect(lines.at(-1)).toBe('closed')
    for (const line of lines.slice(0, 2)) expect(line).toMatch(/^MachineError: cannot use the ledger '.*disk/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
