// Solved examples before a question, drawn as lm-evaluation-harness draws them: by Python's own generator from the seed
// 1234, one draw a question in order, so that a few-shot score here is of the same prompts as a score there.
import { RequestError } from '../formats/error.ts'
import type { Example, Row, Task } from './tasks.ts'

/** The seed from which the harness draws solved examples. */
const SEED = 1234

/** Python's `random.Random(seed)` for seeds below 2^32 (the Mersenne Twister MT19937, Matsumoto and Nishimura 1998): `below(n)` is `randrange(n)`, `sample(n, k)` is `sample(range(n), k)`. */
export function pythonRandom(seed: number): { below(n: number): number; sample(n: number, k: number): number[] } {
  const state = seededState(seed)
  let at = state.length
  function word(): number {
    if (at === state.length) {
      twist(state)
      at = 0
    }
    let y = state[at++]
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }
  function below(n: number): number {
    const shift = Math.clz32(n) // as many bits as n has, drawn again until they are below n
    for (;;) {
      const drawn = word() >>> shift
      if (drawn < n) return drawn
    }
  }
  return {
    below,
    sample(n, k) {
      // Python draws from a shrinking list where that is smaller than a set of the drawn ones would be.
      const listLimit = 21 + (k > 5 ? 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 0)
      if (n <= listLimit) {
        const pool = Array.from({ length: n }, (_, i) => i)
        return Array.from({ length: k }, (_, i) => {
          const j = below(n - i)
          const drawn = pool[j]
          pool[j] = pool[n - i - 1]
          return drawn
        })
      }
      const drawn = new Set<number>()
      while (drawn.size < k) drawn.add(below(n))
      return [...drawn]
    },
  }
}

/** MT19937's state from an integer, through the array of its 32-bit digits as Python seeds it. */
function seededState(seed: number): Uint32Array {
  const state = new Uint32Array(624)
  state[0] = 19650218
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i
  let i = 1
  for (let round = 0; round < 624; round++) {
    state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1664525)) + seed
    if (++i === 624) {
      state[0] = state[623]
      i = 1
    }
  }
  for (let round = 0; round < 623; round++) {
    state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1566083941)) - i
    if (++i === 624) {
      state[0] = state[623]
      i = 1
    }
  }
  state[0] = 0x80000000
  return state
}

function twist(state: Uint32Array): void {
  for (let i = 0; i < 624; i++) {
    const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff)
    state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
  }
}

/** An example with its answer; the harness sets a space before an answer, also one that begins with a space itself. */
function solved(task: Task, { contexts, continuations, gold }: Example): string {
  return `${contexts[gold] ?? contexts[0]}${task.kind === 'greedy' ? ' ' : ''}${continuations[gold]}\n\n`
}

function identity(row: Row): string {
  return JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? String(value) : value))
}

/**
 * What stands before each of the asked rows: `count` solved examples drawn from `pool`. Where the task leaves itself out,
 * one more is drawn and the question's own row dropped; tasks the harness knows as zero-shot only (BLiMP) get none.
 */
export function fewshotPrefixes(task: Task, asked: readonly Row[], pool: readonly Row[], count: number): string[] {
  if (count === 0 || task.zeroShotOnly) return asked.map(() => '')
  const drawn = task.excludesItself ? count + 1 : count
  if (pool.length < drawn)
    throw new RequestError(
      `${count} solved examples are more than '${task.name}' has, expected at most ${pool.length - (drawn - count)}`,
    )
  const random = pythonRandom(SEED)
  const identities = task.excludesItself ? pool.map(identity) : []
  return asked.map(row => {
    const own = identity(row)
    let chosen = random.sample(pool.length, drawn)
    if (task.excludesItself) {
      chosen = chosen.filter(i => identities[i] !== own).slice(0, count)
      if (chosen.length < count) {
        const others = pool.map((_, i) => i).filter(i => identities[i] !== own)
        if (others.length < count)
          throw new RequestError(
            `${count} solved examples are more than the ${others.length} others '${task.name}' has`,
          )
        chosen = random.sample(others.length, count).map(i => others[i])
      }
    }
    return chosen.map(i => solved(task, task.example(pool[i]))).join('')
  })
}
