// What the verbs of a study share: their options, and the specification and folder that an argument means.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { parseSpec, type Spec } from '../study/spec.ts'

/** Options of all verbs, as the command line gives them. */
export interface StudyOptions {
  out?: string
  budget?: string
  sample?: string
  seed?: string
  threads?: string
  dryRun?: boolean
  list?: boolean
  retryFailed?: boolean
  json?: boolean
  laws?: string
  bootstrap?: string
  format?: string
  columns?: string
}

/** A study: where it is, and what it is. */
export interface Place {
  folder: string
  text: string
  source: string
  spec: Spec
}

/** The specification and the folder that an argument means: a specification's file, or a study's folder. */
export function placeOf(path: string, out: string | undefined): Place {
  if (!existsSync(path)) throw new RequestError(`no specification or study at '${path}'`)
  if (statSync(path).isDirectory()) {
    const study = join(path, 'study.json')
    if (!existsSync(study))
      throw new RequestError(`'${path}' is not a study's folder, expected one with study.json, or a specification`)
    const { spec: text, source } = JSON.parse(readFileSync(study, 'utf8')) as { spec: string; source: string }
    return { folder: path, text, source, spec: parseSpec(text, source) }
  }
  const text = readFileSync(path, 'utf8')
  const spec = parseSpec(text, path)
  return { folder: out ?? join('out', spec.name), text, source: path, spec }
}
