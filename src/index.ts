// The library: what a program may import from bitlaw. Each line is one folder's part.

export * from './laws/index.ts'
export { filterRows, mapColumns, parseWhere, type Row, readRows, type Table } from './table/index.ts'
export { parseRunConfig, type RunConfig, type RunConfigInput } from './train/config.ts'
export { type RunResult, type StepReport, TrainingInterrupted, type TrainOptions, train } from './train/trainer.ts'
