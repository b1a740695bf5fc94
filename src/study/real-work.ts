// What a study's children really do: train by train/ (or an external command), quantize by quantize/, score by evaluate/.
import { createKernels } from '../tensor/index.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { externalTask } from './external.ts'
import { measureTask } from './measure-task.ts'
import { trainTask } from './train-task.ts'
import type { Work } from './work.ts'

const made = new Map<number, Kernels>()

/** One set of kernels a process, for all its tasks. */
function kernelsOf(threads: number): Kernels {
  let kernels = made.get(threads)
  if (!kernels) {
    kernels = createKernels({ threads })
    made.set(threads, kernels)
  }
  return kernels
}

/** The functions that a child process calls. */
export const work: Work = {
  train: (task, context) =>
    task.trainer === null ? trainTask(task, kernelsOf(context.threads), context) : externalTask(task, context),
  measure: (task, context) => measureTask(task, kernelsOf(context.threads), context),
}
