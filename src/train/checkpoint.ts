// Checkpoints of a run: a Hugging Face folder with the master weights, and beside them what continues the run exactly:
// optimizer.safetensors (AdamW's means, the weight average) and training.json (the step; data and random numbers are
// functions of it). Written under another name and renamed, so a folder step-… is whole. No clock, no path and no number
// of threads goes into one: the same run gives the same bytes.
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors.ts'
import { loadModel } from '../model/load.ts'
import type { Model } from '../model/model.ts'
import { saveModel } from '../model/save.ts'
import type { TrainedParameter } from '../model/training.ts'
import type { Floats } from '../tensor/kernels.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { WeightAverage } from './average.ts'
import type { DivergenceState, Verdict } from './divergence.ts'
import type { Optimizer } from './optimizer.ts'

/** Where a run stands: training.json. */
export interface Position {
  step: number
  tokens: number
  divergence: DivergenceState
  verdict: Verdict
  /** The run is over; the weights are its result (averaged where that was asked for). */
  finished: boolean
  averageCount: number
  /** Instruction paths and builds the run was computed on, in order; more than one: resumed on another. */
  isa: string[]
  build: string[]
  /** The run configuration, with a hash of the data in place of where it was read from. */
  run: Record<string, unknown>
}

/** The state of a run in memory. */
export interface RunState {
  model: Model
  parameters: readonly TrainedParameter[]
  optimizer: Optimizer
  average: WeightAverage | null
}

const name = (step: number) => `step-${String(step).padStart(7, '0')}`

/** Folders of whole checkpoints in a run's folder, the last step first. */
export function listCheckpoints(out: string): { step: number; folder: string }[] {
  if (!existsSync(out)) return []
  return readdirSync(out)
    .map(entry => ({ step: Number(/^step-(\d+)$/.exec(entry)?.[1] ?? Number.NaN), folder: join(out, entry) }))
    .filter(({ step, folder }) => step >= 0 && existsSync(join(folder, 'training.json')))
    .sort((a, b) => b.step - a.step)
}

/** Removes what a killed process left half written. */
export function removePartial(out: string): void {
  if (!existsSync(out)) return
  for (const entry of readdirSync(out))
    if (/^\.+(partial-)?step-|\.partial$/.test(entry)) rmSync(join(out, entry), { recursive: true, force: true })
}

/** Writes the checkpoint of a step, whole or not at all, and returns its folder; one that exists is kept (it is the same). */
export async function writeCheckpoint(
  out: string,
  { model, parameters, optimizer, average }: RunState,
  position: Position,
  { tokenizer, bitlaw }: { tokenizer: Tokenizer; bitlaw: Record<string, unknown> },
): Promise<string> {
  const folder = join(out, name(position.step))
  if (existsSync(join(folder, 'training.json')) && readPosition(folder).finished === position.finished) return folder
  const partial = join(out, `.partial-${name(position.step)}`)
  rmSync(partial, { recursive: true, force: true })
  await saveModel(partial, model, { tokenizer, bitlaw, dtype: 'float32' })
  const tensors: TensorToWrite[] = []
  for (const [i, { name: parameter }] of parameters.entries()) {
    const add = (kind: string, values: Floats) =>
      tensors.push({
        name: `${kind}.${parameter}`,
        dtype: 'F32',
        shape: [values.length],
        data: () => (values instanceof Float32Array ? values : Float32Array.from(values)),
      })
    add('m', optimizer.m[i])
    add('v', optimizer.v[i])
    if (average && average.count > 0) add('average', average.means[i])
  }
  writeSafetensors(join(partial, 'optimizer.safetensors'), tensors)
  writeFileSync(join(partial, 'training.json'), `${JSON.stringify(position, null, 1)}\n`)
  for (const file of readdirSync(partial)) {
    const descriptor = openSync(join(partial, file), 'r')
    fsyncSync(descriptor)
    closeSync(descriptor)
  }
  rmSync(folder, { recursive: true, force: true })
  renameSync(partial, folder)
  return folder
}

/** training.json of a checkpoint. */
export function readPosition(folder: string): Position {
  return JSON.parse(readFileSync(join(folder, 'training.json'), 'utf8')) as Position
}

/** The last checkpoint that a run can go on from. */
export function lastState(out: string): string | undefined {
  return listCheckpoints(out).find(({ folder }) => existsSync(join(folder, 'optimizer.safetensors')))?.folder
}

/** Puts a checkpoint's weights and optimizer into a state of the same model. */
export async function readCheckpoint(folder: string, { parameters, optimizer, average }: RunState): Promise<Position> {
  const position = readPosition(folder)
  const stored = await loadModel(folder, { dtype: 'float32', tokenizer: false })
  for (const { name: parameter, weight } of parameters) weight.set(stored.parameters.get(parameter)!)
  const tensors = openSafetensors(join(folder, 'optimizer.safetensors'))
  try {
    const fill = (key: string, into: Floats) => into.set(new Float32Array(tensors.read(key).buffer))
    for (const [i, { name: parameter }] of parameters.entries()) {
      fill(`m.${parameter}`, optimizer.m[i])
      fill(`v.${parameter}`, optimizer.v[i])
      if (average && position.averageCount > 0) fill(`average.${parameter}`, average.means[i])
    }
  } finally {
    tensors.close()
  }
  optimizer.steps = position.step
  if (average) average.count = position.averageCount
  return position
}

/** Removes checkpoints before `step` that were not asked for, and the optimizer's state of those that were. */
export function pruneCheckpoints(out: string, step: number, kept: ReadonlySet<number>): void {
  for (const { step: old, folder } of listCheckpoints(out)) {
    if (old >= step) continue
    if (!kept.has(old)) rmSync(folder, { recursive: true })
    else rmSync(join(folder, 'optimizer.safetensors'), { force: true })
  }
}
