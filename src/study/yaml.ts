// A YAML text checked against a zod schema, with the line and the key in every complaint.
import { isMap, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { didYouMean, RequestError } from '../formats/error.ts'

type Issue = z.core.$ZodIssue
type Path = readonly PropertyKey[]

/** `precision.grid.weights[2]` */
export function spell(path: Path): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i ? '.' : ''}${String(key)}`)).join('')
}

function at(value: unknown, path: Path): unknown {
  let here = value
  for (const key of path) here = (here as Record<PropertyKey, unknown> | null | undefined)?.[key]
  return here
}

/** What a bad value is called in an error: itself where it is short. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 60 ? `${text.slice(0, 57)}…` : text.replaceAll('"', "'")
}

/** How far into the value an issue lies; an unknown key lies one deeper than its record. */
const depth = (issue: Issue) => issue.path.length + (issue.code === 'unrecognized_keys' ? 1 : 0)

/** Of the ways in which a union did not fit, the one that got furthest into the value: the one that was meant. */
function flatten(issue: Issue, base: Path = []): Issue {
  const path: PropertyKey[] = [...base, ...issue.path]
  if (issue.code !== 'invalid_union' || !issue.errors?.length) return { ...issue, path }
  const candidates = issue.errors.filter(list => list.length).map(list => flatten(list[0], path))
  if (!candidates.length) return { ...issue, path }
  const most = Math.max(...candidates.map(depth))
  const deepest = candidates.filter(one => depth(one) === most)
  // A way whose kind is another one was not meant; where none has the kind that is there, all kinds are what was expected.
  const meant = deepest.find(one => one.code !== 'invalid_value')
  if (most > path.length && meant) return meant
  if (most > path.length) {
    const values = deepest.flatMap(one => (one.code === 'invalid_value' ? one.values : []))
    if (values.length < 2) return deepest[0]
    return { ...deepest[0], values, message: `one of ${values.join(', ')}` } as Issue
  }
  return { ...issue, path }
}

/** What an issue wanted: our schemas' messages say it; zod's own words where one has none. */
function wanted(issue: Issue): string {
  return issue.message.replace(/^(Invalid input: )?expected /i, '')
}

/** The keys that a schema's record takes at a path; none where it is no plain record. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  const names = new Set<string>()
  const walk = (node: unknown, rest: Path) => {
    const def = (node as { def?: Record<string, unknown> } | undefined)?.def
    if (!def) return
    if (def['innerType']) return walk(def['innerType'], rest)
    if (def['type'] === 'pipe') return walk(def['in'], rest)
    if (Array.isArray(def['options'])) for (const option of def['options']) walk(option, rest)
    if (def['type'] === 'array' && typeof rest[0] === 'number') return walk(def['element'], rest.slice(1))
    const shape = def['shape'] as Record<string, unknown> | undefined
    if (!shape) return
    if (rest.length === 0) for (const name of Object.keys(shape)) names.add(name)
    else walk(shape[String(rest[0])], rest.slice(1))
  }
  walk(schema, path)
  return [...names]
}

/** Reads a document, or throws a RequestError: `study.yaml:12: precision.grid.weights is 'x', expected a number`. */
export function parseYaml<T extends z.ZodType>(text: string, name: string, schema: T): z.output<T> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const broken = document.errors[0]
  if (broken)
    throw new RequestError(
      `${name}:${lines.linePos(broken.pos[0]).line}: ${broken.message.charAt(0).toLowerCase()}${broken.message.slice(1)}`,
    )
  const value: unknown = document.toJS() ?? {}
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = flatten(parsed.error.issues[0])

  /** Line of the value at a path, or of its nearest parent that is there. */
  const lineOf = (path: Path, key?: string): number => {
    let node: unknown = document.contents
    let offset = (document.contents as { range?: readonly number[] } | null)?.range?.[0] ?? 0
    for (const step of key === undefined ? path : [...path, key]) {
      if (isMap(node)) {
        const pair = node.items.find(item => isPair(item) && isScalar(item.key) && item.key.value === step)
        if (!pair) break
        offset = (pair.key as { range?: readonly number[] }).range?.[0] ?? offset
        node = pair.value
      } else if (isSeq(node)) {
        node = node.items[Number(step)]
        offset = (node as { range?: readonly number[] } | undefined)?.range?.[0] ?? offset
      }
    }
    return lines.linePos(offset).line
  }
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]
    const where = spell([...issue.path, key])
    throw new RequestError(
      `${name}:${lineOf(issue.path, key)}: unknown key '${where}'${didYouMean(key, keysAt(schema, issue.path))}`,
    )
  }
  if (issue.code === 'custom' && issue.params?.['sentence'])
    throw new RequestError(`${name}:${lineOf(issue.path)}: ${issue.message}`)
  const found = at(value, issue.path)
  const where = spell(issue.path) || 'the document'
  const expected = wanted(issue)
  const line = lineOf(issue.path)
  if (found === undefined) throw new RequestError(`${name}:${line}: ${where} is missing, expected ${expected}`)
  const hint =
    issue.code === 'invalid_value' && typeof found === 'string' ? didYouMean(found, issue.values.map(String)) : ''
  throw new RequestError(`${name}:${line}: ${where} is ${quote(found)}, expected ${expected}${hint}`)
}
