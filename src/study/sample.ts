// A random share of a study, to be really run before the whole: what it takes says how far the plan's seconds can be trusted.
//
// The unit is a training with all that is done with it (its runs, their quantizations and scores). Trainings are put in
// the order of their model and of their predicted time, and every k-th is drawn from a random start (k = 1 / share), so
// that each has the same chance and no size is left out or doubled. Of many such draws the first is kept whose predicted
// time is the share of the whole to within a twentieth, or the nearest one.
import { createCosts, kindOf, ownShare, type Rates } from './cost.ts'
import type { PlannedRun } from './expand.ts'
import { sha256 } from './key.ts'
import type { Spec } from './spec.ts'

const DRAWS = 1000
const NEAR = 0.05

/** A number from 0 to 1 for each number of draw, by the seed. */
function uniform(seed: number, draw: number): number {
  return Number.parseInt(sha256(`sample ${seed} ${draw}`).slice(0, 12), 16) / 16 ** 12
}

/** The runs of a random share of the trainings; at least one. */
export function sampleRuns(
  spec: Spec,
  runs: readonly PlannedRun[],
  rates: Rates,
  share: number,
  seed: number,
): PlannedRun[] {
  const costs = createCosts(spec, rates)
  const groups = new Map<string, { name: string; seconds: number; runs: PlannedRun[] }>()
  for (const run of runs) {
    const { training, quantizing, evaluating } = costs(run)
    const group = groups.get(run.cluster) ?? { name: kindOf(run), seconds: 0, runs: [] }
    groups.set(run.cluster, group)
    group.seconds += training * ownShare(run) + quantizing + evaluating
    group.runs.push(run)
  }
  const list = [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.seconds - b.seconds))
  const wanted = share * list.reduce((sum, group) => sum + group.seconds, 0)
  let best: typeof list = []
  let distance = Number.POSITIVE_INFINITY
  for (let draw = 0; draw < DRAWS && distance > NEAR * wanted; draw++) {
    // The start within each stretch of 1 / share trainings is drawn anew, else there were only 1 / share samples.
    const drawn: typeof list = []
    for (let i = 0; i * (1 / share) < list.length; i++) {
      const at = Math.floor((i + uniform(seed, draw * list.length + i)) / share)
      if (at < list.length) drawn.push(list[at])
    }
    const seconds = drawn.reduce((sum, group) => sum + group.seconds, 0)
    if (drawn.length && Math.abs(seconds - wanted) < distance) {
      best = drawn
      distance = Math.abs(seconds - wanted)
    }
  }
  return (best.length ? best : list.slice(0, 1)).flatMap(group => group.runs)
}
