// Chooses the implementation of the kernels: native where it was built, else the reference, which says that it is slow and why.
import { availableParallelism } from 'node:os'
import { missingReason } from './addon.ts'
import type { Kernels } from './kernels.ts'
import { createNative } from './native.ts'
import { createReference } from './reference.ts'

let told = false

/** Kernels for this machine; threads: all processors unless given. */
export function createKernels({ threads = availableParallelism() }: { threads?: number } = {}): Kernels {
  const native = createNative({ threads })
  if (native !== undefined) return native
  if (!told) console.error(`bitlaw: computing in TypeScript, which is very slow: no native kernels, ${missingReason()}`)
  told = true
  return createReference({ float: 'float32' })
}
