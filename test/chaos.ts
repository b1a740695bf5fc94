// Kills a study at random moments, its owner or its children, lets it go on each time, and compares the ledger at the
// end, row by row, with the ledger of a study that nobody disturbed. `npm run chaos [kills] [seed]` does it at length.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keyOf } from '../src/study/key.ts'
import { openLedger } from '../src/study/ledger/open.ts'
import { allMeasurements, allRuns } from '../src/study/ledger/queries.ts'

const owner = fileURLToPath(new URL('./study-owner.ts', import.meta.url))
const spec = fileURLToPath(new URL('./study.yaml', import.meta.url))

/** What differs between two runs of the same work: times, attempts, who did it. */
const DISTURBED = new Set(['study', 'attempts', 'worker', 'startedAt', 'finishedAt', 'seconds', 'tokensPerSecond'])

/** The rows of a ledger as text, without what may differ. */
export async function ledgerRows(folder: string, url?: string, name = 'chaos'): Promise<string[]> {
  const ledger = await openLedger(folder, url)
  try {
    const rows = [...(await allRuns(ledger, name)), ...(await allMeasurements(ledger, name))]
    return rows.map(row =>
      JSON.stringify(Object.fromEntries(Object.entries(row).filter(([column]) => !DISTURBED.has(column)))),
    )
  } finally {
    await ledger.close()
  }
}

/** Starts a study's owner with the tests' workload. */
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
  const child = Object.assign(
    spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } }),
    { output: '' },
  )
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
    const calmSeconds = (performance.now() - started) / 1000
    const expected = await ledgerRows(calm)
    let done = 0
    let ownerKills = 0
    let studies = 0
    const differences: string[] = []
    while (done < kills) {
      const folder = join(root, `disturbed-${studies++}`)
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
      const rows = await ledgerRows(folder)
      for (let i = 0; i < Math.max(rows.length, expected.length); i++)
        if (rows[i] !== expected[i]) differences.push(`${expected[i]}\n  became ${rows[i]}`)
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [kills = '200', seed = '1'] = process.argv.slice(2)
  const { differences } = await chaos({ kills: Number(kills), seed: Number(seed), log: line => console.log(line) })
  for (const difference of differences) console.log(difference)
  process.exit(differences.length ? 1 : 0)
}
