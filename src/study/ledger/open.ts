// Opens the ledger: PGlite in the study's folder, or the server that DATABASE_URL names. Both speak the same SQL.
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { RequestError } from '../../formats/error.ts'
import { MachineError, machineError, makeFolder } from '../files.ts'
import { makeEmpty } from './empty.ts'
import { explain, isLost, isPassing, isStarting } from './errors.ts'
import { stopAtFailure } from './guard.ts'
import { migrate } from './migrations.ts'
import * as schema from './schema.ts'

/** Drizzle over either driver. */
export type Database = PgDatabase<PgQueryResultHKT, typeof schema>

/** One connection, or one transaction on it: Drizzle for our tables, SQL text for the queue's. */
export interface Connection {
  db: Database
  query(text: string, values?: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>
}

/** An open ledger. */
export interface Ledger extends Connection {
  kind: 'pglite' | 'postgres'
  /** What it is, for people: the folder, or the server without its password. */
  place: string
  /** All or nothing; the work must use the connection that it is given. */
  transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** A connection that is not made, and a query that is not answered, in so long are taken as lost. */
const CONNECT_MS = 10_000
const ANSWER_MS = 60_000
/** A server that is starting up, or breaks off while a ledger is opened, is waited for so long; one that nobody answers for only as long as it may take to start one again. */
const STARTING_MS = 60_000
const ABSENT_MS = 10_000

type Values = readonly unknown[]
const nulled = (values: Values) => values.map(value => (value === undefined ? null : value))

/** Opens PGlite in `folder/ledger`; the caller holds the folder's lock. A first start builds it under another name, so a kill leaves no half of one. */
async function openEmbedded(folder: string): Promise<Ledger> {
  const { PGlite } = await import('@electric-sql/pglite')
  type Client = Pick<InstanceType<typeof PGlite>, 'query' | 'exec'>
  const path = join(folder, 'ledger')
  if (!existsSync(path)) {
    const part = `${path}.part`
    rmSync(part, { recursive: true, force: true })
    makeFolder(folder)
    await makeEmpty(part, async at => (await PGlite.create(at)).close())
    renameSync(part, path)
  }
  const client = await PGlite.create(path)
  stopAtFailure(client)
  const connect = (on: Client): Connection => ({
    db: drizzlePglite(on as InstanceType<typeof PGlite>, { schema }) as unknown as Database,
    // The queue sends several statements in one text where there are no values; only the simple protocol takes those.
    async query(text, values) {
      if (values?.length) return (await on.query(text, nulled(values))) as { rows: Record<string, unknown>[] }
      return ((await on.exec(text)).at(-1) ?? { rows: [] }) as { rows: Record<string, unknown>[] }
    },
  })
  return {
    kind: 'pglite',
    place: path,
    ...connect(client),
    transaction: work => client.transaction(tx => work(connect(tx as unknown as Client))),
    close: () => client.close(),
  }
}

/** A server's address without user and password. */
function withoutSecrets(url: string): string {
  try {
    const { host, pathname } = new URL(url)
    return `postgres at ${host || 'a local socket'}${pathname}`
  } catch {
    return 'postgres'
  }
}

async function openServer(url: string): Promise<Ledger> {
  if (!/^postgres(ql)?:\/\/./.test(url))
    throw new RequestError(
      `DATABASE_URL '${url.replace(/\/\/[^@/]*@/, '//')}' is not a server's address, expected postgres://user:password@host/database`,
    )
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({
    connectionString: url,
    max: 4,
    application_name: 'bitlaw',
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
  })
  // An idle connection that the server closes is replaced at the next query; without a listener it would end the process.
  pool.on('error', () => {})
  // So does one that is lost in the middle of a query: the query rejects, and what was asked is asked again.
  pool.on('connect', client => client.on('error', () => {}))
  type Client = Pick<InstanceType<typeof pg.Client>, 'query'>
  const connect = (on: Client): Connection => ({
    db: drizzlePg(on as unknown as InstanceType<typeof pg.Pool>, { schema }) as unknown as Database,
    async query(text, values) {
      const result = values?.length ? await on.query(text, nulled(values)) : await on.query(text)
      const last = Array.isArray(result) ? result[result.length - 1] : result
      return { rows: last?.rows ?? [] }
    },
  })
  return {
    kind: 'postgres',
    place: withoutSecrets(url),
    ...connect(pool as unknown as Client),
    async transaction(work) {
      const client = await pool.connect()
      let broken: Error | undefined
      try {
        await client.query('begin')
        const result = await work(connect(client))
        await client.query('commit')
        return result
      } catch (error) {
        // A connection that is lost takes its transaction with it.
        if (isPassing(error)) broken = error as Error
        else
          await client.query('rollback').catch((failed: Error) => {
            broken = failed
          })
        throw error
      } finally {
        client.release(broken)
      }
    },
    close: () => pool.end(),
  }
}

/** Opens and migrates the ledger of a study's folder, or the one on a server. */
export async function openLedger(folder: string, url: string | undefined): Promise<Ledger> {
  let ledger: Ledger
  try {
    ledger = url ? await openServer(url) : await openEmbedded(folder)
  } catch (error) {
    if (error instanceof RequestError) throw error
    const explained = explain({ kind: url ? 'postgres' : 'pglite', place: join(folder, 'ledger') }, error)
    throw explained instanceof MachineError
      ? explained
      : machineError(url ? `cannot reach ${withoutSecrets(url)}` : `cannot open the ledger in '${folder}'`, error)
  }
  try {
    const started = Date.now()
    let seen = false
    for (let done = false; !done; ) {
      try {
        await ledger.transaction(migrate)
        done = true
      } catch (error) {
        // Where nobody answers the address may be wrong; a server that answered, or broke off, comes back.
        seen ||= isStarting(error) || isLost(error)
        if (!isPassing(error) || Date.now() > started + (seen ? STARTING_MS : ABSENT_MS)) throw error
        await new Promise(resolve => setTimeout(resolve, 500))
      }
    }
  } catch (error) {
    await ledger.close().catch(() => {})
    const explained = explain(ledger, error)
    throw explained instanceof MachineError
      ? explained
      : machineError(
          ledger.kind === 'postgres' && isPassing(error)
            ? `cannot reach ${ledger.place}, the server of DATABASE_URL`
            : `cannot prepare the ledger (${ledger.place})`,
          error,
        )
  }
  return ledger
}
