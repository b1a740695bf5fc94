import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockHolder, takeLock } from './lock.ts'
import { isAlive, processStart, thisProcess } from './process.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bitlaw-lock-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const moduleUrl = new URL('./lock.ts', import.meta.url).href
const taker = (wait: number) => `
  const { takeLock } = await import(${JSON.stringify(moduleUrl)})
  try { takeLock(process.argv[1]); process.stdout.write('taken\\n'); await new Promise(r => setTimeout(r, ${wait})) }
  catch (error) { process.stdout.write(error.message + '\\n') }`
const nodeArguments = ['--import', 'tsx', '--input-type=module', '-e']

test('a lock is held, refused to a second process with its holder named, and given back', () => {
  const lock = takeLock(folder)
  expect(lockHolder(folder)).toEqual(thisProcess())
  const second = spawnSync(process.execPath, [...nodeArguments, taker(0), folder], { encoding: 'utf8' })
  expect(second.stdout).toContain(`the study in '${folder}' is in use by process ${process.pid}`)
  expect(() => takeLock(folder)).toThrow(/in use by process/)
  lock.release()
  expect(existsSync(join(folder, 'lock'))).toBe(false)
  takeLock(folder).release()
})

test('a lock whose process died, or whose process id is used again, is taken over', () => {
  const dead = spawnSync(process.execPath, ['-e', 'console.log(process.pid)'], { encoding: 'utf8' })
  for (const left of [
    { pid: Number(dead.stdout), start: 'x', host: hostname() },
    { ...thisProcess(), start: 'earlier' },
  ]) {
    writeFileSync(join(folder, 'lock'), JSON.stringify(left))
    takeLock(folder).release()
  }
  writeFileSync(join(folder, 'lock'), '{"pid":')
  expect(() => takeLock(folder)).toThrow(/in use/)
})

test('a lock of another machine is respected, and named', () => {
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: 7, start: 'x', host: 'elsewhere' }))
  expect(() => takeLock(folder)).toThrow(/process 7 on host 'elsewhere'; if that process is gone, delete/)
})

test('of many processes that find a stale lock at once exactly one takes it', async () => {
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: 1, start: 'never', host: hostname() }))
  // Whoever takes it keeps it until all have tried, however long a busy machine needs to start them.
  const children = Array.from({ length: 6 }, () =>
    spawn(process.execPath, [...nodeArguments, taker(600_000), folder], { stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  try {
    const outputs = await Promise.all(
      children.map(child => new Promise<string>(resolve => child.stdout.once('data', data => resolve(String(data))))),
    )
    expect(outputs.filter(output => output === 'taken\n').length).toBe(1)
    const holder = JSON.parse(readFileSync(join(folder, 'lock'), 'utf8')) as { pid: number }
    expect(holder.pid).toBe(children[outputs.indexOf('taken\n')].pid)
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
})

test('a process is known by its start, not its number alone', () => {
  const me = thisProcess()
  expect(me.start).not.toBe('')
  expect(isAlive(me)).toBe(true)
  expect(isAlive({ ...me, start: 'other' })).toBe(false)
  expect(isAlive({ ...me, host: 'elsewhere' })).toBeUndefined()
  expect(processStart(2 ** 22 + 1)).toBeUndefined()
})
