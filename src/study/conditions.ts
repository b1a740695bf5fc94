// Conditions on a run's configuration: `{ 'precision.activations': { lt: 4 } }` leaves runs out of a study.
import { z } from 'zod'

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()])

/** What a field is compared with: a value, a list of values, or bounds; all that is given must hold. */
export const testSchema = z.union([
  scalar,
  z.array(scalar),
  z.strictObject({
    lt: z.number().optional(),
    lte: z.number().optional(),
    gt: z.number().optional(),
    gte: z.number().optional(),
    eq: scalar.optional(),
    ne: scalar.optional(),
    in: z.array(scalar).optional(),
    notIn: z.array(scalar).optional(),
  }),
])

/** Fields by their path, all of which must hold. */
export const conditionSchema = z.record(z.string(), testSchema)

/** A condition: each path of the record and what its value must be. */
export type Condition = z.output<typeof conditionSchema>

type Scalar = string | number | boolean | null

/** The value at a path like `precision.activations`, or null. */
export function fieldAt(record: unknown, path: string): Scalar {
  let here: unknown = record
  for (const key of path.split('.')) here = (here as Record<string, unknown> | null | undefined)?.[key]
  return here === undefined || typeof here === 'object' ? null : (here as Scalar)
}

function holds(value: Scalar, test: Condition[string]): boolean {
  if (test === null || typeof test !== 'object') return value === test
  if (Array.isArray(test)) return test.includes(value)
  const number = typeof value === 'number' ? value : Number.NaN
  const { lt, lte, gt, gte, eq, ne, in: among, notIn } = test
  return (
    (lt === undefined || number < lt) &&
    (lte === undefined || number <= lte) &&
    (gt === undefined || number > gt) &&
    (gte === undefined || number >= gte) &&
    (eq === undefined || value === eq) &&
    (ne === undefined || value !== ne) &&
    (among === undefined || among.includes(value)) &&
    (notIn === undefined || !notIn.includes(value))
  )
}

/** Whether every field of a condition holds for a record. */
export function matches(record: unknown, condition: Condition): boolean {
  return Object.entries(condition).every(([path, test]) => holds(fieldAt(record, path), test))
}
