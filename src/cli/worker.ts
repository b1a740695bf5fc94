// `bitlaw worker`: joins a study's queue from another process or machine.
import type { Command } from 'commander'
import { usualProcesses } from '../study/calibrate.ts'
import { taskName } from '../study/status.ts'
import { runWorker } from '../study/worker.ts'
import { parseQuantity } from '../table/quantity.ts'
import { threadsOf } from './options.ts'
import { printJson, printText } from './output.ts'

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<folder>', "the study's folder, on a file system that all workers share")
    .option('--threads <n>', 'runs at once, one thread each (one a core)')
    .option('--wait <time>', 'how long to wait for the study to begin', '5m')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nThe ledger is the server that DATABASE_URL names. Files for Slurm and Kubernetes are in deploy/.',
    )
    .action(workerVerb)
}

async function workerVerb(folder: string, options: { threads?: string; wait: string; json?: boolean }): Promise<void> {
  const processes = threadsOf(options.threads) ?? usualProcesses()
  const stop = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130)
    stop.abort()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  let last = 0
  const result = await runWorker({
    folder,
    processes,
    waitSeconds: parseQuantity(options.wait, 'seconds', '--wait'),
    signal: stop.signal,
    onChange({ finished, running }) {
      if (performance.now() - last < 15_000) return
      last = performance.now()
      process.stderr.write(
        `worker: ${finished} jobs done; ${running.map(({ task, progress }) => `${taskName(task)} ${Math.round(100 * progress.share)}%`).join(', ')}\n`,
      )
    },
  })
  const { finished, failed, stopped } = result
  if (options.json) printJson({ finished, failed, stopped })
  else printText(`${finished} jobs done${failed ? `, ${failed} of them failed` : ''}${stopped ? '; stopped' : ''}`)
}
