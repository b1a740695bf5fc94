// The ledger's tables, as Drizzle reads and writes them; migrations.ts creates them. One row a run, one a measurement.
// Counts (N, D, tokens) are double precision: exact up to 2^53 and plain numbers in every driver.
import { boolean, doublePrecision, integer, jsonb, pgSchema, primaryKey, text, timestamp } from 'drizzle-orm/pg-core'

/** Everything lives in a schema of its own, so that a study can share a server's database with other things. */
export const bitlaw = pgSchema('bitlaw')

const real = doublePrecision

/** A study: its specification and which folder is its own. */
export const study = bitlaw.table('study', {
  name: text('name').primaryKey(),
  /** Also in the folder's study.json, so that a worker knows that it sees the same files. */
  id: text('id').notNull(),
  spec: jsonb('spec').notNull(),
  /** What the specification expands to: { runs, quantizations, evaluations, flops, seconds, bytes }. */
  planned: jsonb('planned').notNull(),
  createdAt: timestamp('created_at', { withTimezone: true, mode: 'string' }).notNull().defaultNow(),
})

/** One model at one number of tokens: trained here, brought as a checkpoint, or imported as a row. */
export const run = bitlaw.table(
  'run',
  {
    study: text('study').notNull(),
    key: text('key').notNull(),
    /** trained, external, checkpoint, imported */
    kind: text('kind').notNull(),
    /** The training (or file) whose noise it shares: its own key, or that of the trunk. */
    cluster: text('cluster').notNull(),
    config: jsonb('config').notNull(),
    /** waiting, running, done, failed */
    state: text('state').notNull(),
    reason: text('reason'),
    n: real('n'),
    nTotal: real('n_total'),
    d: real('d'),
    pW: real('p_w'),
    pA: real('p_a'),
    pKv: real('p_kv'),
    formatW: text('format_w'),
    formatA: text('format_a'),
    formatKv: text('format_kv'),
    schedule: text('schedule'),
    lrFraction: real('lr_fraction'),
    corpus: text('corpus'),
    family: text('family'),
    seed: integer('seed'),
    loss: real('loss'),
    lossStandardError: real('loss_standard_error'),
    trainLoss: real('train_loss'),
    diverged: boolean('diverged'),
    uniqueTokens: real('unique_tokens'),
    epochs: real('epochs'),
    /** Of the training, by 6 N D and attention. */
    flops: real('flops'),
    tokensPerSecond: real('tokens_per_second'),
    seconds: real('seconds'),
    /** Of the processor, in the process that ended it. */
    processorSeconds: real('processor_seconds'),
    /** Seconds of one core, predicted when the run was planned; null where nothing was known. */
    predictedTraining: real('predicted_training'),
    predictedQuantizing: real('predicted_quantizing'),
    predictedEvaluating: real('predicted_evaluating'),
    /** The checkpoint's folder, from the study's folder. */
    checkpoint: text('checkpoint'),
    isa: text('isa'),
    threads: integer('threads'),
    build: text('build'),
    machine: jsonb('machine'),
    versions: jsonb('versions'),
    warnings: jsonb('warnings'),
    attempts: integer('attempts').notNull().default(0),
    worker: text('worker'),
    startedAt: timestamp('started_at', { withTimezone: true, mode: 'string' }),
    finishedAt: timestamp('finished_at', { withTimezone: true, mode: 'string' }),
  },
  table => [primaryKey({ columns: [table.study, table.key] })],
)

/** One checkpoint scored once: as it is (method `none`), or after one PTQ method to one format. */
export const measurement = bitlaw.table(
  'measurement',
  {
    study: text('study').notNull(),
    key: text('key').notNull(),
    run: text('run').notNull(),
    method: text('method').notNull(),
    format: text('format'),
    /** done, failed */
    state: text('state').notNull(),
    reason: text('reason'),
    pPost: real('p_post'),
    bitsPerParameter: real('bits_per_parameter'),
    totalBits: real('total_bits'),
    tokens: real('tokens'),
    loss: real('loss'),
    lossStandardError: real('loss_standard_error'),
    lossBeforePtq: real('loss_before_ptq'),
    lossChange: real('loss_change'),
    lossChangeLow: real('loss_change_low'),
    lossChangeHigh: real('loss_change_high'),
    bitsPerByte: real('bits_per_byte'),
    klMean: real('kl_mean'),
    klStandardError: real('kl_standard_error'),
    klP99: real('kl_p99'),
    klMax: real('kl_max'),
    topAgreement: real('top_agreement'),
    tasks: jsonb('tasks'),
    seconds: real('seconds'),
    processorSeconds: real('processor_seconds'),
    /** Of `seconds`, those before the scoring. */
    quantizeSeconds: real('quantize_seconds'),
    isa: text('isa'),
    threads: integer('threads'),
    build: text('build'),
    machine: jsonb('machine'),
    versions: jsonb('versions'),
    worker: text('worker'),
    finishedAt: timestamp('finished_at', { withTimezone: true, mode: 'string' }),
  },
  table => [primaryKey({ columns: [table.study, table.key] })],
)

/** The last fit of each law. */
export const fit = bitlaw.table(
  'fit',
  {
    study: text('study').notNull(),
    law: text('law').notNull(),
    /** The hash of the rows that it saw. */
    rows: text('rows').notNull(),
    document: jsonb('document').notNull(),
    finishedAt: timestamp('finished_at', { withTimezone: true, mode: 'string' }).notNull().defaultNow(),
  },
  table => [primaryKey({ columns: [table.study, table.law] })],
)

/** A study's row, as read. */
export type StudyRow = typeof study.$inferSelect
/** A run's row, as read. */
export type RunRow = typeof run.$inferSelect
/** A run's row, as written. */
export type NewRun = typeof run.$inferInsert
/** A measurement's row, as read. */
export type MeasurementRow = typeof measurement.$inferSelect
/** A measurement's row, as written. */
export type NewMeasurement = typeof measurement.$inferInsert
/** A fit's row, as read. */
export type FitRow = typeof fit.$inferSelect
