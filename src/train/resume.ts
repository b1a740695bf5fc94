// What a run that is resumed must have in common with the one it goes on from.
import { RequestError } from '../formats/error.ts'
import type { Kernels } from '../tensor/kernels.ts'
import type { Position } from './checkpoint.ts'
import type { RunConfig } from './config.ts'

/** What a resumed run must share with the one it goes on from. */
export function identity(run: RunConfig, dataKey: string): Record<string, unknown> {
  const { name: _, data: __, save: ___, ...rest } = run
  return JSON.parse(JSON.stringify({ ...rest, data: dataKey })) as Record<string, unknown>
}

/** Throws RequestError where the configuration is not the one that the state in `out` was made by. */
export function checkSameRun(position: Position, run: Record<string, unknown>, out: string): void {
  for (const key of new Set([...Object.keys(position.run), ...Object.keys(run)])) {
    const [before, now] = [JSON.stringify(position.run[key]), JSON.stringify(run[key])]
    if (before !== now)
      throw new RequestError(
        `'${out}' holds another run: its ${key} is ${before ?? 'not given'}, not ${now ?? 'left out'}; expected the same configuration to resume`,
      )
  }
}

/** Throws RequestError where the state was computed on another instruction path or build, unless allowed: then both are noted in the position. */
export function checkSameMachine(position: Position, kernels: Kernels, allow: boolean): void {
  const [isa, build] = [position.isa.at(-1), position.build.at(-1)]
  if (isa === kernels.isa && build === kernels.build) return
  if (!allow)
    throw new RequestError(
      `the run was computed on ${isa} (build ${build}), not ${kernels.isa} (build ${kernels.build}), which gives other bits; expected the same, or --allow-other-isa`,
    )
  position.isa.push(kernels.isa)
  position.build.push(kernels.build)
}

/** Names of paths or builds in the order they were used, each once. */
export const joined = (names: readonly string[]) => [...new Set(names)].join('+')
