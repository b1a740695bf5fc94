// Progress of long work on standard error: a bar on a terminal, else a plain line now and then.
import { SingleBar } from 'cli-progress'
import { printQuantity } from '../table/quantity.ts'

/** A running display: `update` with what is done so far and a short note (loss, name of the run), `stop` at the end. */
export interface Progress {
  update(done: number, note?: string): void
  stop(): void
}

/** Starts a display of `total` units (tokens, runs, tensors); lines come at most every `lineSeconds` where there is no terminal. */
export function startProgress(
  label: string,
  total: number,
  unit: string,
  { lineSeconds = 15, quiet = false } = {},
): Progress {
  if (quiet) return { update() {}, stop() {} }
  const start = performance.now()
  const describe = (done: number) => {
    const seconds = (performance.now() - start) / 1000
    const rate = done / Math.max(seconds, 1e-9)
    return {
      rate: `${printQuantity(rate)} ${unit}/s`,
      left: done > 0 ? printQuantity((total - done) / rate, 'seconds') : '?',
    }
  }
  if (process.stderr.isTTY) {
    const bar = new SingleBar({
      format: `${label} {bar} {percentage}% | {rate} | {left} left | {note}`,
      hideCursor: true,
      stream: process.stderr,
    })
    bar.start(total, 0, { rate: '', left: '?', note: '' })
    return { update: (done, note = '') => bar.update(done, { ...describe(done), note }), stop: () => bar.stop() }
  }
  let last = start
  return {
    update(done, note = '') {
      const now = performance.now()
      if (now - last < lineSeconds * 1000) return
      last = now
      const { rate, left } = describe(done)
      process.stderr.write(
        `${label}: ${printQuantity(done)} of ${printQuantity(total)} ${unit}, ${rate}, ${left} left${note ? `, ${note}` : ''}\n`,
      )
    },
    stop() {},
  }
}
