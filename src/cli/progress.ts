// Progress of long work on standard error: a bar on a terminal, else a plain line now and then.
import { SingleBar } from 'cli-progress'
import { printQuantity } from '../table/quantity.ts'

/** A running display: `update` with what is done so far and a short note (loss, name of the run), `stop` at the end. */
export interface Progress {
  /** `left` are seconds that are known better than from what was done so far. */
  update(done: number, note?: string, left?: number | null): void
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
  const describe = (done: number, known: number | null) => {
    const seconds = (performance.now() - start) / 1000
    const rate = done / Math.max(seconds, 1e-9)
    return {
      rate: `${printQuantity(rate)} ${unit}/s`,
      left: known !== null || done > 0 ? printQuantity(known ?? (total - done) / rate, 'seconds') : '?',
    }
  }
  if (process.stderr.isTTY) {
    const bar = new SingleBar({
      format: `${label} {bar} {percentage}% | {rate} | {left} left | {note}`,
      hideCursor: true,
      stream: process.stderr,
    })
    bar.start(total, 0, { rate: '', left: '?', note: '' })
    return {
      update: (done, note = '', known = null) => bar.update(done, { ...describe(done, known), note }),
      stop: () => bar.stop(),
    }
  }
  let last = start
  return {
    update(done, note = '', known = null) {
      const now = performance.now()
      if (now - last < lineSeconds * 1000) return
      last = now
      const { rate, left } = describe(done, known)
      process.stderr.write(
        `${label}: ${printQuantity(done)} of ${printQuantity(total)} ${unit}, ${rate}, ${left} left${note ? `, ${note}` : ''}\n`,
      )
    },
    stop() {},
  }
}
