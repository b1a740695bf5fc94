// A Postgres server of the tests' own, in a temporary folder, reached by a socket in it; where the system has the programs.
import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processStart } from '../src/study/process.ts'

/** A server that can be killed, all its processes at once, and started again. */
export interface Postgres {
  url: string
  start(): void
  kill(): void
  close(): void
}

function findProgram(name: string): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).map(version => join(debian, version, 'bin')) : []
  return [...versions, ...(process.env['PATH'] ?? '').split(':')]
    .map(folder => join(folder, name))
    .find(path => existsSync(path))
}

/** Starts a server, or returns undefined with a printed notice. */
export function startPostgres(): Postgres | undefined {
  const [initdb, control] = [findProgram('initdb'), findProgram('pg_ctl')]
  const root = process.getuid?.() === 0
  const user = root ? ['postgres', 'nobody'].find(name => spawnSync('id', ['-u', name]).status === 0) : undefined
  const changer = root ? findProgram('setpriv') : undefined
  if (!initdb || !control || (root && (!user || !changer))) {
    console.log('skipped: no Postgres server is installed')
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-postgres-'))
  const data = join(folder, 'data')
  const run = (program: string, words: string[]) => {
    // The server refuses to be root.
    const all = root
      ? [changer as string, `--reuid=${user}`, `--regid=${user}`, '--clear-groups', program, ...words]
      : [program, ...words]
    execFileSync(all[0], all.slice(1), { stdio: 'ignore', cwd: folder, env: { ...process.env, LC_ALL: 'C' } })
  }
  if (root) {
    const id = (flag: string) => Number(execFileSync('id', [flag, user as string], { encoding: 'utf8' }))
    chownSync(folder, id('-u'), id('-g'))
  }
  run(initdb, ['-D', data, '-U', 'bitlaw', '-A', 'trust', '--no-sync', '-E', 'UTF8'])
  const settings = `-k ${folder} -c listen_addresses='' -c fsync=off`
  const log = join(folder, 'log')
  const start = () => {
    // A connection that was being made while the last server was killed holds its memory until it notices.
    for (let attempt = 1; ; attempt++)
      try {
        return run(control, ['-D', data, '-w', '-t', '120', '-l', log, '-o', settings, 'start'])
      } catch {
        const last = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n') : 'no log'
        if (attempt === 20) throw new Error(`the server does not start: ${last}`)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
      }
  }
  const kill = () => {
    const server = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
    const listed = spawnSync('ps', ['-o', 'pid=', '--ppid', String(server)], { encoding: 'utf8' }).stdout
    const all = [server, ...listed.split('\n').map(Number)].filter(pid => pid > 0)
    for (const pid of all)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    // A server that starts beside what is left of the last one refuses to.
    for (let i = 0; i < 500 && all.some(pid => processStart(pid) !== undefined); i++)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }
  start()
  return {
    url: `postgres://bitlaw@/postgres?host=${folder}`,
    start,
    kill,
    close() {
      if (!existsSync(folder)) return
      if (existsSync(join(data, 'postmaster.pid'))) kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
