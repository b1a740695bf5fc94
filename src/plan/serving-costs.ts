// The page docs/serving-costs.md, computed: which assumptions give the well-known "$191M to train, about $6B a year to
// serve", and what serving at k bits, or training a smaller model for longer, would save of it.
import { findLaw } from '../laws/catalogue.ts'
import { printQuantity } from '../table/quantity.ts'
import { ECONOMICS, flopsFor } from './cost.ts'
import { DEVICES } from './devices.ts'
import { EXAMPLE_TRAINING_DOLLARS, HALF_OF_ALL_SEARCHES, lifetimeCost, SERVING, yearOfService } from './lifetime.ts'
import { planTraining, tied } from './train.ts'

/** Cost of serving with n parameters at so many bits per parameter over that at 16, by the device's bandwidth and operations. */
export function servingShare(n: number, bits: number, device = h100()): number {
  return lifetimeCost(n, 1, bits, device).deviceHours / lifetimeCost(n, 1, 16, device).deviceHours
}

const h100 = () => DEVICES.find(one => one.name === 'h100')!

/** One way to train the model of the example. */
export interface Retrained {
  n: number
  d: number
  loss: number
  trainingDollars: number
  yearlyDollars: number
  totalDollars: number
}

/** The compute-optimal model that the example's money buys, and the one of the same loss that costs least over some years of service, whose cost is proportional to N. */
export function retrained(years: number): { optimal: Retrained; smaller: Retrained } {
  const law = findLaw('chinchilla')
  const { parameters } = law.fits.find(fit => fit.name === 'besiroglu2024')!
  const compute = flopsFor(EXAMPLE_TRAINING_DOLLARS, h100(), ECONOMICS)!
  const { tokens, dollars } = yearOfService(HALF_OF_ALL_SEARCHES)
  const common = { bits: tied(16), cost: { kind: 'bits' } } as const
  const optimal = planTraining(law, parameters, { ...common, compute })
  if ('infeasible' in optimal) throw new Error(optimal.infeasible)
  const { n, loss } = optimal.plan
  // A dollar of training buys so many FLOPs; a dollar of service fewer: tokens are weighed by what they cost.
  const perTrainingFlop = EXAMPLE_TRAINING_DOLLARS / compute
  const perServingFlop = dollars / (2 * n * tokens)
  const inferenceTokens = years * tokens * (perServingFlop / perTrainingFlop)
  const small = planTraining(law, parameters, { ...common, loss, inferenceTokens })
  if ('infeasible' in small) throw new Error(small.infeasible)
  const account = (plan: { n: number; d: number; loss: number }): Retrained => {
    const trainingDollars = 6 * plan.n * plan.d * perTrainingFlop
    const yearlyDollars = (dollars * plan.n) / n
    return {
      n: plan.n,
      d: plan.d,
      loss: plan.loss,
      trainingDollars,
      yearlyDollars,
      totalDollars: trainingDollars + years * yearlyDollars,
    }
  }
  return { optimal: account(optimal.plan), smaller: account(small.plan) }
}

const BITS: readonly (readonly [string, number])[] = [['bf16', 16], ['int8@64', 8.25], ['int6@64', 6.25], ['int4@64', 4.25], ['int3@64', 3.25]] // biome-ignore format: a table

const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`

/** The page in Markdown. */
export function servingCostsMarkdown(): string {
  const service = HALF_OF_ALL_SEARCHES
  const { tokens, dollars } = yearOfService(service)
  const money = (value: number) => printQuantity(value, 'money')
  const years = 3
  const { optimal, smaller } = retrained(years)
  const size = 70e9
  const lines = [
    '# What serving costs, and what bits save',
    '',
    'The example that made the rounds in 2024: a flagship model cost an estimated $191M to train (AI Index 2024, Gemini Ultra), but answering half of all web searches with 50 words each would cost about $6B a year. These are the assumptions that give it; `yearOfService` in `src/plan/lifetime.ts` computes it, and a test holds this page to the code.',
    '',
    row('assumption', 'value'),
    row('---', '---'),
    row('searches a day, all users', printQuantity(service.queriesPerDay)),
    row('share answered by the model', `${service.share * 100}%`),
    row('words an answer', service.wordsPerAnswer),
    row('tokens a word', service.tokensPerWord.toFixed(2)),
    row('price of a million output tokens', `$${service.dollarsPerMillionTokens} (list price of GPT-4, March 2023)`),
    row('**tokens a year**', printQuantity(tokens)),
    row('**dollars a year**', money(dollars)),
    row('over the cost of training', `${(dollars / EXAMPLE_TRAINING_DOLLARS).toFixed(0)} times`),
    '',
    'The price is what moved most since: at $1 a million tokens the same year costs ' +
      money(yearOfService({ ...service, dollarsPerMillionTokens: 1 }).dollars) +
      '. The shares below do not depend on it.',
    '',
    '## Fewer bits',
    '',
    `Generating a token reads every weight, so while memory bandwidth binds, cost falls with the bits stored. The KV cache and, in large batches, arithmetic do not shrink with the weights. For a model of ${printQuantity(size)} parameters on an H100 (${SERVING.batch} sequences at once, ${SERVING.context} tokens each in a 16-bit cache of ${SERVING.kvHeads} heads), by \`lifetimeCost\`:`,
    '',
    row('weights', 'bits per parameter', 'cost', 'saved a year'),
    row('---', '---', '---', '---'),
    ...BITS.map(([format, bits]) => {
      const share = servingShare(size, bits)
      return row(format, bits, `${(share * 100).toFixed(0)}%`, money(dollars * (1 - share)))
    }),
    '',
    'Each needs its loss measured first: `bitlaw check MODEL --measure TEXT`, then `bitlaw evaluate … --gate`.',
    '',
    '## A smaller model, trained for longer',
    '',
    `By Chinchilla's law (the constants of Besiroglu et al. 2024), the compute that $191M buys on rented H100s gives a compute-optimal model; the model of the same loss whose training and ${years} years of service cost least is smaller (Sardana et al. 2023), service being charged in proportion to N:`,
    '',
    row('', 'compute-optimal', 'least over its life'),
    row('---', '---', '---'),
    row('parameters', printQuantity(optimal.n), printQuantity(smaller.n)),
    row('training tokens', printQuantity(optimal.d), printQuantity(smaller.d)),
    row('loss', optimal.loss.toFixed(4), smaller.loss.toFixed(4)),
    row('training', money(optimal.trainingDollars), money(smaller.trainingDollars)),
    row('a year of service', money(optimal.yearlyDollars), money(smaller.yearlyDollars)),
    row(`${years} years in all`, money(optimal.totalDollars), money(smaller.totalDollars)),
    '',
    `That saves ${(100 * (1 - smaller.totalDollars / optimal.totalDollars)).toFixed(0)}% over ${years} years. Both extrapolate: the law was fitted up to 16B parameters, and data of that amount may not exist. And the two savings work against each other: the PTQ laws say that a model with more tokens for each parameter loses more when it is quantized, although learning-rate decay explains part of what they saw. \`bitlaw plan train --loss ${optimal.loss.toFixed(2)} --inference-tokens 100T --serve int4@64\` weighs both.`,
    '',
  ]
  return lines.join('\n')
}
