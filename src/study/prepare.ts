// What is settled before the first run: which runs fit a budget, and that the data is there and tokenized once.

import { dataSchema } from '../train/config.ts'
import { openData } from '../train/data.ts'
import { withinBudget } from './budget.ts'
import { type PlanCost, planCost, type Rates } from './cost.ts'
import { countQuantizations, expandRuns, type PlannedRun } from './expand.ts'
import { placeData } from './paths.ts'
import { corpora } from './points.ts'
import type { Spec } from './spec.ts'
import { rootsOf } from './study.ts'

/** The runs of a specification, those that a budget in seconds leaves. */
export function choosePlan(
  spec: Spec,
  rates: Rates,
  processes: number,
  seconds: number | null,
): { runs: PlannedRun[]; leftOut: number } {
  const all = expandRuns(spec)
  const runs = seconds === null ? all : withinBudget(spec, all, rates, processes, seconds)
  return { runs, leftOut: all.length - runs.length }
}

/** What a study's row keeps of its plan. */
export function sumsOf(spec: Spec, runs: PlannedRun[], processes: number, rates: Rates | null = null) {
  const cost: PlanCost = planCost(spec, runs, rates, processes)
  const measured = runs.reduce((sum, run) => sum + 1 + countQuantizations(spec, run), 0)
  const trainings = new Set(runs.filter(run => run.kind !== 'checkpoint').map(run => run.cluster)).size
  return { runs, seconds: cost.seconds, flops: cost.flops, measurements: measured, jobs: trainings + runs.length }
}

/** Opens each corpus once, so that children find their shards and vocabularies ready; throws a RequestError where a corpus is not there. */
export async function prepareData(spec: Spec, source: string): Promise<void> {
  if (!spec.models.length || spec.trainer) return
  for (const { data } of corpora(spec)) {
    const placed = dataSchema.parse(placeData(data, rootsOf(source)))
    // A share that is held out is drawn by the seed; the shards are the same, a vocabulary is of the training part.
    const seeds = typeof placed.valid === 'object' && 'share' in placed.valid ? spec.seeds : [spec.seeds[0]]
    for (const seed of seeds) {
      const { train, valid } = await openData(placed, seed)
      train.close()
      valid.close()
    }
  }
}
