// The folder for what can be made again: token shards and trained vocabularies, named by the hash of what they came from.
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type CutRule, cutRule } from './cut.ts'
import type { Tokenizer } from './tokenizer.ts'

/** BITLAW_CACHE, else ~/.cache/bitlaw. */
export function cacheFolder(): string {
  return process.env['BITLAW_CACHE'] || join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'bitlaw')
}

/** A file's name while it is written: beside its place, so that a rename makes it whole or not at all. */
export function temporaryName(path: string): string {
  return `${path}.${process.pid}-${randomBytes(4).toString('hex')}.partial`
}

/** Writes a file whole or not at all; its folder is made. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const partial = temporaryName(path)
  try {
    await writeFile(partial, content, { flush: true })
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

/** The first 32 hexadecimal digits of SHA-256 over the parts, each set off from the next. */
export function hashOf(...parts: (string | number | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    const bytes = part instanceof Uint8Array ? part : Buffer.from(String(part))
    hash.update(`${bytes.length}:`).update(bytes)
  }
  return hash.digest('hex').slice(0, 32)
}

/** What the token cache must know of a tokenizer. */
export interface TokenizerTraits {
  /** Hash of all that decides its ids: the files it saves, and what begins and ends a text. */
  key: string
  /** Where a text may be cut without a change of its ids. */
  cut: CutRule
}

/** Saves the tokenizer into a temporary folder and looks at the files. */
export async function tokenizerTraits(tokenizer: Tokenizer): Promise<TokenizerTraits> {
  const folder = await mkdtemp(join(tmpdir(), 'bitlaw-tokenizer-'))
  try {
    await tokenizer.save(folder)
    const names = (await readdir(folder)).sort()
    const parts: (string | Uint8Array)[] = []
    for (const name of names) parts.push(name, await readFile(join(folder, name)))
    return {
      key: hashOf(String(tokenizer.bos), String(tokenizer.eos), ...parts),
      cut: tokenizer.json === undefined ? 'nowhere' : cutRule(tokenizer.json),
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}
