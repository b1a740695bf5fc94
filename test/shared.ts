// Where tests find the golden vectors and small real models; a test that needs an absent folder skips with a notice.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Folder of small real models, tokenizers, corpora and task sets. */
export const SHARED = resolve(process.env['BITLAW_SHARED'] ?? '../shared')

/** Folder of golden vectors; another of the same layout may be named by BITLAW_GOLDEN. */
export const GOLDEN = resolve(process.env['BITLAW_GOLDEN'] ?? '../shared/golden')

const told = new Set<string>()

function present(path: string): string | undefined {
  if (existsSync(path)) return path
  if (!told.has(path)) console.log(`skipped: ${path} is absent`)
  told.add(path)
  return undefined
}

/** Path of a part of the golden folder, or undefined (with a printed notice) where it is missing. */
export function golden(...parts: string[]): string | undefined {
  return present(join(GOLDEN, ...parts))
}

/** Path of a part of the shared folder, or undefined (with a printed notice) where it is missing. */
export function shared(...parts: string[]): string | undefined {
  return present(join(SHARED, ...parts))
}

/** Resolves a path written in a golden file: `shared/golden/…` against GOLDEN; `shared/…`, `models/…`, `corpora/…` against SHARED. */
export function resolveGoldenPath(path: string): string {
  if (path.startsWith('shared/golden/')) return join(GOLDEN, path.slice('shared/golden/'.length))
  return join(SHARED, path.replace(/^shared\//, ''))
}
