// Checkpoints by hub name, `owner/name[@revision]`, in the hub's own cache: blobs by hash, snapshots of links to them by
// commit, refs from revisions to commits. What other tools downloaded is found, and they find what is downloaded here.
import { createHash } from 'node:crypto'
import {
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  datasetInfo,
  downloadFile,
  fileDownloadInfo,
  HubApiError,
  listFiles,
  modelInfo,
  pathsInfo,
} from '@huggingface/hub'
import { RequestError } from '../formats/error.ts'
import { shardNames } from './folder.ts'

/** A hub name in its parts. */
export interface HubName {
  name: string
  revision: string
  /** A data set instead of a model. */
  dataset?: true
}

/** Reads `owner/name` or `owner/name@revision`, undefined: it is none. */
export function parseHubName(reference: string): HubName | undefined {
  const match = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?$/.exec(reference)
  if (!match || /(^|\/)\.{1,2}(\/|$)/.test(reference) || match[2]?.includes('..')) return undefined
  return { name: match[1], revision: match[2] ?? 'main' }
}

/** The hub's cache folder: HF_HUB_CACHE, else hub in HF_HOME, else ~/.cache/huggingface/hub. */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  const home = env['HF_HOME'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface')
  return env['HF_HUB_CACHE'] ?? env['HUGGINGFACE_HUB_CACHE'] ?? join(home, 'hub')
}

const isOn = (value: string | undefined) => value !== undefined && /^(1|true|yes|on)$/i.test(value)

/** Small files of a checkpoint that are fetched where they are present. */
const COMPANIONS =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|quantize_config)\.json$|^merges\.txt$|^tokenizer\.model$|^[\w-]+_tokenizer\.json$/

/** Weight files in the order of preference. */
const WEIGHTS = [
  'model.safetensors.index.json',
  'model.safetensors',
  'pytorch_model.bin.index.json',
  'pytorch_model.bin',
]

/** Folder of a repository in the cache. */
const repositoryFolder = ({ name, dataset }: HubName) =>
  join(hubCache(), `${dataset ? 'datasets' : 'models'}--${name.replace('/', '--')}`)

/** The repository as the library names it. */
const repositoryOf = ({ name, dataset }: HubName) => ({
  type: dataset ? ('dataset' as const) : ('model' as const),
  name,
})

/** A revision's snapshot in the cache that has a configuration and all its weights, undefined: not there. */
export function cachedSnapshot(hub: HubName): string | undefined {
  const folder = repositoryFolder(hub)
  const ref = join(folder, 'refs', hub.revision)
  const commit = existsSync(ref) ? readFileSync(ref, 'utf8').trim() : hub.revision
  const snapshot = join(folder, 'snapshots', commit)
  if (!/^[\w.-]+$/.test(commit) || !existsSync(join(snapshot, 'config.json'))) return undefined
  const main = WEIGHTS.find(name => existsSync(join(snapshot, name)))
  if (main === undefined) return undefined
  const shards = main.endsWith('.index.json')
    ? shardNames(readFileSync(join(snapshot, main), 'utf8'), join(snapshot, main))
    : [main]
  return shards.every(name => existsSync(join(snapshot, name))) ? snapshot : undefined
}

/** The folder of a hub checkpoint: downloaded where it is not in the cache, or taken from there offline (HF_HUB_OFFLINE, or no network). */
export async function hubFolder(hub: HubName): Promise<string> {
  const cached = cachedSnapshot(hub)
  const offline = isOn(process.env['HF_HUB_OFFLINE']) || isOn(process.env['TRANSFORMERS_OFFLINE'])
  if (cached !== undefined && (offline || /^[0-9a-f]{40}$/.test(hub.revision))) return cached
  if (offline)
    throw new RequestError(`'${spell(hub)}' is not in ${hubCache()} and the hub is switched off (HF_HUB_OFFLINE)`)
  try {
    return await download(hub)
  } catch (error) {
    const status = error instanceof HubApiError ? error.statusCode : undefined
    const unreachable = status === undefined && error instanceof TypeError
    if (cached !== undefined && (unreachable || (status ?? 0) >= 500)) {
      process.stderr.write(`the hub does not answer; '${spell(hub)}' is taken from ${cached}\n`)
      return cached
    }
    if (unreachable)
      throw new RequestError(
        `the hub at ${endpoint()} does not answer and '${spell(hub)}' is not in ${hubCache()}: ${reasonOf(error)}`,
      )
    if (status === 401 || status === 403)
      throw new RequestError(
        `'${spell(hub)}' is not on the hub at ${endpoint()}, or is only for those with access (HF_TOKEN)`,
      )
    if (status === 404) throw new RequestError(`no model '${spell(hub)}' on the hub at ${endpoint()}`)
    throw error
  }
}

const spell = ({ name, revision }: HubName) => (revision === 'main' ? name : `${name}@${revision}`)

const endpoint = () => (process.env['HF_ENDPOINT'] || 'https://huggingface.co').replace(/\/+$/, '')

/** Why a connection failed. */
function reasonOf(error: unknown): string {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause
  return cause?.code ?? cause?.message ?? (error as Error).message
}

/** The library's arguments: where the hub is, and a fetch that shows the token to the hub alone. */
function connection() {
  const hubUrl = endpoint()
  const token = process.env['HF_TOKEN'] ?? process.env['HUGGING_FACE_HUB_TOKEN']
  const hubFetch: typeof fetch = (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    const headers = new Headers(init.headers)
    if (token && url.origin === new URL(hubUrl).origin) headers.set('Authorization', `Bearer ${token}`)
    return fetch(input, { ...init, headers })
  }
  return { hubUrl, fetch: hubFetch }
}

/** Fetches what a checkpoint needs into the cache; the ref is written when all of it is there. */
async function download(hub: HubName): Promise<string> {
  const { name, revision } = hub
  const folder = repositoryFolder(hub)
  const info = await modelInfo({ name, revision, additionalFields: ['sha', 'filePaths'], ...connection() })
  const commit = info.sha
  if (typeof commit !== 'string' || !/^[\w-]+$/.test(commit))
    throw new Error(`the hub gave no commit for '${spell(hub)}'`)
  const snapshot = join(folder, 'snapshots', commit)
  const names = info.filePaths?.length ? info.filePaths : await listNames(name, commit)
  const fetchOne = (path: string) => fetchFile({ name, revision: commit }, path, folder, snapshot)
  if (!names.includes('config.json')) throw new RequestError(`'${spell(hub)}' has no config.json${ggufHint(names)}`)
  for (const path of names.filter(path => COMPANIONS.test(path))) await fetchOne(path)
  const main = WEIGHTS.find(path => names.includes(path))
  if (main === undefined)
    throw new RequestError(`'${spell(hub)}' has no weights, expected ${WEIGHTS.join(', ')}${ggufHint(names)}`)
  await fetchOne(main)
  if (main.endsWith('.index.json'))
    for (const path of shardNames(readFileSync(join(snapshot, main), 'utf8'), main)) await fetchOne(path)
  if (revision !== commit) {
    mkdirSync(dirname(join(folder, 'refs', revision)), { recursive: true })
    writeFileSync(join(folder, 'refs', revision), commit)
  }
  return snapshot
}

/** Names of the files of a repository's top folder. */
async function listNames(name: string, revision: string): Promise<string[]> {
  const names: string[] = []
  for await (const entry of listFiles({ repo: name, revision, ...connection() }))
    if (entry.type === 'file') names.push(entry.path)
  return names
}

const ggufHint = (names: readonly string[]) => {
  const found = names.filter(name => name.endsWith('.gguf'))
  return found.length > 0 ? `; it has ${found[0]}, which can be downloaded and opened as a file` : ''
}

/** One file into blobs, with a link in the snapshot; checked by its length, and by its hash where the hub tells it. */
async function fetchFile(hub: HubName, path: string, folder: string, snapshot: string): Promise<void> {
  const link = join(snapshot, path)
  if (existsSync(link)) return
  const common = { repo: repositoryOf(hub), revision: hub.revision, path, ...connection() }
  const info = await fileDownloadInfo(common)
  if (!info) throw new RequestError(`'${spell(hub)}' has no file '${path}'`)
  const tag = info.etag.replace(/^W\//, '').replaceAll('"', '')
  const hash = /^[\w-]{1,128}$/.test(tag) ? tag : createHash('sha256').update(`${hub.revision} ${path}`).digest('hex')
  const blob = join(folder, 'blobs', hash)
  if (!existsSync(blob)) {
    mkdirSync(dirname(blob), { recursive: true })
    if (info.size > 1e6) process.stderr.write(`downloading ${hub.name} ${path} (${Math.round(info.size / 1e6)} MB)\n`)
    const content = await downloadFile({ ...common, downloadInfo: info })
    if (!content) throw new RequestError(`'${spell(hub)}' has no file '${path}'`)
    const digest = await writeCounted(content, `${blob}.${process.pid}.incomplete`, info.size, path)
    await checkHash(hub, path, hash, digest, `${blob}.${process.pid}.incomplete`)
    renameSync(`${blob}.${process.pid}.incomplete`, blob)
  }
  mkdirSync(dirname(link), { recursive: true })
  if (lstatSync(link, { throwIfNoEntry: false })) rmSync(link)
  try {
    symlinkSync(relative(dirname(link), blob), link)
  } catch {
    await copyFile(blob, link)
  }
}

/** Writes a download to a temporary name; gives its sha256. Throws where its length is not what was told. */
async function writeCounted(content: Blob, temporary: string, size: number, path: string): Promise<string> {
  const digest = createHash('sha256')
  let length = 0
  const count = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      digest.update(chunk)
      length += chunk.length
      done(null, chunk)
    },
  })
  try {
    const source = Readable.fromWeb(content.stream() as Parameters<typeof Readable.fromWeb>[0])
    await pipeline(source, count, createWriteStream(temporary))
    if (length !== size) throw new Error(`'${path}' came with ${length} bytes, expected ${size}`)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  return digest.digest('hex')
}

/** Throws where a large file has another sha256 than the hub tells; a store behind the hub may have tags of its own, so the hub is asked. */
async function checkHash(hub: HubName, path: string, tag: string, digest: string, temporary: string): Promise<void> {
  if (!/^[0-9a-f]{64}$/.test(tag) || tag === digest) return
  const common = { repo: repositoryOf(hub), revision: hub.revision, paths: [path], ...connection() }
  const [info] = await pathsInfo(common).catch(() => [])
  if (info?.lfs?.oid === undefined || info.lfs.oid === digest) return
  rmSync(temporary, { force: true })
  throw new Error(`'${path}' came with the hash ${digest}, expected ${info.lfs.oid}`)
}

/** Where the hub keeps each data set as Parquet. */
const PARQUET = 'refs/convert/parquet'

/** Paths in the cache of a data set's Parquet files (one configuration and split), downloaded where they are not there; offline only from there. */
export async function hubDatasetFiles(name: string, config: string, split: string): Promise<string[]> {
  const folder = repositoryFolder({ name, revision: PARQUET, dataset: true })
  const ref = join(folder, 'refs', PARQUET)
  const cachedFiles = () => {
    const at = existsSync(ref) ? join(folder, 'snapshots', readFileSync(ref, 'utf8').trim(), config, split) : undefined
    return at && existsSync(at)
      ? readdirSync(at)
          .sort()
          .map(file => join(at, file))
      : []
  }
  const cached = cachedFiles()
  if (cached.length > 0) return cached
  const what = `data set '${name}' (${config}, ${split})`
  if (isOn(process.env['HF_HUB_OFFLINE']))
    throw new RequestError(`${what} is not in ${hubCache()} and the hub is switched off (HF_HUB_OFFLINE)`)
  try {
    const { sha } = await datasetInfo({ name, revision: PARQUET, additionalFields: ['sha'], ...connection() })
    if (typeof sha !== 'string' || !/^[\w-]+$/.test(sha)) throw new Error(`the hub gave no commit for ${what}`)
    const hub: HubName = { name, revision: sha, dataset: true }
    const snapshot = join(folder, 'snapshots', sha)
    const names: string[] = []
    for await (const entry of listFiles({
      repo: repositoryOf(hub),
      revision: sha,
      path: `${config}/${split}`,
      ...connection(),
    }))
      if (entry.type === 'file' && /^[\w./-]+\.parquet$/.test(entry.path) && !entry.path.includes('..'))
        names.push(entry.path)
    if (names.length === 0) throw new RequestError(`the hub has no Parquet files of ${what}`)
    for (const path of names) await fetchFile(hub, path, folder, snapshot)
    mkdirSync(dirname(ref), { recursive: true })
    writeFileSync(ref, sha)
    return cachedFiles()
  } catch (error) {
    if (error instanceof HubApiError && error.statusCode === 404)
      throw new RequestError(`the hub at ${endpoint()} has no ${what}`)
    if (error instanceof TypeError)
      throw new RequestError(`the hub at ${endpoint()} does not answer: ${reasonOf(error)}`)
    throw error
  }
}
