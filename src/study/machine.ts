// What a result was computed on and with, kept beside every number.
import { readFileSync } from 'node:fs'
import { arch, cpus, platform, totalmem } from 'node:os'

let machine: Record<string, unknown> | undefined

/** This machine: processor, cores, memory, system. Not its name, which says nothing about a number. */
export function machineRecord(): Record<string, unknown> {
  if (!machine) {
    const cores = cpus()
    machine = {
      cpu: cores[0]?.model.trim() ?? 'unknown',
      cores: cores.length,
      memory: totalmem(),
      platform: platform(),
      arch: arch(),
    }
  }
  return machine
}

/** Processor time of this process so far, in seconds: what else runs on the machine does not count. */
export function processorSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

let versions: Record<string, string> | undefined

/** Versions of Bitlaw and of Node. */
export function versionRecord(): Record<string, string> {
  if (!versions) {
    const url = new URL('../../package.json', import.meta.url)
    versions = {
      bitlaw: (JSON.parse(readFileSync(url, 'utf8')) as { version: string }).version,
      node: process.versions.node,
    }
  }
  return versions
}
