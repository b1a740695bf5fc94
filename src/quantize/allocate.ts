// Bits by budget: each tensor gets one format of a menu so that the sum of what they lose is least and the sum of their
// bits is within the budget. A Lagrangian bound and branch and bound give the optimum, or a stated gap where the search
// is cut short; the losses are measured, not guessed.

/** What a tensor may become: its bits, and what that loses. */
export interface Choice {
  format: string
  bits: number
  /** Measured damage, in any unit that adds up over tensors. */
  loss: number
}

/** A chosen format for each tensor. */
export interface Allocation {
  /** Index into each tensor's choices. */
  chosen: number[]
  bits: number
  loss: number
  /** No allocation loses less than this. */
  bound: number
  /** (loss - bound) / loss; 0: optimal. */
  gap: number
}

/** Choices that no cheaper (or equally cheap) one beats, by rising bits; of equal ones the first. */
function undominated(choices: readonly Choice[]): number[] {
  const order = choices
    .map((_, i) => i)
    .sort((a, b) => choices[a].bits - choices[b].bits || choices[a].loss - choices[b].loss || a - b)
  const kept: number[] = []
  for (const i of order) if (kept.length === 0 || choices[i].loss < choices[kept[kept.length - 1]].loss) kept.push(i)
  return kept
}

/** Best choice of each tensor at a price per bit, the cheaper of equals. */
function atPrice(tensors: readonly (readonly Choice[])[], menus: readonly number[][], price: number) {
  let bits = 0
  let loss = 0
  const chosen = menus.map((menu, t) => {
    let best = menu[0]
    for (const i of menu)
      if (tensors[t][i].loss + price * tensors[t][i].bits < tensors[t][best].loss + price * tensors[t][best].bits)
        best = i
    bits += tensors[t][best].bits
    loss += tensors[t][best].loss
    return best
  })
  return { chosen, bits, loss }
}

/** Price per bit at which the relaxed problem just fits the budget. */
function priceOf(tensors: readonly (readonly Choice[])[], menus: readonly number[][], budget: number): number {
  if (atPrice(tensors, menus, 0).bits <= budget) return 0
  let low = 0
  let high = 1e-12
  while (atPrice(tensors, menus, high).bits > budget) high *= 4
  for (let step = 0; step < 200; step++) {
    const middle = (low + high) / 2
    if (atPrice(tensors, menus, middle).bits > budget) low = middle
    else high = middle
  }
  return high
}

/**
 * The allocation of least loss within `budget` bits; undefined where not even the smallest choices fit. The search ends
 * after `nodes` branches with what it has and the gap to the bound.
 */
export function allocate(
  tensors: readonly (readonly Choice[])[],
  budget: number,
  { nodes = 2_000_000 } = {},
): Allocation | undefined {
  const menus = tensors.map(undominated)
  const least = menus.map((menu, t) => tensors[t][menu[0]].bits)
  if (least.reduce((a, b) => a + b, 0) > budget) return undefined
  const price = priceOf(tensors, menus, budget)
  const start = atPrice(tensors, menus, price)
  const bound = start.loss - price * (budget - start.bits)

  // Fill what is left with the steps that save most.
  const best = { ...start, chosen: [...start.chosen] }
  for (;;) {
    let gain = 0
    let step: { t: number; i: number } | undefined
    menus.forEach((menu, t) => {
      const now = tensors[t][best.chosen[t]]
      for (const i of menu) {
        const saved = now.loss - tensors[t][i].loss
        if (best.bits - now.bits + tensors[t][i].bits <= budget && saved > gain) {
          gain = saved
          step = { t, i }
        }
      }
    })
    if (!step) break
    const { t, i } = step
    best.bits += tensors[t][i].bits - tensors[t][best.chosen[t]].bits
    best.chosen[t] = i
  }
  best.loss = best.chosen.reduce((sum, i, t) => sum + tensors[t][i].loss, 0)

  // Branch and bound: tensors with most at stake first; what is left is bounded by its relaxed loss at the price found.
  const order = menus.map((_, t) => t).sort((a, b) => spread(tensors[b], menus[b]) - spread(tensors[a], menus[a]))
  const relaxed = new Float64Array(order.length + 1)
  const smallest = new Float64Array(order.length + 1)
  for (let place = order.length - 1; place >= 0; place--) {
    const t = order[place]
    relaxed[place] =
      relaxed[place + 1] + Math.min(...menus[t].map(i => tensors[t][i].loss + price * tensors[t][i].bits))
    smallest[place] = smallest[place + 1] + least[t]
  }
  let left = nodes
  let cut = false
  const path = [...best.chosen]
  const descend = (place: number, bits: number, loss: number): void => {
    if (cut) return
    if (left-- <= 0) {
      cut = true
      return
    }
    if (place === order.length) {
      if (loss < best.loss) Object.assign(best, { loss, bits, chosen: [...path] })
      return
    }
    const t = order[place]
    const byPromise = [...menus[t]].sort((a, b) => reduced(tensors[t][a], price) - reduced(tensors[t][b], price))
    for (const i of byPromise) {
      const { bits: more, loss: lost } = tensors[t][i]
      if (bits + more + smallest[place + 1] > budget) continue
      const floor = loss + lost + relaxed[place + 1] - price * (budget - bits - more)
      if (floor >= best.loss * (1 - 1e-12)) continue
      path[t] = i
      descend(place + 1, bits + more, loss + lost)
    }
  }
  descend(0, 0, 0)
  const floor = cut ? Math.min(bound, best.loss) : best.loss
  return { ...best, bound: floor, gap: best.loss > 0 ? Math.max(0, (best.loss - floor) / best.loss) : 0 }
}

function spread(choices: readonly Choice[], menu: readonly number[]): number {
  return choices[menu[0]].loss - choices[menu[menu.length - 1]].loss
}

function reduced({ loss, bits }: Choice, price: number): number {
  return loss + price * bits
}
