// Kills a study at random moments, its owner or its children, lets it go on each time, and compares the ledger at the
// end, row by row, with the ledger of a study that nobody disturbed; lets writes fail; kills a server. At length:
// `npm run chaos [kills] [faults] [seed] [kills with a server]`.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keyOf } from '../src/study/key.ts'
import { openLedger } from '../src/study/ledger/open.ts'
import { allMeasurements, allRuns } from '../src/study/ledger/queries.ts'
import { settled } from '../src/study/testing.ts'
import { startPostgres } from './postgres.ts'

const owner = fileURLToPath(new URL('./study-owner.ts', import.meta.url))
const spec = fileURLToPath(new URL('./study.yaml', import.meta.url))

/** The rows of a ledger as text, without what may differ. */
export async function ledgerRows(folder: string, url?: string, name = 'chaos'): Promise<string[]> {
  const ledger = await openLedger(folder, url)
  try {
    const rows = [...(await allRuns(ledger, name)), ...(await allMeasurements(ledger, name))]
    return settled(rows).map(row => JSON.stringify(row))
  } finally {
    await ledger.close()
  }
}

/** The rows that are missing and those that should not be there, each with which of the two it is; the first ones are logged at once. */
function compared(expected: readonly string[], rows: readonly string[], log: (line: string) => void): string[] {
  const [before, after] = [new Set(expected), new Set(rows)]
  const differences = [
    ...expected.filter(row => !after.has(row)).map(row => `missing: ${row}`),
    ...rows.filter(row => !before.has(row)).map(row => `unexpected: ${row}`),
  ]
  if (rows.length !== expected.length) differences.push(`${rows.length} rows, expected ${expected.length}`)
  for (const line of differences.slice(0, 4)) log(line)
  return differences
}

/** Starts a study's owner with the tests' workload and a cache beside the study's folder. */
export function startOwner(
  folder: string,
  {
    env = {},
    processes = 2,
    lease = 60,
    file = spec,
  }: { env?: Record<string, string>; processes?: number; lease?: number; file?: string } = {},
): ChildProcess & { output: string } {
  const words = ['--import', 'tsx', owner, folder, file, String(processes), String(lease)]
  const all = { ...process.env, BITLAW_CACHE: join(dirname(folder), 'cache'), ...env }
  const child = Object.assign(spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'], env: all }), {
    output: '',
  })
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', data => {
      child.output += String(data)
    })
  return child
}

/** Waits for the end of a process. */
export function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null)
      resolve({ code: child.exitCode, signal: child.signalCode })
    else child.once('close', (code, signal) => resolve({ code, signal }))
  })
}

/** Process ids of the children that an owner has noted. */
export function childrenOf(folder: string): number[] {
  const workers = join(folder, 'workers')
  if (!existsSync(workers)) return []
  return readdirSync(workers)
    .filter(name => name.endsWith('.json'))
    .flatMap(name => {
      try {
        return (JSON.parse(readFileSync(join(workers, name), 'utf8')) as { children: { pid: number }[] }).children.map(
          child => child.pid,
        )
      } catch {
        return []
      }
    })
}

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

/** A small generator, so that a failure can be repeated by its seed. */
function uniform(seed: number): () => number {
  let state = seed
  return () => Number.parseInt(keyOf(state++).slice(0, 8), 16) / 2 ** 32
}

/** Runs studies with `kills` kills in all, each study to its end, and returns what differed from the undisturbed one (nothing, one hopes). */
export async function chaos({
  kills,
  seed = 1,
  log = () => {},
}: {
  kills: number
  seed?: number
  log?: (line: string) => void
}): Promise<{ differences: string[]; studies: number; ownerKills: number }> {
  const random = uniform(seed)
  const root = mkdtempSync(join(tmpdir(), 'bitlaw-chaos-'))
  const started = performance.now()
  try {
    const calm = join(root, 'calm')
    const first = startOwner(calm)
    if ((await ended(first)).code !== 0) throw new Error(`the undisturbed study failed: ${first.output}`)
    let calmSeconds = (performance.now() - started) / 1000
    const expected = await ledgerRows(calm)
    let done = 0
    let ownerKills = 0
    let studies = 0
    const differences: string[] = []
    while (done < kills) {
      const folder = join(root, `disturbed-${studies++}`)
      const begun = performance.now()
      for (let finished = false; !finished; ) {
        const child = startOwner(folder)
        const end = ended(child)
        let over = false
        void end.then(() => {
          over = true
        })
        while (!over && done < kills) {
          // Most kills come while children work; some while the owner still starts.
          const early = random() < 0.2
          const patience = random() * calmSeconds * (early ? 150 : 250)
          while (!early && !over && !childrenOf(folder).length) await Promise.race([end, sleep(50)])
          await Promise.race([end, sleep(patience)])
          if (over) break
          const children = childrenOf(folder)
          const victim =
            random() < 0.35 || !children.length ? child.pid : children[Math.floor(random() * children.length)]
          try {
            process.kill(victim as number, 'SIGKILL')
          } catch {
            continue
          }
          done++
          if (victim !== child.pid) continue
          ownerKills++
          await end
        }
        const { code, signal } = await end
        if (code !== null && code !== 0)
          throw new Error(`the study ended with status ${code} after ${done} kills: ${child.output}`)
        finished = signal === null
      }
      // A machine that was busier at first than later must not make the kills too rare.
      calmSeconds = Math.min(calmSeconds, (performance.now() - begun) / 1000)
      const rows = await ledgerRows(folder)
      differences.push(...compared(expected, rows, log))
      log(
        `${done} kills (${ownerKills} of owners) in ${studies} studies of ${expected.length} rows: ${differences.length} differences`,
      )
      rmSync(folder, { recursive: true, force: true })
    }
    return { differences, studies, ownerKills }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/** The same on a Postgres server that two workers share: kills the server (and starts it again), workers (and starts others) and their children. Null where no server is installed. */
export async function serverChaos({
  kills,
  seed = 1,
  log = () => {},
}: {
  kills: number
  seed?: number
  log?: (line: string) => void
}): Promise<{ differences: string[]; serverKills: number } | null> {
  const random = uniform(seed)
  const root = mkdtempSync(join(tmpdir(), 'bitlaw-server-chaos-'))
  const owners = new Set<ReturnType<typeof startOwner>>()
  let postgres: ReturnType<typeof startPostgres>
  try {
    const started = performance.now()
    const calm = startOwner(join(root, 'calm'))
    if ((await ended(calm)).code !== 0) throw new Error(`the undisturbed study failed: ${calm.output}`)
    // On a busy machine children need longer to start; one that is killed again and again before it did anything has failed.
    const patience = (performance.now() - started) / 2
    const expected = await ledgerRows(join(root, 'calm'))
    const differences: string[] = []
    let serverKills = 0
    for (let done = 0, studies = 0; done < kills; studies++) {
      postgres = startPostgres()
      if (!postgres) return null
      const { url } = postgres
      const folder = join(root, `disturbed-${studies}`)
      const start = () => owners.add(startOwner(folder, { env: { DATABASE_URL: url }, processes: 1, lease: 3 }))
      for (let i = 0; i < 2; i++) start()
      const running = () => [...owners].filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      const complain = () => {
        const failed = [...owners].find(({ exitCode }) => exitCode)
        if (failed)
          throw new Error(`a worker ended with status ${failed.exitCode} after ${done} kills: ${failed.output}`)
      }
      for (; running().length; complain()) {
        await sleep(200 + random() * patience)
        const children = childrenOf(folder)
        if (done >= kills || !children.length || !running().length) continue
        const kind = random()
        if (kind < 0.4) {
          postgres.kill()
          await sleep(random() * 2000)
          postgres.start()
          serverKills++
        } else if (kind < 0.6) {
          running()[0].kill('SIGKILL')
          start()
        } else
          try {
            process.kill(children[Math.floor(random() * children.length)], 'SIGKILL')
          } catch {
            continue
          }
        done++
      }
      const rows = await ledgerRows(folder, url)
      differences.push(...compared(expected, rows, log))
      log(
        `${done} kills (${serverKills} of servers) in ${studies + 1} studies on a server: ${differences.length} differences`,
      )
      owners.clear()
      postgres.close()
    }
    return { differences, serverKills }
  } finally {
    for (const owner of owners) owner.kill('SIGKILL')
    await Promise.all([...owners].map(ended))
    postgres?.close()
    rmSync(root, { recursive: true, force: true })
  }
}

/** Lets a random write of the owner or of a child fail, `faults` times, each study to its end; returns what differed, and messages that no person can read. */
export async function diskFaults({
  faults,
  seed = 1,
  log = () => {},
}: {
  faults: number
  seed?: number
  log?: (line: string) => void
}): Promise<{ differences: string[]; unclear: string[]; errors: string[] }> {
  const random = uniform(seed)
  const root = mkdtempSync(join(tmpdir(), 'bitlaw-faults-'))
  const preload = new URL('./faults.mjs', import.meta.url).href
  try {
    const calm = join(root, 'calm')
    const first = startOwner(calm, { env: { STUDY_WORK_MS: '1' } })
    if ((await ended(first)).code !== 0) throw new Error(`the undisturbed study failed: ${first.output}`)
    const expected = await ledgerRows(calm)
    const differences: string[] = []
    const unclear: string[] = []
    const errors: string[] = []
    for (let done = 0, studies = 0; done < faults; studies++) {
      const folder = join(root, `faulty-${studies}`)
      for (let finished = false; !finished; ) {
        const code = random() < 0.6 ? 'ENOSPC' : 'EIO'
        const lasts = random() < 0.5 ? '1' : '0'
        const faulty = done < faults
        // The first start makes the database, or unpacks it, with one to two thousand writes; later ones have a few hundred.
        const at = String(1 + Math.floor(random() * (existsSync(join(folder, 'ledger')) ? 600 : 2600)))
        const env: Record<string, string> = faulty
          ? { FAULT_AT: at, FAULT_CODE: code, FAULT_LASTS: lasts, NODE_OPTIONS: `--import ${preload}` }
          : {}
        const child = startOwner(folder, { env: { STUDY_WORK_MS: '1', ...env } })
        const { code: status, signal } = await ended(child)
        if (faulty) done++
        finished = status === 0
        if (finished) continue
        const message = child.output.trim()
        errors.push(`${code} at ${at}: ${message}`)
        if (!faulty) throw new Error(`a study without faults failed: ${message}`)
        const clear =
          signal === null &&
          status === 1 &&
          /^MachineError: .*(no space|disk|EIO|ENOSPC)/.test(message) &&
          !message.includes('\n')
        if (!clear) unclear.push(`${code} at ${at} ended with ${signal ?? status}: ${message}`)
      }
      const rows = await ledgerRows(folder)
      differences.push(...compared(expected, rows, log))
      log(
        `${done} faults, ${errors.length} of which ended a study, in ${studies + 1} studies: ${differences.length} differences, ${unclear.length} unclear errors`,
      )
    }
    return { differences, unclear, errors }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/** All three parts, with progress; answers what was wrong in each, which a failing part does not keep from the next. */
async function main(words: readonly string[]): Promise<string[]> {
  const [kills, faults, seed, serverKills] = ['200', '50', '1', '50'].map((usual, i) => Number(words[i] ?? usual))
  const started = performance.now()
  const clock = () => `${((performance.now() - started) / 1000).toFixed(0)} s`
  const log = (line: string) => console.log(`${clock()}: ${line}`)
  const wrong: string[] = []
  const part = async (what: string, again: string, count: number, work: () => Promise<string[] | null>) => {
    if (count === 0) return
    const before = wrong.length
    let skipped = false
    try {
      const found = await work()
      skipped = found === null
      wrong.push(...(found ?? []))
    } catch (error) {
      wrong.push(`${what}: ${(error as Error).message}`)
    }
    const bad = wrong.length - before
    log(
      `${count} ${what}, seed ${seed}: ${skipped ? 'skipped' : bad ? `${bad} wrong, again by npm run chaos -- ${again}` : 'all well'}`,
    )
  }
  log(`${kills} kills, ${faults} faults of the disk, ${serverKills} kills with a server, seed ${seed}`)
  await part('kills', `${kills} 0 ${seed} 0`, kills, async () => (await chaos({ kills, seed, log })).differences)
  await part('faults of the disk', `0 ${faults} ${seed} 0`, faults, async () => {
    const { differences, unclear } = await diskFaults({ faults, seed, log })
    return [...differences, ...unclear]
  })
  await part(
    'kills with a server',
    `0 0 ${seed} ${serverKills}`,
    serverKills,
    async () => (await serverChaos({ kills: serverKills, seed, log }))?.differences ?? null,
  )
  return wrong
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wrong = await main(process.argv.slice(2))
  for (const line of wrong) console.log(line)
  process.exit(wrong.length ? 1 : 0)
}
