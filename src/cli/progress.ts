// Progress of long work on standard error: a bar on a terminal, else a plain line now and then.
import { SingleBar } from 'cli-progress'
import { printQuantity } from '../table/quantity.ts'

/** A running display: `update` with what is done so far and a short note (loss, name of the run), `stop` at the end. */
export interface Progress {
  /** `left` are seconds that are known better than from what was done so far. */
  update(done: number, note?: string, left?: number | null): void
  stop(): void
}

/** Milliseconds that a rate looks back: what was slow an hour ago says little about what is left. */
const LOOK_BACK = 60_000

/** Units a second of late, asked for with what is done by now; 0 before anything was. */
function startPace(before: number): (done: number) => number {
  const samples = [{ time: performance.now(), done: before }]
  return done => {
    const now = performance.now()
    while (samples.length > 1 && samples[1].time <= now - LOOK_BACK) samples.shift()
    const [first] = samples
    if (now - samples[samples.length - 1].time >= 1000) samples.push({ time: now, done })
    return now > first.time ? (1000 * (done - first.done)) / (now - first.time) : 0
  }
}

/**
 * Starts a display of `total` units (tokens, runs, tensors), of which `before` were done by an earlier process; lines
 * come at most every `lineSeconds` where there is no terminal.
 */
export function startProgress(
  label: string,
  total: number,
  unit: string,
  { lineSeconds = 15, quiet = false, before = 0 } = {},
): Progress {
  if (quiet) return { update() {}, stop() {} }
  const pace = startPace(before)
  const describe = (done: number, known: number | null) => {
    const rate = pace(done)
    const left = known ?? (rate > 0 ? (total - done) / rate : undefined)
    return { rate: `${printQuantity(rate)} ${unit}/s`, left: left === undefined ? '?' : printQuantity(left, 'seconds') }
  }
  if (process.stderr.isTTY) {
    const bar = new SingleBar({
      format: `${label} {bar} {percentage}% | {rate} | {left} left | {note}`,
      hideCursor: true,
      stream: process.stderr,
    })
    bar.start(total, before, { rate: '', left: '?', note: '' })
    return {
      update: (done, note = '', known = null) => bar.update(done, { ...describe(done, known), note }),
      stop: () => bar.stop(),
    }
  }
  let last = performance.now()
  return {
    update(done, note = '', known = null) {
      const { rate, left } = describe(done, known)
      const now = performance.now()
      if (now - last < lineSeconds * 1000) return
      last = now
      process.stderr.write(
        `${label}: ${printQuantity(done)} of ${printQuantity(total)} ${unit}, ${rate}, ${left} left${note ? `, ${note}` : ''}\n`,
      )
    },
    stop() {},
  }
}
