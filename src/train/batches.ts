// Which tokens a step sees. The training tokens are cut into windows; each epoch reads all windows once in an order of
// its own, from an offset of its own. A batch is a function of (seed, step) alone: there is no state to save.
import { permutation, randomBelow, randomStream } from '../text/random.ts'
import type { TokenStream } from '../text/shards.ts'

/** Random numbers of the order of windows are drawn under this name. */
const ORDER = 2

/** Inputs and targets of steps. */
export interface Batches {
  /** Windows in an epoch. */
  readonly windows: number
  /** Fills `inputs` and `targets` (sequences, context) for step 1, 2, …; a target is the token after its input. */
  fill(step: number, inputs: Int32Array, targets: Int32Array): void
}

/** Batches of `sequences` windows of `context` tokens; the stream must hold more than `context` tokens. */
export function createBatches(stream: TokenStream, context: number, sequences: number, seed: number): Batches {
  const windows = Math.max(1, Math.floor((stream.length - context) / context))
  const offsets = Math.min(context, stream.length - windows * context)
  const epochs = new Map<number, { order: Uint32Array; offset: number }>()
  const epoch = (number: number) => {
    let found = epochs.get(number)
    if (found === undefined) {
      const random = randomStream(seed, ORDER, number)
      found = { order: permutation(windows, random), offset: randomBelow(random, offsets) }
      for (const old of epochs.keys()) if (old < number - 1) epochs.delete(old)
      epochs.set(number, found)
    }
    return found
  }
  const window = new Int32Array(context + 1)
  return {
    windows,
    fill(step, inputs, targets) {
      for (let i = 0; i < sequences; i++) {
        const number = (step - 1) * sequences + i
        const { order, offset } = epoch(Math.floor(number / windows))
        stream.read(offset + order[number % windows] * context, window)
        inputs.set(window.subarray(0, context), i * context)
        targets.set(window.subarray(1), i * context)
      }
    },
  }
}

/** Starts of the windows that are scored, spread evenly over the held-out tokens: about `tokens` of them, the same each time. */
export function scoredWindows(length: number, context: number, tokens: number): number[] {
  const all = Math.max(1, Math.floor((length - 1) / context))
  const count = Math.max(1, Math.min(all, Math.round(tokens / context)))
  return Array.from({ length: count }, (_, i) => Math.floor((i * all) / count) * context)
}
