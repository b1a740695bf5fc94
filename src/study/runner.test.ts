import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { chaos, childrenOf, diskFaults, ended, ledgerRows, startOwner } from '../../test/chaos.ts'
import { startPostgres } from '../../test/postgres.ts'

type Owner = ReturnType<typeof startOwner>

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

test('20 kills of owners and children at random moments leave the ledger that an undisturbed study has', async () => {
  const { differences } = await chaos({ kills: 20 })
  expect(differences).toEqual([])
}, 600_000)

/** Waits until something holds; where a process ends first or the time is up, says what was waited for and what the processes wrote. */
async function until(what: string, holds: () => boolean, owners: readonly Owner[], seconds = 120): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !holds(); await sleep(50)) {
    const gone = owners.find(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null)
    if (gone || Date.now() > end)
      throw new Error(
        `${gone ? 'a process ended' : `${seconds} s went by`} before ${what}: ${owners.map(({ output }) => output).join(' | ')}`,
      )
  }
}

test('three workers on a Postgres server share a study; a worker and then the server are killed, and the ledger is the embedded one', async () => {
  const postgres = startPostgres()
  if (!postgres) return
  const root = mkdtempSync(join(tmpdir(), 'bitlaw-server-'))
  const owners: Owner[] = []
  const start = (...words: Parameters<typeof startOwner>) => {
    const owner = startOwner(...words)
    owners.push(owner)
    return owner
  }
  try {
    const folder = join(root, 'server')
    // The study cannot end before this file is there: every worker meets it.
    const gate = join(root, 'gate')
    const env = { DATABASE_URL: postgres.url, STUDY_WORK_MS: '2', STUDY_WORK_GATE: gate }
    const embedded = start(join(root, 'embedded'), { processes: 1, env: { STUDY_WORK_MS: '1' } })
    const workers = [1, 2, 3].map(() => start(folder, { env, processes: 1, lease: 3 }))
    await until('all three workers had a child', () => childrenOf(folder).length >= 3, workers)
    workers[2].kill('SIGKILL')
    await ended(workers[2])
    postgres.kill()
    writeFileSync(gate, '')
    await sleep(1500)
    postgres.start()
    const alive = workers.slice(0, 2)
    await until('both workers ended', () => alive.every(({ exitCode }) => exitCode !== null), [], 240)
    for (const worker of alive)
      expect([worker.exitCode, worker.output]).toEqual([0, expect.stringContaining('finished')])
    await until('the embedded study ended', () => embedded.exitCode !== null, [], 240)
    expect(await ledgerRows(folder, postgres.url)).toEqual(await ledgerRows(join(root, 'embedded')))
  } finally {
    for (const owner of owners) owner.kill('SIGKILL')
    await Promise.all(owners.map(ended))
    postgres.close()
    rmSync(root, { recursive: true, force: true })
  }
}, 600_000)

test('a write that fails ends a study in a sentence about the disk, and its ledger is true', async () => {
  const { differences, unclear, errors } = await diskFaults({ faults: 4, seed: 5 })
  expect([differences, unclear]).toEqual([[], []])
  expect(errors.length).toBeGreaterThan(0)
}, 600_000)

test('a folder that cannot be written is refused in a sentence', async () => {
  // Nobody, not even root, makes files there.
  const refused = startOwner('/sys/bitlaw')
  expect((await ended(refused)).code).toBe(1)
  expect(refused.output).toMatch(
    /^MachineError: cannot use the folder '\/sys\/bitlaw'.*: (permission is denied|the file system is read-only)\n$/,
  )
})
