// One process owns a study's folder. PGlite opens a folder that another process holds and corrupts it without a word;
// this file, written whole by a hard link, keeps the second one out. A lock of a dead process is taken over.
import { linkSync, readFileSync, rmSync, statSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { isAlive, type ProcessId, thisProcess } from './process.ts'

/** A lock of another machine counts as left behind when it was not touched for this long. */
const SILENT_SECONDS = 180
const TOUCH_SECONDS = 20

/** A held lock; `release` gives it back. */
export interface Lock {
  path: string
  release(): void
}

function read(path: string): ProcessId | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProcessId
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    if (error instanceof SyntaxError) return { pid: 0, start: '', host: '' }
    throw error
  }
}

/** Age of a file by the clock of its own file system, which a file written now shows. */
function silentSeconds(path: string, mine: string): number {
  try {
    return (statSync(mine).mtimeMs - statSync(path).mtimeMs) / 1000
  } catch {
    return 0
  }
}

function tryLink(mine: string, path: string): boolean {
  try {
    linkSync(mine, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function isStale(path: string, holder: ProcessId, mine: string): boolean {
  const alive = isAlive(holder)
  return alive === false || (alive === undefined && silentSeconds(path, mine) > SILENT_SECONDS)
}

/** Takes away a lock that a dead process left. Only the holder of `<path>.takeover` may, and looks again first, so that a lock just taken stays. */
function removeStale(path: string, mine: string): void {
  const takeover = `${path}.takeover`
  if (!tryLink(mine, takeover)) {
    const other = read(takeover)
    if (other && isAlive(other) === false) rmSync(takeover, { force: true })
    return
  }
  try {
    const holder = read(path)
    if (holder && isStale(path, holder, mine)) unlinkSync(path)
  } finally {
    rmSync(takeover, { force: true })
  }
}

/**
 * Takes `folder/lock` for this process, or throws a RequestError that says who holds it. `what` names the folder's content in that sentence.
 * The lock is touched now and then, which is how other machines on a shared file system see that it is alive.
 */
export function takeLock(folder: string, { name = 'lock', what = 'study' } = {}): Lock {
  const path = join(folder, name)
  const me = thisProcess()
  const mine = `${path}.${me.pid}`
  writeFileSync(mine, JSON.stringify(me))
  try {
    for (let attempt = 0; !tryLink(mine, path); attempt++) {
      const holder = read(path)
      if (!holder) continue
      if (!isStale(path, holder, mine) || attempt > 200) {
        const where = isAlive(holder) === undefined ? ` on host '${holder.host}'` : ''
        const advice = where ? `; if that process is gone, delete '${path}'` : ''
        throw new RequestError(`the ${what} in '${folder}' is in use by process ${holder.pid}${where}${advice}`)
      }
      removeStale(path, mine)
      if (attempt > 3) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  } finally {
    rmSync(mine, { force: true })
  }
  const timer = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // A folder that was removed or became read-only is reported by the next write of the ledger.
    }
  }, TOUCH_SECONDS * 1000)
  timer.unref()
  return {
    path,
    release() {
      clearInterval(timer)
      const holder = read(path)
      if (holder && holder.pid === me.pid && holder.start === me.start) rmSync(path, { force: true })
    },
  }
}

/** The live process that holds a folder, or undefined. */
export function lockHolder(folder: string, name = 'lock'): ProcessId | undefined {
  const holder = read(join(folder, name))
  return holder && isAlive(holder) !== false ? holder : undefined
}
