// Grids, zips, sweeps and lists: how a few lines of a specification become many points.

/** Fields with lists of values. */
export type Lists = Readonly<Record<string, readonly unknown[]>>

/** Every combination of one value a field, the last field fastest. */
export function gridPoints(lists: Lists): Record<string, unknown>[] {
  let points: Record<string, unknown>[] = [{}]
  for (const [name, values] of Object.entries(lists))
    points = points.flatMap(point => values.map(value => ({ ...point, [name]: value })))
  return points
}

/** The first values together, then the second values …; all lists have the same length, which the schema checks. */
export function zipPoints(lists: Lists): Record<string, unknown>[] {
  const names = Object.keys(lists)
  return Array.from({ length: lists[names[0]]?.length ?? 0 }, (_, i) =>
    Object.fromEntries(names.map(name => [name, lists[name][i]])),
  )
}

/** Each field alone through its values, the others absent. */
export function sweepPoints(lists: Lists): Record<string, unknown>[] {
  return Object.entries(lists).flatMap(([name, values]) => values.map(value => ({ [name]: value })))
}

/** `int{3,4}@{32,64}` -> int3@32, int3@64, int4@32, int4@64; `int{3..6}` counts. Texts without braces come back alone. */
export function expandBraces(text: string): string[] {
  const match = /^(.*?)\{([^{}]*)\}(.*)$/.exec(text)
  if (!match) return [text]
  const [, before, inside, after] = match
  const range = /^(\d+)\.\.(\d+)$/.exec(inside)
  const choices = range
    ? Array.from({ length: Math.max(0, Number(range[2]) - Number(range[1]) + 1) }, (_, i) =>
        String(Number(range[1]) + i),
      )
    : inside.split(',').map(choice => choice.trim())
  return choices.flatMap(choice => expandBraces(after).map(rest => before + choice + rest))
}

/** A format's spelling with a block size behind its element where it names none and needs one. */
export function withBlock(text: string, block: number | string): string {
  if (text.includes('@') || !/^(u?int|nf|fp\d+e|dyn|quantile|ternary)/.test(text)) return text
  const [, element, rest] = /^([^/+]*)(.*)$/.exec(text) ?? []
  return `${element}@${block}${rest}`
}

/** The list without repetitions, in the order of first appearance, by a key. */
export function unique<T>(values: readonly T[], key: (value: T) => string): T[] {
  const seen = new Map<string, T>()
  for (const value of values) {
    const name = key(value)
    if (!seen.has(name)) seen.set(name, value)
  }
  return [...seen.values()]
}
