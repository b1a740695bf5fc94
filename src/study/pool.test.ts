import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type PoolEvent, startPool } from './pool.ts'
import type { Task } from './work.ts'

test('a child that is killed while it starts has not begun its task; one that is killed at work has', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-pool-'))
  const pool = startPool(folder, 1, 1, new URL('../../test/study-work.ts', import.meta.url).href)
  try {
    const events: PoolEvent[] = []
    let wake = () => {}
    pool.listen(event => {
      events.push(event)
      wake()
    })
    const next = async (): Promise<PoolEvent> => {
      while (!events.length)
        await new Promise<void>(resolve => {
          wake = resolve
        })
      return events.shift() as PoolEvent
    }
    const kill = () => {
      const [record] = readdirSync(join(folder, 'workers'))
      const { children } = JSON.parse(readFileSync(join(folder, 'workers', record), 'utf8')) as {
        children: { pid: number }[]
      }
      process.kill(children[0].pid, 'SIGKILL')
    }
    const run = {
      key: 'a'.repeat(64),
      kind: 'trained',
      cluster: '',
      config: { tokens: 1e9, batch: 1, seed: 0 },
      placed: {},
      checkpoint: null,
      n: null,
      d: null,
    }
    const task: Task = { kind: 'train', key: run.key, folder: join(folder, 'runs', 'a'), runs: [run], trainer: null }
    pool.start(0, task)
    // No message of the child can have been heard yet.
    kill()
    expect(await next()).toMatchObject({ type: 'died', begun: false, progressed: false })
    pool.start(0, task)
    expect(await next()).toMatchObject({ type: 'progress' })
    kill()
    let event = await next()
    while (event.type === 'progress') event = await next()
    expect(event).toMatchObject({ type: 'died', begun: true, progressed: true })
    expect(pool.idle()).toEqual([0])
  } finally {
    await pool.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
