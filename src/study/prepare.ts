// What is settled before the first run: which runs fit a budget, and that the data is there and tokenized once.

import { RequestError } from '../formats/error.ts'
import { dataSchema } from '../train/config.ts'
import { openData } from '../train/data.ts'
import { withinBudget } from './budget.ts'
import { calibrate } from './calibrate.ts'
import { type PlanCost, planCost, type Rates } from './cost.ts'
import { countQuantizations, expandRuns, type PlannedRun } from './expand.ts'
import { placeData } from './paths.ts'
import { corpora } from './points.ts'
import { sampleRuns } from './sample.ts'
import type { Spec } from './spec.ts'
import { rootsOf } from './study.ts'

/** What is wanted of a specification: a budget in seconds, a random share. */
export interface Choice {
  processes: number
  seconds: number | null
  sample: { share: number; seed: number } | null
}

/** The runs that a budget and a sample leave, and what this machine was measured to do with them. */
export async function choosePlan(
  spec: Spec,
  { processes, seconds, sample }: Choice,
): Promise<{ runs: PlannedRun[]; leftOut: number; rates: Rates; whole: PlanCost }> {
  const all = expandRuns(spec)
  if (!all.length) throw new RequestError(`'exclude' leaves no run of the study '${spec.name}', expected at least one`)
  const rates = await calibrate(spec, all)
  const affordable = seconds === null ? all : withinBudget(spec, all, rates, processes, seconds)
  const runs = sample === null ? affordable : sampleRuns(spec, affordable, rates, sample.share, sample.seed)
  return { runs, leftOut: all.length - runs.length, rates, whole: planCost(spec, all, rates, processes) }
}

/** What a study's row keeps of its plan. */
export function sumsOf(
  spec: Spec,
  runs: PlannedRun[],
  processes: number,
  rates: Rates | null = null,
  sample: Choice['sample'] = null,
) {
  const cost: PlanCost = planCost(spec, runs, rates, processes)
  const measured = runs.reduce((sum, run) => sum + 1 + countQuantizations(spec, run), 0)
  const trainings = new Set(runs.filter(run => run.kind !== 'checkpoint').map(run => run.cluster)).size
  return {
    runs,
    seconds: cost.seconds,
    flops: cost.flops,
    measurements: measured,
    jobs: trainings + runs.length,
    rates,
    processes,
    sample,
  }
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
