// Opens the compiled kernels (native/build/bitlaw.node), or knows why they are missing.
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RequestError } from '../formats/error.ts'

/** The addon: functions whose first argument is an engine; native/export_*.cpp says the rest. */
export interface Addon {
  readonly build: string
  /** Digest of the sources that it was built from. */
  readonly sources: string
  create(threads: number, isa: string): Engine | undefined
  pathName(engine: Engine): string
  /** Instruction paths of this processor, best first. */
  paths(): string[]
  // biome-ignore lint/suspicious/noExplicitAny: each function checks its own arguments
  [name: string]: any
}

/** One pool of threads on one instruction path. */
export type Engine = { readonly engine: unique symbol }

/** Instruction paths, as BITLAW_ISA names them (besides `typescript`: no native kernels); for tests also amx-emulated, the AMX path's products without its registers. */
export const PATHS = ['amx', 'avx512bf16', 'avx2', 'portable'] as const

const file = fileURLToPath(new URL('../../native/build/bitlaw.node', import.meta.url))
const digestFile = fileURLToPath(new URL('../../native/sources.cjs', import.meta.url))
const reasonFile = fileURLToPath(new URL('../../native/build/reason.txt', import.meta.url))
let loaded: { addon?: Addon; reason: string } | undefined

/** Throws RequestError where kernels were built from other sources than those beside them. */
function checkSources({ sources }: Addon): void {
  const digest: string = existsSync(digestFile) ? createRequire(import.meta.url)(digestFile).digestSources() : ''
  if (digest !== '' && digest !== sources)
    throw new RequestError(
      `the native kernels were built from other sources: rebuild them by node ${join(dirname(digestFile), 'build.mjs')}, or go without (slowly) by BITLAW_ISA=typescript`,
    )
}

/** The addon, or why there is none; opened once. Throws RequestError where its sources have changed since it was built. */
export function openAddon(): { addon?: Addon; reason: string } {
  if (loaded !== undefined) return loaded
  if (process.env['BITLAW_ISA'] === 'typescript') {
    loaded = { reason: 'BITLAW_ISA=typescript asks for none' }
    return loaded
  }
  let addon: Addon | undefined
  let reason = ''
  try {
    addon = createRequire(import.meta.url)(file)
  } catch (error) {
    reason = 'they were not built: run npm install with a C++ compiler'
    if (existsSync(file)) reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    else if (existsSync(reasonFile)) reason = readFileSync(reasonFile, 'utf8').trim().split('\n')[0]
  }
  if (addon) checkSources(addon)
  loaded = { addon, reason }
  return loaded
}

/** Why there are no native kernels; empty where there are. */
export function missingReason(): string {
  return openAddon().reason
}

/** Instruction paths that native kernels can take here, best first; none where they are not built. */
export function pathsHere(): string[] {
  return openAddon().addon?.paths() ?? []
}

/** An engine of so many threads (the calling one counts) on `isa`, BITLAW_ISA, or the processor's best path; undefined where the addon is missing. */
export function createEngine(options: { threads: number; isa?: string }): { addon: Addon; engine: Engine } | undefined {
  const { addon } = openAddon()
  if (addon === undefined) return undefined
  const isa = options.isa ?? process.env['BITLAW_ISA'] ?? ''
  if (isa !== '' && isa !== 'amx-emulated' && !(PATHS as readonly string[]).includes(isa))
    throw new RequestError(`unknown instruction path '${isa}' (expected ${PATHS.join(', ')})`)
  const engine = addon.create(options.threads, isa)
  if (engine === undefined)
    throw new RequestError(`this processor has no instruction path '${isa}' (it has ${addon.paths().join(', ')})`)
  return { addon, engine }
}
