// Child processes, one a core: starts them, hands each one task, hears their reports, starts anew what died.
import { type ChildProcess, fork } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readJson, writeWhole } from './files.ts'
import { isAlive, type ProcessId, processStart, thisProcess } from './process.ts'
import type { FromChild, Task, ToChild } from './work.ts'

/** What happened to a task: a report, or the child's death. `begun`: it had got the task, or ended by itself before; one that was killed while it still started says nothing of the task. */
export type PoolEvent = { slot: number; task: Task } & (
  | Exclude<FromChild, { type: 'ready' }>
  | { type: 'died'; how: string; begun: boolean; progressed: boolean }
)

/** A set of children; at most one task each. */
export interface Pool {
  /** Slots without a task. */
  idle(): number[]
  start(slot: number, task: Task): void
  /** Starts all children, so that they have loaded their modules when the first tasks come. */
  warm(): void
  /** Who hears of events from now on. */
  listen(onEvent: (event: PoolEvent) => void): void
  /** The tasks that run, by slot. */
  running(): Map<number, Task>
  /** Kills the child of a task that is no longer wanted, without an event. */
  drop(slot: number): void
  /** Asks the running tasks to save and stop. */
  interrupt(): void
  /** Kills all children at once. */
  close(): Promise<void>
}

const entry = new URL(import.meta.url.endsWith('.ts') ? './child.ts' : './child.js', import.meta.url)

/** Kills the children that a dead owner of this folder left behind on this machine: two processes must not write one run's files. */
export function killOrphans(folder: string): void {
  const workers = join(folder, 'workers')
  if (!existsSync(workers)) return
  for (const name of readdirSync(workers)) {
    if (!name.endsWith('.json')) continue
    const record = readJson<{ worker: ProcessId; children: ProcessId[] }>(join(workers, name))
    if (!record || isAlive(record.worker) !== false) continue
    for (const child of record.children) {
      if (!isAlive(child)) continue
      process.kill(child.pid, 'SIGKILL')
      for (let i = 0; i < 500 && isAlive(child); i++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4)
    }
    rmSync(join(workers, name), { force: true })
  }
}

/** Makes a pool. `work` is the address of the module that exports the functions; children start at their first task. */
export function startPool(folder: string, size: number, threads: number, work: string): Pool {
  let onEvent: (event: PoolEvent) => void = () => {}
  interface Slot {
    child: ChildProcess | null
    id: ProcessId | null
    task: Task | null
    ready: boolean
    progressed: boolean
    /** Tail of what it wrote to standard error, for the reason when it dies. */
    tail: string
  }
  const slots: Slot[] = Array.from({ length: size }, () => ({
    child: null,
    id: null,
    task: null,
    ready: false,
    progressed: false,
    tail: '',
  }))
  const me = thisProcess()
  const record = join(folder, 'workers', `${me.host}-${me.pid}.json`)
  let closed = false

  const writeRecord = () =>
    writeWhole(record, JSON.stringify({ worker: me, children: slots.flatMap(slot => slot.id ?? []) }))
  const post = (slot: Slot, message: ToChild) => {
    // A child that dies between two messages is reported by its exit.
    if (slot.child?.connected) slot.child.send(message, () => {})
  }

  const launch = (index: number) => {
    const slot = slots[index]
    const child = fork(fileURLToPath(entry), [work], {
      execArgv: [
        ...process.execArgv.filter(word => !/^--(inspect|input-type|eval|print)/.test(word)),
        ...(entry.href.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []),
      ],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    })
    Object.assign(slot, { child, ready: false, tail: '' })
    const start = child.pid === undefined ? undefined : processStart(child.pid)
    slot.id = start === undefined ? null : { pid: child.pid ?? 0, start, host: me.host }
    child.stderr?.on('data', (data: Buffer) => {
      slot.tail = (slot.tail + String(data)).slice(-2000)
    })
    child.on('message', (message: FromChild) => {
      if (slot.child !== child || closed) return
      if (message.type === 'ready') {
        slot.ready = true
        if (slot.task) post(slot, { task: slot.task, threads })
        return
      }
      const task = slot.task
      if (!task) return
      if (message.type === 'progress') slot.progressed = true
      else slot.task = null
      onEvent({ slot: index, task, ...message })
    })
    child.on('error', error => {
      slot.tail = (slot.tail + error.message).slice(-2000)
    })
    child.on('close', (code, signal) => {
      if (slot.child !== child) return
      const { task, progressed, ready } = slot
      Object.assign(slot, { child: null, id: null, task: null, ready: false })
      if (closed || !task) return
      const last = slot.tail.trim().split('\n').at(-1)
      const how = `its process ended with ${signal ?? `status ${code}`}${signal === null && last ? `: ${last}` : ''}`
      onEvent({ slot: index, task, type: 'died', how, begun: ready || signal !== 'SIGKILL', progressed })
    })
    writeRecord()
  }

  return {
    idle: () => slots.flatMap((slot, i) => (slot.task ? [] : [i])),
    warm() {
      for (const [i, slot] of slots.entries()) if (!slot.child) launch(i)
    },
    listen(listener) {
      onEvent = listener
    },
    running: () => new Map(slots.flatMap((slot, i) => (slot.task ? [[i, slot.task] as const] : []))),
    start(index, task) {
      const slot = slots[index]
      Object.assign(slot, { task, progressed: false })
      if (!slot.child) launch(index)
      else if (slot.ready) post(slot, { task, threads })
    },
    drop(index) {
      const slot = slots[index]
      slot.child?.kill('SIGKILL')
      Object.assign(slot, { child: null, id: null, task: null, ready: false })
      writeRecord()
    },
    interrupt() {
      for (const slot of slots) if (slot.task) post(slot, { stop: true })
    },
    async close() {
      closed = true
      await Promise.all(
        slots.map(({ child }) =>
          child && child.exitCode === null && child.signalCode === null
            ? new Promise<void>(resolve => {
                child.once('close', () => resolve())
                child.kill('SIGKILL')
              })
            : undefined,
        ),
      )
      rmSync(record, { force: true })
    },
  }
}
