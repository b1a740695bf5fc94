// The table of docs/low-bit-training.md: runs of `bitlaw train`, each against the one before it and against the first,
// on the same held-out windows.
// npx tsx docs/low-bit-training/compare.ts runs/w16 runs/w8 runs/w6 runs/w4 runs/w3
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Estimate, estimate, interval, isTie, pairedEstimate } from '../../src/evaluate/statistics.ts'
import type { RunResult } from '../../src/train/result.ts'

interface Run {
  result: RunResult
  losses: number[]
}

function read(folder: string): Run {
  const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  return { result: json('result.json') as RunResult, losses: json('validation.json').losses as number[] }
}

function difference(run: Run, other: Run | undefined): string {
  if (other === undefined) return ''
  const paired: Estimate = pairedEstimate(run.losses, other.losses)
  const [low, high] = interval(paired).map(bound => (bound >= 0 ? '+' : '') + bound.toFixed(4))
  return `${low} … ${high}${isTie(paired) ? ' (a tie)' : ''}`
}

const runs = process.argv.slice(2).map(read)
console.log('| weights | validation loss | against the row above, 95% | against the first row, 95% |')
console.log('|---|---|---|---|')
for (const [i, run] of runs.entries()) {
  const { mean, standardError } = estimate(run.losses)
  const against = [difference(run, runs[i - 1]), difference(run, i > 0 ? runs[0] : undefined)]
  console.log(
    `| ${run.result.precision.weights} | ${mean.toFixed(4)} ± ${standardError.toFixed(4)} | ${against.join(' | ')} |`,
  )
}
