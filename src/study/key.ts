// A run's identity: the hash of its configuration written in one way only, so that the same work is done once.
import { createHash } from 'node:crypto'

/** JSON with keys in code point order and absent fields left out; throws on a number that JSON cannot hold. `known` keeps the texts of records inside that come again. */
export function canonicalJson(value: unknown, known?: WeakMap<object, string>): string {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`cannot hash the number ${value}`)
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null)
  if (Array.isArray(value)) return `[${value.map(item => knownJson(item, known)).join(',')}]`
  const record = value as Record<string, unknown>
  const fields: string[] = []
  for (const name of Object.keys(record).sort())
    if (record[name] !== undefined) fields.push(`${JSON.stringify(name)}:${knownJson(record[name], known)}`)
  return `{${fields.join(',')}}`
}

function knownJson(value: unknown, known: WeakMap<object, string> | undefined): string {
  if (!known || value === null || typeof value !== 'object') return canonicalJson(value)
  const before = known.get(value)
  if (before !== undefined) return before
  const text = canonicalJson(value, known)
  known.set(value, text)
  return text
}

/** The sha256 of a text, in hex. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** The key of anything that is plain JSON: the sha256 of its canonical text, in hex. */
export function keyOf(value: unknown): string {
  return sha256(canonicalJson(value))
}

/** Folders carry the first 16 hex digits of a key: short enough to read, long enough for 10^8 runs. */
export function shortKey(key: string): string {
  return key.slice(0, 16)
}

/** A uuid made of a key, for the queue: the same job always has the same id, so it cannot be queued twice. */
export function jobId(key: string): string {
  const variant = ((Number.parseInt(key[16], 16) & 3) | 8).toString(16)
  return `${key.slice(0, 8)}-${key.slice(8, 12)}-8${key.slice(13, 16)}-${variant}${key.slice(17, 20)}-${key.slice(20, 32)}`
}
