// Runs a study with the tests' workload in a process of its own, to be killed: `study-owner.ts FOLDER SPEC PROCESSES [LEASE]`.
import { readFileSync } from 'node:fs'
import { expandRuns, itemsOf } from '../src/study/expand.ts'
import { runStudy } from '../src/study/study.ts'

const [folder, spec, processes, leaseSeconds = '60'] = process.argv.slice(2)
try {
  const result = await runStudy({
    folder,
    text: readFileSync(spec, 'utf8'),
    source: spec,
    processes: Number(processes),
    leaseSeconds: Number(leaseSeconds),
    work: new URL('./study-work.ts', import.meta.url).href,
    plan: async read => {
      const runs = expandRuns(read)
      return {
        runs,
        seconds: 0,
        flops: 0,
        jobs: 0,
        measurements: runs.reduce((sum, run) => sum + itemsOf(read, run).items.length, 0),
      }
    },
  })
  process.stdout.write(`finished ${result.finished}\n`)
} catch (error) {
  process.stderr.write(`${(error as Error).name}: ${(error as Error).message}\n`)
  process.exit(1)
}
