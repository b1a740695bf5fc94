// A workload for the tests of studies: small, deterministic, with state on disk that it goes on from, like a training.
// Some runs fail and some diverge, by their configuration.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { appendLine, readJson, readLines, writeWhole } from '../src/study/files.ts'
import { keyOf } from '../src/study/key.ts'
import type { MeasurementOutcome, RunOutcome, Work } from '../src/study/work.ts'

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
const stepMs = Number(process.env['STUDY_WORK_MS'] ?? 4)
/** Where this is given, no task ends before that file is there. */
const gate = process.env['STUDY_WORK_GATE']

async function passGate(signal: AbortSignal): Promise<void> {
  while (gate !== undefined && !existsSync(gate) && !signal.aborted) await sleep(20)
}

interface State {
  step: number
  x: number
}

/** A number from 0 to 1 that depends on a key alone. */
const share = (key: string) => Number.parseInt(key.slice(0, 12), 16) / 16 ** 12

async function iterate(
  path: string,
  key: string,
  steps: number,
  onStep: (step: number, x: number) => void,
  signal: AbortSignal,
): Promise<number> {
  let { step, x } = readJson<State>(path) ?? { step: 0, x: share(key) }
  while (step < steps) {
    if (signal.aborted) throw new Error('stopped')
    x = (3.9 * x * (1 - x) + x) / 2
    step++
    if (step % 5 === 0) writeWhole(path, JSON.stringify({ step, x }), { flush: false })
    onStep(step, x)
    await sleep(stepMs)
  }
  return x
}

export const work: Work = {
  async train(task, { signal, progress }) {
    const outcomes: RunOutcome[] = []
    await passGate(signal)
    for (const { key, kind, cluster, config, n, d } of task.runs) {
      const steps = Math.round(Number(config['tokens']) / Number(config['batch']))
      const base = { key, kind, cluster, config, n, d }
      const seed = Number(config['seed'])
      if (seed === 666) {
        outcomes.push({ ...base, state: 'failed', reason: 'this seed brings bad luck' })
        continue
      }
      if (seed === 667) process.abort()
      const checkpoint = `checkpoint-${key.slice(0, 8)}`
      const x = await iterate(
        join(task.folder, `${key.slice(0, 8)}.json`),
        key,
        steps,
        (step, loss) => progress({ share: step / steps, loss }),
        signal,
      )
      writeWhole(join(task.folder, checkpoint, 'model.json'), JSON.stringify({ x }))
      const folder = task.folder.split(/[\\/]/).slice(-2).join('/')
      outcomes.push({
        ...base,
        state: 'done',
        loss: 2 + x,
        diverged: seed === 668,
        checkpoint: `${folder}/${checkpoint}`,
        isa: 'none',
        seconds: performance.now(),
      })
    }
    return outcomes
  },
  async measure(task, { signal, progress }) {
    const path = join(task.folder, 'part.jsonl')
    const done = new Map(readLines<MeasurementOutcome>(path).map(row => [row.key, row]))
    const { x } = readJson<{ x: number }>(join(task.run.checkpoint ?? '', 'model.json')) ?? { x: Number.NaN }
    for (const [i, item] of task.items.entries()) {
      if (done.has(item.key)) continue
      if (signal.aborted) throw new Error('stopped')
      await sleep(stepMs * 4)
      const row: MeasurementOutcome = {
        key: item.key,
        run: task.run.key,
        method: item.method,
        format: item.format,
        state: 'done',
        loss: 2 + x + share(keyOf(item.format)) / 100,
      }
      appendLine(path, row)
      done.set(item.key, row)
      progress({ share: i / task.items.length })
    }
    return { runs: [], measurements: task.items.flatMap(item => done.get(item.key) ?? []) }
  },
}
