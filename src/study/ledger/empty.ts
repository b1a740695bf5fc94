// An empty embedded database. Making one takes seconds of the processor and gives the same files each time, so the first
// one that is made on a machine is kept in the cache, packed, and later ones are unpacked from there.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { gunzipSync, gzipSync } from 'node:zlib'
import { cacheFolder } from '../../text/cache.ts'
import { writeWhole } from '../files.ts'

/** Folders (without bytes) and files of a database, each folder before what is in it. */
type Packed = { path: string; bytes: Uint8Array | null }[]

/** Where the empty database of the installed PGlite is kept. */
function packedPath(): string {
  const manifest = join(dirname(createRequire(import.meta.url).resolve('@electric-sql/pglite')), '..', 'package.json')
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return join(cacheFolder(), 'ledger', `empty-${version}.gz`)
}

function pack(folder: string): Uint8Array {
  const packed: Packed = []
  const walk = (at: string) => {
    for (const entry of readdirSync(join(folder, at), { withFileTypes: true })) {
      const path = join(at, entry.name)
      packed.push({ path, bytes: entry.isDirectory() ? null : readFileSync(join(folder, path)) })
      if (entry.isDirectory()) walk(path)
    }
  }
  walk('')
  return gzipSync(serialize(packed), { level: 1 })
}

function unpack(packed: Uint8Array, folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const { path, bytes } of deserialize(gunzipSync(packed)) as Packed)
    if (bytes) writeFileSync(join(folder, path), bytes)
    else mkdirSync(join(folder, path))
}

/** Makes an empty database in a folder that is not there yet: from the cache, else by `create`, which leaves it closed. */
export async function makeEmpty(folder: string, create: (folder: string) => Promise<void>): Promise<void> {
  let kept: string | undefined
  try {
    kept = packedPath()
    return unpack(readFileSync(kept), folder)
  } catch {
    // None is kept yet, or it cannot be used; where the disk is what fails, the next lines meet it too.
    rmSync(folder, { recursive: true, force: true })
  }
  await create(folder)
  try {
    if (kept) writeWhole(kept, pack(folder))
  } catch {
    // A cache that cannot be written only saves no time.
  }
}
