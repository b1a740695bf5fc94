// Turns what zod says of a configuration into one sentence of the house: key path, bad value, what was expected.
import { z } from 'zod'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseQuantity } from '../table/quantity.ts'

/** `[0.9, 0.95]`, `'abc'`, `20000000`: a value of a configuration as an error shows it. */
function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

function keyPath(path: readonly PropertyKey[]): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i ? '.' : ''}${String(key)}`)).join('')
}

/** Keys that a schema's object at a path has, for the search of a near spelling. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema
  const unwrap = () => {
    for (;;) {
      const definition = (at as z.ZodType)?.def as
        | { innerType?: unknown; in?: unknown; options?: unknown[] }
        | undefined
      const inner =
        definition?.innerType ?? definition?.in ?? definition?.options?.find(option => option instanceof z.ZodObject)
      if (inner === undefined) return
      at = inner
    }
  }
  unwrap()
  for (const key of path) {
    if (at instanceof z.ZodArray) at = at.element
    else if (at instanceof z.ZodObject) at = (at.shape as Record<PropertyKey, unknown>)[key]
    else return []
    unwrap()
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : []
}

/** Reads a value by a schema whose messages say what was expected; throws RequestError naming every wrong key. */
export function parseConfiguration<T>(schema: z.ZodType<T>, value: unknown, name: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const complaints = result.error.issues.map(issue => {
    const path = keyPath(issue.path)
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(schema, issue.path)
      return issue.keys
        .map(
          key =>
            `unknown key '${path === '' ? key : `${path}.${key}`}'${didYouMean(key, known)}${known.length ? `, expected one of ${known.join(', ')}` : ''}`,
        )
        .join('; ')
    }
    const bad = issue.path.reduce<unknown>(
      (at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key],
      value,
    )
    const what = path === '' ? 'it' : path
    return `${what} is ${bad === undefined ? 'missing' : show(bad)}, expected ${issue.message}`
  })
  throw new RequestError(`${name}: ${complaints.join('; ')}`)
}

/** A number, or a quantity as people write them ("20M"), that passes a test. */
export function quantity(expected: string, test: (value: number) => boolean = () => true) {
  return z.unknown().transform((value, context): number => {
    if (typeof value === 'number' || typeof value === 'string') {
      try {
        const number = parseQuantity(value)
        if (test(number)) return number
      } catch (error) {
        if (!(error instanceof RequestError)) throw error
      }
    }
    context.addIssue({ code: 'custom', message: expected })
    return z.NEVER
  })
}

/** A whole number from `least` on. */
export function whole(least: number) {
  return quantity(`a whole number from ${least}`, value => Number.isSafeInteger(value) && value >= least)
}

/** A count of tokens, more than 0. */
export function tokenCount() {
  return quantity('a number of tokens like 20e6 or 20M', value => value > 0)
}
