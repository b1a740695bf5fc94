import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getTableColumns } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPostgres } from '../../test/postgres.ts'
import { jobId, keyOf } from './key.ts'
import { MIGRATIONS, migrate } from './ledger/migrations.ts'
import { type Ledger, openLedger } from './ledger/open.ts'
import * as schema from './ledger/schema.ts'
import { type NewJob, openQueue, type Queue } from './queue.ts'

let folder: string
let ledger: Ledger
let queue: Queue
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bitlaw-queue-'))
  ledger = await openLedger(folder, undefined)
  queue = await openQueue(ledger, 'a study', { leaseSeconds: 1000 })
})
afterAll(async () => {
  await queue.close()
  await ledger.close()
  rmSync(folder, { recursive: true, force: true })
})

const job = (name: string, priority = 0): NewJob => {
  const key = keyOf(name)
  return { id: jobId(key), priority, data: { kind: 'train', study: 'a study', key, runs: [key] } }
}

test('the migrations make exactly the tables that Drizzle reads', async () => {
  for (const [name, table] of Object.entries({
    study: schema.study,
    run: schema.run,
    measurement: schema.measurement,
    fit: schema.fit,
  })) {
    const text = `select column_name, is_nullable from information_schema.columns where table_schema = 'bitlaw' and table_name = $1`
    const { rows } = await ledger.query(text, [name])
    const inDatabase = rows.map(row => `${row['column_name']} ${row['is_nullable'] === 'NO'}`).sort()
    expect(inDatabase).toEqual(
      Object.values(getTableColumns(table))
        .map(column => `${column.name} ${column.notNull}`)
        .sort(),
    )
  }
  await ledger.transaction(migrate)
  await ledger.query(`insert into bitlaw.migration (id, name) values (999, 'later')`)
  await expect(ledger.transaction(migrate)).rejects.toThrow(
    `schema version 999, this bitlaw knows ${MIGRATIONS.length}`,
  )
  await ledger.query('delete from bitlaw.migration where id = 999')
})

test('jobs are added once, taken by priority, and end with their transaction or not at all', async () => {
  const jobs = [job('a', 1), job('b', 2_000_000_000), job('c', 2)]
  await queue.add(jobs, ledger)
  await queue.add(jobs, ledger)
  expect(await queue.open()).toEqual({ waiting: 3, running: 0 })
  const [first, second] = await queue.take(2, ledger)
  expect([first.id, second.id]).toEqual([jobs[1].id, jobs[2].id])
  expect(first.data).toEqual(jobs[1].data)
  await expect(
    ledger.transaction(async connection => {
      expect(await queue.holds(first, connection)).toBe(true)
      await queue.finish(first, connection)
      throw new Error('no')
    }),
  ).rejects.toThrow('no')
  expect(await queue.open()).toEqual({ waiting: 1, running: 2 })
  await ledger.transaction(connection => queue.finish(first, connection))
  expect(await queue.holds(first, ledger)).toBe(false)
  await queue.add([jobs[1]], ledger)
  expect(await queue.open()).toEqual({ waiting: 1, running: 1 })
  await queue.giveBack([second])
  const again = await queue.take(9, ledger)
  expect(again.map(held => held.id).sort()).toEqual([jobs[0].id, jobs[2].id].sort())
  await ledger.transaction(async connection => {
    for (const held of again) await queue.finish(held, connection)
  })
})

test('a job can be taken in the very moment in which it was queued', async () => {
  // now() stands still in a transaction: the worst case of a database whose clock is coarse.
  await ledger.transaction(async connection => {
    await queue.add([job('now')], connection)
    const [held] = await queue.take(1, connection)
    expect(held.data).toEqual(job('now').data)
    await queue.finish(held, connection)
  })
})

test('a lease that is renewed holds; one that is not is given out again, and its former holder is refused', async () => {
  // Time goes by when the test says so, not when a busy machine does.
  const goBy = (seconds: number) =>
    ledger.query(
      `update bitlaw_queue.job set started_on = started_on - interval '${seconds} seconds' where state = 'active'`,
    )
  await queue.add([job('lease')], ledger)
  const [held] = await queue.take(1, ledger)
  for (let i = 0; i < 3; i++) {
    await goBy(600)
    expect(await queue.renew([held])).toEqual(new Set([held.id]))
    await queue.recover(false)
  }
  expect(await queue.holds(held, ledger)).toBe(true)
  await goBy(1100)
  await queue.recover(false)
  expect(await queue.renew([held])).toEqual(new Set())
  const [next] = await queue.take(1, ledger)
  expect(next.id).toBe(held.id)
  expect(next.attempt).toBe(held.attempt + 1)
  expect(await queue.holds(held, ledger)).toBe(false)
  await queue.recover(true)
  const [last] = await queue.take(1, ledger)
  expect(last.attempt).toBe(next.attempt + 1)
  await queue.remove([last.id], ledger)
  expect(await queue.open()).toEqual({ waiting: 0, running: 0 })
  await queue.add([job('lease')], ledger)
  expect((await queue.take(1, ledger)).length).toBe(1)
})

test('workers that open the ledger of a new server in the same moment all find it made, once', async () => {
  const postgres = startPostgres()
  if (!postgres) return
  try {
    // Connections first, so that what is asked next is asked at once.
    const ledgers = await Promise.all([1, 2, 3, 4].map(() => openLedger(folder, postgres.url)))
    const queues = await Promise.all(ledgers.map(one => openQueue(one, 'a study')))
    await queues[0].add([job('a')], ledgers[0])
    expect(await Promise.all(queues.map(one => one.open()))).toEqual(Array(4).fill({ waiting: 1, running: 0 }))
    await Promise.all(queues.map(one => one.close()))
    await Promise.all(ledgers.map(one => one.close()))
  } finally {
    postgres.close()
  }
}, 120_000)

test('keys are the same for the same configuration, whatever the order of its fields', () => {
  expect(keyOf({ b: [1, { d: 2, c: undefined }], a: null })).toBe(keyOf({ a: null, b: [1, { d: 2 }] }))
  expect(keyOf({ a: 1 })).not.toBe(keyOf({ a: '1' }))
  expect(jobId(keyOf('x'))).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(() => keyOf({ a: Number.NaN })).toThrow('cannot hash the number NaN')
})
