// The tensors of a checkpoint folder: one file, or shards that an index lists.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import { openPickle } from './pickle.ts'
import { openSafetensors } from './safetensors.ts'
import { joinTensors, type TensorFile } from './tensors.ts'

/** Names of weight files in the order of preference; an index stands for its shards. */
const WEIGHTS = [
  'model.safetensors.index.json',
  'model.safetensors',
  'pytorch_model.bin.index.json',
  'pytorch_model.bin',
]

/** Names of the weight files of a folder (the index left out), empty: there are none. */
export function weightFiles(folder: string): string[] {
  const found = WEIGHTS.find(name => existsSync(join(folder, name)))
  if (found === undefined) {
    const names = readdirSync(folder).filter(name => name.endsWith('.safetensors'))
    return names.length === 1 ? names : []
  }
  return found.endsWith('.index.json')
    ? shardNames(readFileSync(join(folder, found), 'utf8'), join(folder, found))
    : [found]
}

/** The shards that the text of an index names; `path` is what an error calls it. */
export function shardNames(text: string, path: string): string[] {
  let index: unknown
  try {
    index = JSON.parse(text)
  } catch {
    throw new Error(`'${path}' is not JSON`)
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map
  if (typeof map !== 'object' || map === null) throw new Error(`'${path}' has no weight_map`)
  const names = [...new Set(Object.values(map))]
  for (const name of names)
    if (typeof name !== 'string' || !/^[\w.-]+\.(safetensors|bin)$/.test(name))
      throw new Error(`'${path}' names the shard ${JSON.stringify(name)?.slice(0, 80)}, expected a plain file name`)
  return names as string[]
}

/** Opens all tensors of a folder. */
export function openFolder(folder: string): TensorFile {
  const names = weightFiles(folder)
  if (names.length === 0) throw new RequestError(`no weights in '${folder}', expected ${WEIGHTS.join(', ')}`)
  const files: TensorFile[] = []
  try {
    for (const name of names) files.push(openOne(join(folder, name)))
    return files.length === 1 ? files[0] : joinTensors(files)
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
}

/** Opens one file of a folder by its name's end. */
function openOne(path: string): TensorFile {
  return path.endsWith('.safetensors') ? openSafetensors(path) : openPickle(path)
}
