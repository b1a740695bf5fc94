// Hub names against a local server that answers as the hub does: API, resolve with ranges, redirects to a store, tokens.
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openFolder } from './folder.ts'
import { cachedSnapshot, hubCache, hubDatasetFiles, hubFolder, parseHubName } from './hub.ts'
import { writeSafetensors } from './safetensors.ts'

const COMMIT = '0123456789abcdef0123456789abcdef01234567'
const OTHER = '89abcdef0123456789abcdef0123456789abcdef'
const VARIABLES = ['HF_ENDPOINT', 'HF_TOKEN', 'HF_HOME', 'HF_HUB_CACHE', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE']

let folder: string
let server: Server
let requests: { url: string; token: string | undefined }[]
let files: Record<string, Uint8Array>
/** What the server says instead of the true hash, and what it knows the hash of large files to be. */
let tagOverride: string | undefined
let trueHash = ''
const before = new Map<string, string | undefined>()

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** One file with the range that was asked for. */
function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
  headers: Record<string, string>,
): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const start = range ? Number(range[1]) : 0
  const end = range?.[2] ? Math.min(Number(range[2]), bytes.length - 1) : bytes.length - 1
  const extra = range ? { 'Content-Range': `bytes ${start}-${end}/${bytes.length}` } : {}
  response.writeHead(range ? 206 : 200, { ...headers, ...extra, 'Content-Length': String(end - start + 1) })
  response.end(bytes.subarray(start, end + 1))
}

/** The hub: one public model with two revisions, one that needs a token. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://hub')
  requests.push({ url: url.pathname, token: request.headers.authorization })
  const fail = (status: number, code: string) => response.writeHead(status, { 'X-Error-Code': code }).end(code)
  if (url.pathname.startsWith('/gated/') || url.pathname.startsWith('/api/models/gated/'))
    if (request.headers.authorization !== 'Bearer secret') return void fail(401, 'GatedRepo')
  if (url.pathname.startsWith('/api/datasets/someone/set/')) {
    response.writeHead(200, { 'Content-Type': 'application/json' })
    if (url.pathname.includes('/tree/'))
      return void response.end(JSON.stringify([{ type: 'file', path: 'main/test/0.parquet', size: 3, oid: 'x' }]))
    return void response.end(JSON.stringify({ _id: '1', id: 'someone/set', sha: COMMIT, downloads: 0, likes: 0 }))
  }
  if (url.pathname.startsWith('/datasets/someone/set/resolve/'))
    return void sendFile(request, response, Uint8Array.of(1, 2, 3), { ETag: '"three"' })
  const api = /^\/api\/models\/(\w+\/[\w-]+)\/revision\/([\w.-]+)$/.exec(url.pathname)
  if (api) {
    const sha = { main: COMMIT, HEAD: COMMIT, step1000: OTHER, [COMMIT]: COMMIT, [OTHER]: OTHER }[api[2]]
    if (!sha || !['someone/small', 'gated/small'].includes(api[1]))
      return void fail(404, sha ? 'RepoNotFound' : 'RevisionNotFound')
    response.writeHead(200, { 'Content-Type': 'application/json' })
    return void response.end(
      JSON.stringify({ _id: '1', id: api[1], sha, siblings: Object.keys(files).map(rfilename => ({ rfilename })) }),
    )
  }
  if (/\/paths-info\//.test(url.pathname)) {
    response.writeHead(200, { 'Content-Type': 'application/json' })
    return void response.end(
      JSON.stringify([
        { type: 'file', path: 'model.safetensors', size: 1, oid: 'x', lfs: { oid: trueHash, size: 1, pointerSize: 1 } },
      ]),
    )
  }
  const resolved = /^\/(\w+\/[\w-]+)\/resolve\/(\w+)\/([\w.-]+)$/.exec(url.pathname)
  const store = /^\/store\/([\w.-]+)$/.exec(url.pathname)
  const bytes = files[resolved?.[3] ?? store?.[1] ?? '']
  if (!bytes) return void fail(404, 'EntryNotFound')
  const tag = `"${tagOverride ?? sha256(bytes)}"`
  if (resolved?.[3].endsWith('.safetensors'))
    return void response
      .writeHead(302, { Location: `/store/${resolved[3]}`, 'X-Linked-ETag': tag, 'X-Repo-Commit': resolved[2] })
      .end()
  sendFile(request, response, bytes, { ETag: tag })
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bitlaw-hub-'))
  for (const name of VARIABLES) {
    before.set(name, process.env[name])
    delete process.env[name]
  }
  const path = join(folder, 'a.safetensors')
  const write = (value: number) =>
    writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [2], data: () => Float32Array.of(value, 2) }])
  write(1)
  files = {
    'config.json': new TextEncoder().encode('{"model_type":"llama"}'),
    'tokenizer.json': new TextEncoder().encode('{}'),
    'model.safetensors': readFileSync(path),
    'README.md': new TextEncoder().encode('words'),
    'training_args.bin': new Uint8Array(10),
  }
  requests = []
  tagOverride = undefined
  server = createServer(answer)
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  process.env['HF_ENDPOINT'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  process.env['HF_HOME'] = join(folder, 'home')
})

afterEach(async () => {
  server.closeAllConnections()
  await new Promise(done => server.close(done))
  for (const [name, value] of before)
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  rmSync(folder, { recursive: true })
})

const small = { name: 'someone/small', revision: 'main' }

test('names', () => {
  expect(parseHubName('someone/small')).toEqual(small)
  expect(parseHubName('EleutherAI/pythia-70m@step1000')).toEqual({
    name: 'EleutherAI/pythia-70m',
    revision: 'step1000',
  })
  expect(parseHubName('a/b@refs/pr/1')).toEqual({ name: 'a/b', revision: 'refs/pr/1' })
  for (const wrong of ['a', 'a/b/c', '../b', 'a/..', 'a/b@../c', '/a/b', 'a b/c', ''])
    expect(parseHubName(wrong)).toBeUndefined()
})

test('the cache folder is the one of the hub', () => {
  expect(hubCache({ HF_HUB_CACHE: '/x', HF_HOME: '/y' })).toBe('/x')
  expect(hubCache({ HF_HOME: '/y' })).toBe('/y/hub')
  expect(hubCache({ XDG_CACHE_HOME: '/z' })).toBe('/z/huggingface/hub')
})

test('a checkpoint is downloaded once, in the layout of the hub, and without files that are not needed', async () => {
  const snapshot = await hubFolder(small)
  const root = join(folder, 'home', 'hub', 'models--someone--small')
  expect(snapshot).toBe(join(root, 'snapshots', COMMIT))
  expect(readFileSync(join(root, 'refs', 'main'), 'utf8')).toBe(COMMIT)
  expect(readlinkSync(join(snapshot, 'model.safetensors'))).toBe(
    join('..', '..', 'blobs', sha256(files['model.safetensors'])),
  )
  expect(existsSync(join(snapshot, 'README.md'))).toBe(false)
  expect(existsSync(join(snapshot, 'training_args.bin'))).toBe(false)
  const tensors = openFolder(snapshot)
  expect([...new Float32Array(tensors.read('x').buffer)]).toEqual([1, 2])
  tensors.close()
  requests = []
  expect(await hubFolder(small)).toBe(snapshot)
  expect(requests.filter(({ url }) => !url.startsWith('/api/'))).toEqual([])
})

test('revisions have snapshots of their own, and a commit in the cache needs no network', async () => {
  const snapshot = await hubFolder({ ...small, revision: 'step1000' })
  expect(snapshot.endsWith(OTHER)).toBe(true)
  requests = []
  expect(await hubFolder({ ...small, revision: OTHER })).toBe(snapshot)
  expect(requests).toEqual([])
})

test('shards that an index lists are downloaded', async () => {
  files['model-00001-of-00001.safetensors'] = files['model.safetensors']
  delete files['model.safetensors']
  files['model.safetensors.index.json'] = new TextEncoder().encode(
    '{"weight_map":{"x":"model-00001-of-00001.safetensors"}}',
  )
  expect(openFolder(await hubFolder(small)).names).toEqual(['x'])
})

test('offline: the cache, or an error at once', async () => {
  process.env['HF_HUB_OFFLINE'] = '1'
  await expect(hubFolder(small)).rejects.toThrow("'someone/small' is not in")
  expect(requests).toEqual([])
  process.env['HF_HUB_OFFLINE'] = '0'
  const snapshot = await hubFolder(small)
  process.env['HF_HUB_OFFLINE'] = '1'
  expect(await hubFolder(small)).toBe(snapshot)
})

test('a hub that does not answer: the cache, or an error that names it', async () => {
  const snapshot = await hubFolder(small)
  process.env['HF_ENDPOINT'] = 'http://127.0.0.1:9'
  expect(await hubFolder(small)).toBe(snapshot)
  await expect(hubFolder({ name: 'someone/else', revision: 'main' })).rejects.toThrow(
    'http://127.0.0.1:9 does not answer',
  )
})

test('tokens are sent, and errors say what is wrong', async () => {
  await expect(hubFolder({ name: 'gated/small', revision: 'main' })).rejects.toThrow('HF_TOKEN')
  process.env['HF_TOKEN'] = 'secret'
  await hubFolder({ name: 'gated/small', revision: 'main' })
  expect(requests.filter(({ token }) => token === 'Bearer secret').length).toBeGreaterThan(3)
  await expect(hubFolder({ name: 'someone/none', revision: 'main' })).rejects.toThrow("no model 'someone/none'")
  await expect(hubFolder({ ...small, revision: 'nowhere' })).rejects.toThrow("no model 'someone/small@nowhere'")
})

test('a download with another hash than the hub tells is refused', async () => {
  tagOverride = 'f'.repeat(64)
  trueHash = 'e'.repeat(64)
  files = { 'config.json': files['config.json'], 'model.safetensors': files['model.safetensors'] }
  await expect(hubFolder(small)).rejects.toThrow('came with the hash')
  tagOverride = 'd'.repeat(64)
  trueHash = sha256(files['config.json'])
  delete files['model.safetensors']
  await expect(hubFolder(small)).rejects.toThrow('has no weights')
})

test('a snapshot that lacks a file is no snapshot', async () => {
  const snapshot = await hubFolder(small)
  expect(cachedSnapshot(small)).toBe(snapshot)
  rmSync(join(snapshot, 'model.safetensors'))
  expect(cachedSnapshot(small)).toBeUndefined()
  writeFileSync(join(snapshot, 'model.safetensors.index.json'), '{"weight_map":{"x":"../../escape.safetensors"}}')
  expect(() => cachedSnapshot(small)).toThrow('plain file name')
})

test("a data set's Parquet files come through the cache", async () => {
  const [path, ...others] = await hubDatasetFiles('someone/set', 'main', 'test')
  expect(others).toEqual([])
  expect([...readFileSync(path)]).toEqual([1, 2, 3])
  expect(path).toContain(join('datasets--someone--set', 'snapshots', COMMIT, 'main', 'test'))
  requests = []
  process.env['HF_HUB_OFFLINE'] = '1'
  expect(await hubDatasetFiles('someone/set', 'main', 'test')).toEqual([path])
  expect(requests).toEqual([])
  await expect(hubDatasetFiles('someone/set', 'main', 'train')).rejects.toThrow('the hub is switched off')
  delete process.env['HF_HUB_OFFLINE']
  await expect(hubDatasetFiles('someone/none', 'main', 'test')).rejects.toThrow("has no data set 'someone/none'")
})
