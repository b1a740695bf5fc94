// Which process is which: a process id is used again after a crash or a restart, so its start time goes with it.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** A process of some machine, as written into lock files. */
export interface ProcessId {
  pid: number
  /** When it started, as this system counts it (ticks since the boot that is named too, or a date). */
  start: string
  host: string
}

/** When a process of this machine started; undefined where there is none (or only its remains: a zombie). */
export function processStart(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // from field 3, the state, on
      if (fields[0] === 'Z' || fields[0] === 'X') return undefined
      return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${fields[19]}`
    } catch {
      return undefined
    }
  }
  try {
    return (
      execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
        encoding: 'utf8',
        env: { ...process.env, LC_ALL: 'C' },
      }).trim() || undefined
    )
  } catch {
    return undefined
  }
}

/** This process. */
export function thisProcess(): ProcessId {
  return { pid: process.pid, start: processStart(process.pid) ?? '', host: hostname() }
}

/** Whether that very process still runs; undefined: it belongs to another machine, nobody here can tell. */
export function isAlive(id: ProcessId): boolean | undefined {
  if (id.host !== hostname()) return undefined
  return processStart(id.pid) === id.start
}
