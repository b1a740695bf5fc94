// Paths in a specification are looked for in the folder where the command ran, then beside the specification. The text
// as written is what is hashed, so that the same study is the same from anywhere.
import { existsSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'

/** A corpus's source as a path that exists, where it is one. */
export function placeSource(source: string, roots: readonly string[]): string {
  if (source.startsWith('npm:') || isAbsolute(source)) return source
  const firm = source.replace(/[*?[{].*$/, '')
  const root = roots.find(folder => existsSync(join(folder, firm || '.')))
  return root === undefined ? source : join(root, source)
}

/** The `data` of a configuration with its paths placed. */
export function placeData(data: unknown, roots: readonly string[]): unknown {
  const place = (value: unknown): unknown =>
    typeof value === 'string' ? placeSource(value, roots) : Array.isArray(value) ? value.map(place) : value
  const { train, valid, tokenizer, ...rest } = data as Record<string, unknown>
  return {
    ...rest,
    train: place(train),
    ...(valid === undefined ? {} : { valid: place(valid) }),
    ...(tokenizer === undefined ? {} : { tokenizer: place(tokenizer) }),
  }
}

/** A configuration with the paths in its data, and its model where that is a path, placed. */
export function placeConfig(
  config: Readonly<Record<string, unknown>>,
  roots: readonly string[],
): Record<string, unknown> {
  return {
    ...config,
    ...(config['data'] === undefined ? {} : { data: placeData(config['data'], roots) }),
    ...(typeof config['model'] === 'string' ? { model: placeSource(config['model'], roots) } : {}),
  }
}
