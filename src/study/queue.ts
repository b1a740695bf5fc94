// The queue of jobs: pg-boss on the ledger's own database, so that a result and the end of its job are one transaction.
//
// pg-boss runs on PGlite through its `db` option. Two of its services are not used: its polling workers, since the
// owner fetches a job the moment a child is free, and its maintenance timer. A fetched job is held by a lease: the
// job's `expire_in`, which the holder renews; what a dead worker held is given out again when the lease ends.
// Each time a job is given out its retry count grows; that number tells the present holder from an earlier one.
import PgBoss from 'pg-boss'
import type { Connection, Ledger } from './ledger/open.ts'

const SCHEMA = 'bitlaw_queue'

/** A job as queued: its data names the work, the ledger has the rest. */
export interface NewJob {
  id: string
  data: JobData
  /** Higher goes first. */
  priority: number
}

/** What a job is: train a group of runs that share one training, or score a run's checkpoint. */
export interface JobData {
  kind: 'train' | 'measure'
  study: string
  /** Of the job: the group of runs, or the run and its list of measurements. */
  key: string
  /** Keys of its runs. */
  runs: string[]
  /** Keys of the measurements that are wanted (kind measure). */
  measurements?: string[]
}

/** A job that this process holds; `attempt` is the number of times that it was given out before. */
export interface HeldJob {
  id: string
  attempt: number
  data: JobData
}

/** An open queue of one study. */
export interface Queue {
  /** Adds jobs, those that exist already left alone; inside the caller's transaction. */
  add(jobs: readonly NewJob[], connection: Connection): Promise<void>
  /** Takes up to `count` jobs, those of highest priority; inside the caller's transaction. */
  take(count: number, connection: Connection): Promise<HeldJob[]>
  /** Whether this attempt still holds the job, locking it until the transaction ends. */
  holds(job: HeldJob, connection: Connection): Promise<boolean>
  /** Ends a job, inside the caller's transaction. */
  finish(job: HeldJob, connection: Connection): Promise<void>
  /** Gives jobs back to be done again at once. */
  giveBack(jobs: readonly HeldJob[]): Promise<void>
  /** Renews the leases of held jobs; answers the ids of those that are still held. */
  renew(jobs: readonly HeldJob[]): Promise<Set<string>>
  /** Gives out again what dead workers held: all that is held where `everything` (the caller owns the database alone), else what has expired. */
  recover(everything: boolean): Promise<void>
  /** Removes jobs whatever their state, so that the same work can be queued again. */
  remove(ids: readonly string[], connection: Connection): Promise<void>
  /** Removes all jobs that wait and returns what is held now: a new plan replaces the old one. */
  replan(connection: Connection): Promise<JobData[]>
  /** Jobs that wait or run. */
  open(): Promise<{ waiting: number; running: number }>
  close(): Promise<void>
}

/** pg-boss hands its SQL to this. */
const adapter = (connection: Connection): PgBoss.Db => ({
  executeSql: (text, values) => connection.query(text, values),
})

/** The queue's name of a study: letters that pg-boss takes, unlike for unlike names. */
function queueName(study: string): string {
  return `study_${Buffer.from(study).toString('hex')}`
}

/** An arbitrary number that workers agree on, so that one of them makes the queue's tables and the others find them. */
const ADVISORY = 7_214_306

/** Does something while no other process of a server does it: pg-boss has a lock of its own, but looks whether its tables are there before it has it, and fails where another makes them meanwhile. */
async function oneAtATime(ledger: Ledger, work: () => Promise<void>): Promise<void> {
  // An embedded ledger has one owner, and its only connection cannot wait for itself.
  if (ledger.kind === 'pglite') return work()
  await ledger.transaction(async connection => {
    await connection.query(`select pg_advisory_xact_lock(${ADVISORY})`)
    await work()
  })
}

/** Opens the queue of a study, creating it where it is new. `leaseSeconds` is how long a worker may be silent. */
export async function openQueue(ledger: Ledger, study: string, { leaseSeconds = 60 } = {}): Promise<Queue> {
  const name = queueName(study)
  const boss = new PgBoss({ db: adapter(ledger), schema: SCHEMA, supervise: false, schedule: false })
  // What fails here rejects the call that failed; an event that nobody hears would end the process.
  boss.on('error', () => {})
  const limits = { retryLimit: 1_000_000, retryDelay: 0, retryBackoff: false, expireInSeconds: leaseSeconds }
  await oneAtATime(ledger, async () => {
    await boss.start()
    await boss.createQueue(name, { name, policy: 'standard', ...limits })
  })
  const ids = (jobs: readonly HeldJob[]) => [jobs.map(job => job.id), jobs.map(job => job.attempt)]
  const mine = `name = '${name}' and state = 'active' and (id, retry_count) in (select unnest($1::uuid[]), unnest($2::int[]))`
  return {
    async add(jobs, connection) {
      for (let at = 0; at < jobs.length; at += 2000) {
        const batch = jobs.slice(at, at + 2000).map(job => ({ name, ...job }))
        await boss.insert(batch, { db: adapter(connection) })
      }
    },
    async take(count, connection) {
      // fetch() swallows the database's errors; the adapter keeps the one that matters.
      let failed: unknown
      const db: PgBoss.Db = {
        executeSql: (text, values) =>
          connection.query(text, values).catch(error => {
            failed = error
            throw error
          }),
      }
      // No job here waits for a time of day. Without this a job that was queued in the same tick of the database's
      // clock (PGlite's can be a millisecond) would not be found.
      const options = { batchSize: count, includeMetadata: true as const, ignoreStartAfter: true, db }
      const jobs = await boss.fetch<JobData>(name, options)
      if (failed) throw failed
      jobs.sort((a, b) => b.priority - a.priority)
      return jobs.map(({ id, retryCount, data }) => ({ id, attempt: Number(retryCount), data }))
    },
    async holds(job, connection) {
      const text = `select 1 from ${SCHEMA}.job where ${mine} for update`
      return (await connection.query(text, ids([job]))).rows.length === 1
    },
    async finish(job, connection) {
      await boss.complete(name, job.id, {}, { db: adapter(connection) })
    },
    async giveBack(jobs) {
      if (jobs.length) await ledger.query(`update ${SCHEMA}.job set state = 'retry' where ${mine}`, ids(jobs))
    },
    async renew(jobs) {
      if (!jobs.length) return new Set()
      const text = `update ${SCHEMA}.job set started_on = now() where ${mine} returning id`
      return new Set((await ledger.query(text, ids(jobs))).rows.map(row => String(row['id'])))
    },
    async recover(everything) {
      if (everything) {
        const text = `update ${SCHEMA}.job set state = 'retry' where name = $1 and state = 'active'`
        await ledger.query(text, [name])
      } else await boss.expire()
    },
    async remove(jobs, connection) {
      if (jobs.length) await boss.deleteJob(name, [...jobs], { db: adapter(connection) })
    },
    async replan(connection) {
      await connection.query(`delete from ${SCHEMA}.job where name = $1 and state < 'active'`, [name])
      const text = `select data from ${SCHEMA}.job where name = $1 and state = 'active' for update`
      const { rows } = await connection.query(text, [name])
      await connection.query(`delete from ${SCHEMA}.job where name = $1 and state > 'active'`, [name])
      return rows.map(row => row['data'] as JobData)
    },
    async open() {
      const text = `select count(*) filter (where state < 'active')::int as waiting, count(*) filter (where state = 'active')::int as running
        from ${SCHEMA}.job where name = $1 and state <= 'active'`
      const [row] = (await ledger.query(text, [name])).rows
      return { waiting: Number(row['waiting']), running: Number(row['running']) }
    },
    async close() {
      await boss.stop({ graceful: false, close: false })
    },
  }
}
