// The ledger's tables in SQL, a numbered step for each change since the first; applied once each, in order, in one transaction.
import type { Connection } from './open.ts'

/** One step. Steps that were released are never edited: a change is a new one. */
export interface Migration {
  id: number
  name: string
  sql: string
}

/** All steps so far. */
export const MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    name: 'study, run, measurement, fit',
    sql: `
      create table bitlaw.study (
        name text primary key,
        id text not null,
        spec jsonb not null,
        planned jsonb not null,
        created_at timestamptz not null default now()
      );
      create table bitlaw.run (
        study text not null, key text not null,
        kind text not null, cluster text not null, config jsonb not null,
        state text not null check (state in ('waiting', 'running', 'done', 'failed')), reason text,
        n float8, n_total float8, d float8,
        p_w float8, p_a float8, p_kv float8, format_w text, format_a text, format_kv text,
        schedule text, lr_fraction float8, corpus text, family text, seed integer,
        loss float8, loss_standard_error float8, train_loss float8, diverged boolean,
        unique_tokens float8, epochs float8, flops float8, tokens_per_second float8, seconds float8,
        checkpoint text, isa text, threads integer, build text, machine jsonb, versions jsonb, warnings jsonb,
        attempts integer not null default 0, worker text, started_at timestamptz, finished_at timestamptz,
        primary key (study, key)
      );
      create index run_state on bitlaw.run (study, state);
      create table bitlaw.measurement (
        study text not null, key text not null, run text not null,
        method text not null, format text,
        state text not null check (state in ('done', 'failed')), reason text,
        p_post float8, bits_per_parameter float8, total_bits float8, tokens float8,
        loss float8, loss_standard_error float8, loss_before_ptq float8,
        loss_change float8, loss_change_low float8, loss_change_high float8, bits_per_byte float8,
        kl_mean float8, kl_standard_error float8, kl_p99 float8, kl_max float8, top_agreement float8, tasks jsonb,
        seconds float8, isa text, threads integer, build text, machine jsonb, versions jsonb,
        worker text, finished_at timestamptz,
        primary key (study, key)
      );
      create index measurement_run on bitlaw.measurement (study, run);
      create table bitlaw.fit (
        study text not null, law text not null, rows text not null, document jsonb not null,
        finished_at timestamptz not null default now(),
        primary key (study, law)
      );`,
  },
  {
    id: 2,
    name: 'time of the processor, and of quantizing apart from scoring',
    sql: `
      alter table bitlaw.run add column processor_seconds float8;
      alter table bitlaw.measurement add column processor_seconds float8, add column quantize_seconds float8;`,
  },
  {
    id: 3,
    name: 'what a run was predicted to take',
    sql: `
      alter table bitlaw.run add column predicted_training float8, add column predicted_quantizing float8,
        add column predicted_evaluating float8;`,
  },
]

/** An arbitrary number that workers agree on, so that on a server one of them migrates and the others wait. */
const ADVISORY = 7_214_305

/** Brings the tables up to date; throws where the ledger was written by a newer version. */
export async function migrate(connection: Connection): Promise<void> {
  await connection.query(`select pg_advisory_xact_lock(${ADVISORY})`)
  await connection.query('create schema if not exists bitlaw')
  await connection.query(
    'create table if not exists bitlaw.migration (id integer primary key, name text not null, applied_at timestamptz not null default now())',
  )
  const { rows } = await connection.query('select coalesce(max(id), 0)::int as id from bitlaw.migration')
  const version = Number(rows[0]['id'])
  const known = MIGRATIONS[MIGRATIONS.length - 1].id
  if (version > known)
    throw new Error(`the ledger has schema version ${version}, this bitlaw knows ${known}: use a newer one`)
  for (const { id, name, sql } of MIGRATIONS) {
    if (id <= version) continue
    for (const statement of sql.split(/;\s*\n/)) await connection.query(statement.replace(/;\s*$/, ''))
    await connection.query('insert into bitlaw.migration (id, name) values ($1, $2)', [id, name])
  }
}
