// What a study does, seen from its runner: tasks that go to a child process and the rows that come back.
import type { NewMeasurement, NewRun } from './ledger/schema.ts'

/** The row of a finished run, without what the runner adds (study, worker, attempts, times). */
export type RunOutcome = Omit<NewRun, 'study' | 'attempts' | 'worker' | 'startedAt' | 'finishedAt' | 'state'> & {
  state: 'done' | 'failed'
}

/** The row of a finished measurement, likewise. */
export type MeasurementOutcome = Omit<NewMeasurement, 'study' | 'worker' | 'finishedAt'>

/** One thing to score: a checkpoint as it is (method `none`, format null) or after one method to one format. */
export interface Item {
  key: string
  method: string
  format: string | null
  /** Options of the method: calibration tokens, damping … */
  options: Readonly<Record<string, unknown>>
}

/** A run as the ledger has it when a task starts. */
export interface TaskRun {
  key: string
  kind: string
  cluster: string
  /** A run configuration, or { model } of a checkpoint that was not trained here. */
  config: Readonly<Record<string, unknown>>
  /** The same with its paths as this machine finds them. */
  placed: Readonly<Record<string, unknown>>
  /** The checkpoint, absolute; null before the training. */
  checkpoint: string | null
  n: number | null
  d: number | null
}

/** How checkpoints are scored: where the text comes from, how much of it, what else is measured. */
export interface Scoring {
  data: unknown
  tokens: number
  kl: boolean
  tasks: readonly string[]
  /** Folder of the tasks' sets. */
  taskData?: string
  seed: number
}

/** A task for one child: train the runs that share a training, or score one run's checkpoint. */
export type Task =
  | { kind: 'train'; key: string; folder: string; runs: TaskRun[]; trainer: string | null }
  | { kind: 'measure'; key: string; folder: string; run: TaskRun; items: Item[]; scoring: Scoring }

/** What a task gave. */
export interface Outcome {
  runs: RunOutcome[]
  measurements: MeasurementOutcome[]
}

/** Where a running task is. */
export interface TaskProgress {
  /** Share of the task that is done, 0 to 1. */
  share: number
  loss?: number
  tokensPerSecond?: number
  note?: string
}

/** What a task is given besides itself. */
export interface Context {
  threads: number
  /** Ends the task early: it saves what it has and rejects. */
  signal: AbortSignal
  progress(progress: TaskProgress): void
}

/** The functions that a child calls. A failing run is an outcome with a reason; an error that speaks of the machine (files.ts) stops the study. */
export interface Work {
  train(task: Extract<Task, { kind: 'train' }>, context: Context): Promise<RunOutcome[]>
  /** Also gives the run's own row where the model was not trained here and its size is found only now. */
  measure(task: Extract<Task, { kind: 'measure' }>, context: Context): Promise<Outcome>
}

/** From the runner to a child. */
export type ToChild = { task: Task; threads: number } | { stop: true }

/** From a child to the runner. */
export type FromChild =
  | { type: 'ready' }
  | { type: 'progress'; progress: TaskProgress }
  | { type: 'done'; outcome: Outcome; seconds: number }
  | { type: 'stopped' }
  | { type: 'machine'; message: string }

/** The document in a finished task's folder, or in that of rows measured elsewhere, from which the ledger can be rebuilt. */
export interface ResultFile {
  version: 1
  kind: Task['kind'] | 'import'
  key: string
  seconds: number
  outcome: Outcome
}
