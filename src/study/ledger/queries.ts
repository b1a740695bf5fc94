// What the study asks of its ledger and writes into it. Every function takes the connection, so that the caller chooses the transaction.
import { and, asc, eq, getTableColumns, inArray, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import type { MeasurementOutcome, RunOutcome } from '../work.ts'
import type { Connection } from './open.ts'
import {
  type FitRow,
  fit,
  type MeasurementRow,
  measurement,
  type NewRun,
  type RunRow,
  run,
  type StudyRow,
  study,
} from './schema.ts'

/** A study's row, or undefined. */
export async function findStudy({ db }: Connection, name: string): Promise<StudyRow | undefined> {
  return (await db.select().from(study).where(eq(study.name, name)))[0]
}

/** Writes a study's row, replacing what was planned before. */
export async function saveStudy(
  { db }: Connection,
  row: { name: string; id: string; spec: unknown; planned: unknown },
): Promise<void> {
  await db.insert(study).values(row).onConflictDoUpdate({ target: study.name, set: row })
}

/** The states of all runs by key. */
export async function runStates({ db }: Connection, name: string): Promise<Map<string, RunRow['state']>> {
  const rows = await db.select({ key: run.key, state: run.state }).from(run).where(eq(run.study, name))
  return new Map(rows.map(row => [row.key, row.state]))
}

/** Adds runs that wait, thousands at a time: one JSON text for each batch. */
export async function insertRuns(connection: Connection, rows: readonly NewRun[]): Promise<void> {
  const columns = Object.entries(getTableColumns(run) as Record<string, PgColumn>)
  const names = columns.map(([, column]) => column.name).join(', ')
  for (let at = 0; at < rows.length; at += 2000) {
    const batch = rows
      .slice(at, at + 2000)
      .map(row =>
        Object.fromEntries(
          columns.map(([field, column]) => [
            column.name,
            (row as Record<string, unknown>)[field] ?? (field === 'attempts' ? 0 : null),
          ]),
        ),
      )
    const text = `insert into bitlaw.run (${names}) select ${names} from json_populate_recordset(null::bitlaw.run, $1) on conflict do nothing`
    await connection.query(text, [JSON.stringify(batch)])
  }
}

/** Removes runs that were never done. */
export async function removeRuns({ query }: Connection, name: string, keys: readonly string[]): Promise<void> {
  await query(`delete from bitlaw.run where study = $1 and key = any($2::text[]) and state = 'waiting'`, [name, keys])
}

/** The runs of these keys, in that order. */
export async function runsByKey({ db }: Connection, name: string, keys: readonly string[]): Promise<RunRow[]> {
  const rows = await db
    .select()
    .from(run)
    .where(and(eq(run.study, name), inArray(run.key, [...keys])))
  const byKey = new Map(rows.map(row => [row.key, row]))
  return keys.flatMap(key => byKey.get(key) ?? [])
}

/** Notes that runs were given to a worker. */
export async function markRunning(
  { db }: Connection,
  name: string,
  keys: readonly string[],
  worker: string,
): Promise<void> {
  await db
    .update(run)
    .set({ state: 'running', worker, attempts: sql`${run.attempts} + 1`, startedAt: sql`now()` })
    .where(and(eq(run.study, name), inArray(run.key, [...keys]), inArray(run.state, ['waiting', 'running'])))
}

/** Runs that no worker holds any more wait again. */
export async function markWaiting({ query }: Connection, name: string, except: readonly string[]): Promise<void> {
  await query(
    `update bitlaw.run set state = 'waiting' where study = $1 and state = 'running' and not key = any($2::text[])`,
    [name, except],
  )
}

/** Failed runs and measurements are forgotten, to be done again. */
export async function forgetFailures({ query }: Connection, name: string): Promise<void> {
  await query(`update bitlaw.run set state = 'waiting', reason = null where study = $1 and state = 'failed'`, [name])
  await query(`delete from bitlaw.measurement where study = $1 and state = 'failed'`, [name])
}

/** Writes rows in one statement: those that are there are replaced in the columns that are given. Rows with other columns than the first are written after it. */
async function upsert(
  connection: Connection,
  table: PgTable,
  name: string,
  rows: readonly Record<string, unknown>[],
): Promise<void> {
  const columns = getTableColumns(table) as Record<string, PgColumn>
  const fieldsOf = (row: Record<string, unknown>) =>
    Object.keys(row).filter(field => field in columns && row[field] !== undefined)
  for (let at = 0; at < rows.length; ) {
    const fields = fieldsOf(rows[at])
    const same = fields.join()
    let end = at + 1
    while (end < rows.length && fieldsOf(rows[end]).join() === same) end++
    const names = fields.map(field => `"${columns[field].name}"`)
    const set = names.map(column => `${column} = excluded.${column}`)
    const batch = rows
      .slice(at, end)
      .map(row => Object.fromEntries(fields.map(field => [columns[field].name, row[field]])))
    await connection.query(
      `insert into bitlaw.${name} (${names.join(', ')}, finished_at)
        select ${names.join(', ')}, now() from json_populate_recordset(null::bitlaw.${name}, $1)
        on conflict (study, key) do update set ${set.join(', ')}, finished_at = excluded.finished_at`,
      [JSON.stringify(batch)],
    )
    at = end
  }
}

/** Writes finished runs. */
export async function saveRuns(
  connection: Connection,
  name: string,
  rows: readonly RunOutcome[],
  worker: string,
): Promise<void> {
  await upsert(
    connection,
    run,
    'run',
    rows.map(outcome => ({ reason: null, ...outcome, study: name, worker })),
  )
}

/** Writes finished measurements. */
export async function saveMeasurements(
  connection: Connection,
  name: string,
  rows: readonly MeasurementOutcome[],
  worker: string,
): Promise<void> {
  await upsert(
    connection,
    measurement,
    'measurement',
    rows.map(outcome => ({ reason: null, ...outcome, study: name, worker })),
  )
}

/** Keys of the measurements that a study has. */
export async function measurementKeys({ db }: Connection, name: string, runKey?: string): Promise<Set<string>> {
  const where =
    runKey === undefined ? eq(measurement.study, name) : and(eq(measurement.study, name), eq(measurement.run, runKey))
  return new Set((await db.select({ key: measurement.key }).from(measurement).where(where)).map(row => row.key))
}

/** All runs of a study, ordered by key. */
export async function allRuns({ db }: Connection, name: string): Promise<RunRow[]> {
  return db.select().from(run).where(eq(run.study, name)).orderBy(asc(run.key))
}

/** All measurements of a study, ordered by run and key. */
export async function allMeasurements({ db }: Connection, name: string): Promise<MeasurementRow[]> {
  return db
    .select()
    .from(measurement)
    .where(eq(measurement.study, name))
    .orderBy(asc(measurement.run), asc(measurement.key))
}

/** The last fits of a study, by law. */
export async function allFits({ db }: Connection, name: string): Promise<FitRow[]> {
  return db.select().from(fit).where(eq(fit.study, name)).orderBy(asc(fit.law))
}

/** Writes a fit, replacing the law's last one. */
export async function saveFit(
  { db }: Connection,
  row: { study: string; law: string; rows: string; document: unknown },
): Promise<void> {
  await db
    .insert(fit)
    .values(row)
    .onConflictDoUpdate({ target: [fit.study, fit.law], set: { ...row, finishedAt: sql`now()` } })
}

/** Seconds of one core that are left, as predicted; what nothing is known of counts as a second. A run's scores are written all at once, so it has all of them or none. */
export async function costLeft({ query }: Connection, name: string): Promise<number> {
  const scoring = 'coalesce(predicted_quantizing + predicted_evaluating, 1)'
  const text = `select coalesce(sum(case
      when state in ('waiting', 'running') then coalesce(predicted_training, 1) + ${scoring}
      when state = 'done' and not coalesce(diverged, false) and checkpoint is not null
        and not exists (select 1 from bitlaw.measurement m where m.study = r.study and m.run = r.key) then ${scoring}
      else 0 end), 0)::float8 as left from bitlaw.run r where study = $1`
  return Number((await query(text, [name])).rows[0]['left'])
}

/** How many runs are in each state, and how many measurements there are. */
export async function countStates(
  { query }: Connection,
  name: string,
): Promise<
  Record<'waiting' | 'running' | 'done' | 'failed' | 'diverged' | 'measurements' | 'failedMeasurements', number>
> {
  const text = `select
    (select count(*) from bitlaw.run where study = $1 and state = 'waiting')::int as waiting,
    (select count(*) from bitlaw.run where study = $1 and state = 'running')::int as running,
    (select count(*) from bitlaw.run where study = $1 and state = 'done')::int as done,
    (select count(*) from bitlaw.run where study = $1 and state = 'failed')::int as failed,
    (select count(*) from bitlaw.run where study = $1 and diverged)::int as diverged,
    (select count(*) from bitlaw.measurement where study = $1 and state = 'done')::int as measurements,
    (select count(*) from bitlaw.measurement where study = $1 and state = 'failed')::int as "failedMeasurements"`
  return (await query(text, [name])).rows[0] as Awaited<ReturnType<typeof countStates>>
}
