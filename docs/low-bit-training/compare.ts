// The tables of docs/low-bit-training.md: runs of `bitlaw train`, each against the one before it and against the first,
// on the same held-out windows; then how far each is from the first along the way.
// npx tsx docs/low-bit-training/compare.ts runs/w16 runs/w8 runs/w6 runs/w4 runs/w3
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Estimate, estimate, interval, isTie, pairedEstimate } from '../../src/evaluate/statistics.ts'
import type { RunResult } from '../../src/train/result.ts'

interface Run {
  result: RunResult
  losses: number[]
  /** Held-out loss by tokens seen, along the run. */
  curve: Map<number, number>
}

function read(folder: string): Run {
  const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const steps = readFileSync(join(folder, 'log.jsonl'), 'utf8').trim().split('\n')
  const curve = new Map<number, number>()
  for (const { tokens, validLoss } of steps.map(line => JSON.parse(line) as { tokens: number; validLoss?: number }))
    if (validLoss !== undefined) curve.set(tokens, validLoss)
  return { result: json('result.json') as RunResult, losses: json('validation.json').losses as number[], curve }
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

const first = runs[0].curve
console.log(`\n| weights | ${[...first.keys()].map(tokens => `${(tokens / 1e6).toFixed(0)}M tokens`).join(' | ')} |`)
console.log(`|---|${'---|'.repeat(first.size)}`)
for (const run of runs) {
  const cells = [...first].map(([tokens, base]) => {
    const loss = run.curve.get(tokens)
    if (loss === undefined) return ''
    return run === runs[0] ? loss.toFixed(4) : (loss >= base ? '+' : '') + (loss - base).toFixed(4)
  })
  console.log(`| ${run.result.precision.weights} | ${cells.join(' | ')} |`)
}
