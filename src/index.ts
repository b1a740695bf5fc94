// The library: what a program may import from bitlaw. Each line is one folder's part.
export * from './formats/index.ts'
// The laws have a column of that name; the function is that of formats.
export { totalBits } from './formats/index.ts'

export * from './laws/index.ts'
export { countParameters, type ModelConfig, type Precision, parameterSpecs } from './model/config.ts'
export { type GenerateOptions, generate } from './model/generate.ts'
export { createInference, type Inference, type InferenceOptions } from './model/inference.ts'
export { initialModel, type Model, widenModel } from './model/model.ts'
export { createTrainingStep, type TrainingOptions, type TrainingStep } from './model/training.ts'
export { filterRows, mapColumns, parseWhere, type Row, readRows, type Table } from './table/index.ts'
export { createKernels } from './tensor/index.ts'
export type { Kernels } from './tensor/kernels.ts'
export { parseRunConfig, type RunConfig, type RunConfigInput } from './train/config.ts'
export { type RunResult, type StepReport, TrainingInterrupted, type TrainOptions, train } from './train/trainer.ts'
