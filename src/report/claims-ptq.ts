// Judging what is claimed of quantization after training.
import { normalQuantile } from '../formats/normal.ts'
import { damageExponents, equalBytes, plainDamage, plainQuantized, widthContests } from './damage.ts'
import { conditionsOf, type Quantized, type ReportData, short, trainedRuns } from './data.ts'
import { fitOf } from './fits.ts'
import { againstRivals, bySign, type Judgement, LEAST_UNITS, untestable } from './judgement.ts'
import { partnerOf, seedNoise } from './shares.ts'
import { groupBy, meanInterval, meanOf, printInterval, signed, unitMeans } from './statistics.ts'

/** Differences of damage between two choices on the same model in otherwise equal settings, the mean of a unit. */
function pairedDamage(
  rows: readonly Quantized[],
  a: (one: Quantized) => boolean,
  b: (one: Quantized) => boolean,
  key: (one: Quantized) => string,
  unit: (one: Quantized) => string = one => one.training.key,
): number[] {
  const others = new Map(rows.filter(b).map(one => [key(one), one]))
  const pairs = rows.filter(a).flatMap(one => {
    const other = others.get(key(one))
    return other ? [{ unit: unit(one), difference: one.delta - other.delta }] : []
  })
  return unitMeans(
    pairs,
    pair => pair.unit,
    pair => pair.difference,
  )
}

const exponentWords = (exponents: ReturnType<typeof damageExponents>, along: string) =>
  exponents
    .map(one => {
      const [value, low, high] = [one.exponent, one.low, one.high].map(x => x.toFixed(2))
      return `${along}^${value} [${low}, ${high}] at ${one.k} bits (${one.points} models)`
    })
    .join(' and ')

/** Damage along data (claimed to rise) or size (claimed to fall): every exponent at 3 and 4 bits on the claimed side of 0. */
export function damageGrows(data: ReportData, along: 'd' | 'n', claimed: 1 | -1): Judgement {
  const exponents = damageExponents(data, along).filter(one => one.k >= 3 && one.k <= 4)
  const [axis, what] = along === 'd' ? ['D', 'amounts of data'] : ['N', 'sizes']
  if (exponents.length === 0) return untestable(`too few models at several ${what} were quantized to 3 or 4 bits`)
  const figure = `damage goes as ${exponentWords(exponents, axis)}`
  const signs = exponents.map(one => (one.low > 0 ? 1 : one.high < 0 ? -1 : 0))
  if (signs.every(sign => sign === claimed)) return { verdict: 'supported', figure }
  return { verdict: signs.every(sign => sign === -claimed) ? 'contradicted' : 'tie', figure }
}

/** The rival reading of growth with data: the work of the decay of the learning rate. With the schedule held, data must then do nothing. */
export function decayNotData(data: ReportData): Judgement {
  const exponents = damageExponents(data, 'd').filter(one => one.k >= 3 && one.k <= 4)
  const schedules = new Set(plainDamage(data).map(one => one.training.schedule))
  if (exponents.length === 0 || schedules.size < 2)
    return untestable('one schedule only, or one amount of data: the two cannot be told apart')
  const figure = `with the schedule held, damage goes as ${exponentWords(exponents, 'D')}`
  if (exponents.every(one => one.low > 0)) return { verdict: 'contradicted', figure }
  const flat = exponents.every(one => one.low > -0.2 && one.high < 0.2)
  return { verdict: flat ? 'supported' : 'tie', figure }
}

/** A size quantized to 3 or 4 bits after two amounts of data, and what came of the second. */
function dataSteps(data: ReportData) {
  const noise = Math.SQRT2 * (seedNoise(data)?.spread ?? 0)
  const rows = plainDamage(data).filter(one => one.k >= 3 && one.k <= 4)
  const alike = groupBy(rows, ({ k, training }) =>
    [k, training.n, training.schedule, training.seed, training.corpus, training.family].join('/'),
  )
  return [...alike.values()].flatMap(group => {
    const sorted = [...group].sort((a, b) => a.training.d - b.training.d)
    return sorted.slice(1).map((after, i) => {
      const before = sorted[i]
      // The text is the same: the interval of each damage stands for it, the spread between seeds for the trainings.
      const error = Math.hypot(noise, ...[after, before].map(one => (one.interval[1] - one.interval[0]) / 3.92))
      return { before, after, rise: after.loss - before.loss, error }
    })
  })
}

/**
 * The strong form: past some D_crit the quantized model is worse, not only more damaged. Supported where the loss after
 * 3- or 4-bit PTQ rises between two amounts of data beyond the noise (many steps are held to a joint 95%); contradicted
 * only where the fitted law itself foretells rises that this study would have seen, and none came.
 */
export function moreDataIsHarmful(data: ReportData): Judgement {
  const steps = dataSteps(data)
  if (steps.length === 0) return untestable('no size was quantized to 3 or 4 bits after two amounts of data')
  const z = normalQuantile(1 - 0.025 / steps.length)
  const rises = steps.filter(step => step.rise > z * step.error)
  if (rises.length > 0) {
    const words = rises
      .slice(0, 3)
      .map(
        ({ before, after, rise }) =>
          `${after.k} bits, N ${short(after.training.n)}: ${signed(rise)} nats from ${short(before.training.d)} to ${short(after.training.d)} tokens`,
      )
    return {
      verdict: 'supported',
      figure: `${rises.length} of ${steps.length} steps of data rise: ${words.join('; ')}`,
    }
  }
  const least = steps.reduce((a, b) => (a.rise > b.rise ? a : b))
  const most = Math.max(...steps.map(({ after }) => after.training.d / after.training.n))
  const none = `none of ${steps.length} steps of data, up to ${short(most)} tokens a parameter, raises the loss after 3- or 4-bit quantization (the least fall: ${signed(least.rise)} ± ${(z * least.error).toFixed(4)} nats)`
  const fit = fitOf(data, 'kumar_unified')
  const lossOf = ({ k, training }: Quantized) =>
    fit?.law.predict(fit.document.parameters, { N: training.n, D: training.d, P_post: k }).loss ?? Number.NaN
  const foretold = steps.filter(step => lossOf(step.after) - lossOf(step.before) > z * step.error).length
  if (foretold < LEAST_UNITS)
    return untestable(
      `${none}; whether it comes with more data these runs do not say, and the fitted law expects ${foretold === 0 ? 'no rise' : `${foretold} such`} in their range`,
    )
  return { verdict: 'contradicted', figure: `${none}, where the fitted law foretells ${foretold}` }
}

/** Damage of models trained with weights of 8 bits or fewer minus damage of their 16-bit partners, at fewer bits than they were trained at. */
export function lowPrecisionIsGentler(data: ReportData): Judgement {
  const rows = data.quantized.filter(
    ({ method, element, training }) =>
      method === 'rtn' && element === 'int' && training.trained && training.pa >= 16 && training.pkv >= 16,
  )
  const partners = new Map(trainedRuns(data).map(one => [one.key, partnerOf(data, one)?.key]))
  return bySign(
    pairedDamage(
      rows,
      one => one.training.pw <= 8 && one.k < one.training.pw,
      one => one.training.pw >= 16,
      one => `${partners.get(one.training.key)}/${one.format}`,
      one => `${one.training.n}/${conditionsOf(one.training)}`,
    ),
    'below',
    'damage after training with weights of 8 bits or fewer minus after 16 bits',
    'pairs of size and data',
  )
}

/** 4 bits against every other width at equal stored bytes. */
export function fourBitsOptimal(data: ReportData): Judgement {
  const rivals = [...groupBy(widthContests(data, 4), one => one.rival)]
    .sort(([a], [b]) => a - b)
    .map(([rival, group]) => ({
      name: `${rival} bits`,
      values: unitMeans(
        group,
        one => one.unit,
        one => one.difference,
      ),
    }))
  return againstRivals(rivals, '4 bits', 'sizes and data at equal bytes', 'unbeaten')
}

/** Elements at 4 bits in equal blocks, RTN, against one of them. */
function elementsAgainst(data: ReportData, choice: string): { name: string; values: number[] }[] {
  const rows = plainQuantized(data).filter(one => one.method === 'rtn' && one.k === 4 && one.block !== null)
  return [...new Set(rows.map(one => one.element))]
    .filter(element => element !== choice)
    .map(rival => ({
      name: `${rival}4`,
      values: pairedDamage(
        rows,
        one => one.element === choice,
        one => one.element === rival,
        one => `${one.training.key}/${one.block}`,
      ),
    }))
}

/** Dynamic exponent against the other data types at 4 bits. */
export const dynamicIsBest = (data: ReportData): Judgement =>
  againstRivals(elementsAgainst(data, 'dyn'), 'dyn4', 'models', 'best')

/** Types with levels by the distribution (quantile, normal float) and floats against integers, at 4 bits: all must win. */
export function typesBeatIntegers(data: ReportData): Judgement {
  const rivals = elementsAgainst(data, 'int').filter(({ name }) => /^(nf|fp|quantile)4$/.test(name))
  const judged = againstRivals(rivals, 'int4', 'models', 'best')
  if (judged.verdict === 'not testable here') return judged
  const met = rivals.filter(rival => rival.values.length >= LEAST_UNITS)
  const won = met.filter(rival => meanInterval(rival.values, 1 - 0.05 / met.length).low > 0)
  if (won.length === met.length) return { ...judged, verdict: 'supported' }
  // Integers that beat every rival contradict the claim; some won, some level is neither.
  return { ...judged, verdict: judged.verdict === 'supported' ? 'contradicted' : 'tie' }
}

/** The smallest block of each model against its largest, integers by RTN at 4 bits and fewer. */
export function smallBlocksHelp(data: ReportData): Judgement {
  const rows = plainQuantized(data).filter(
    one => one.method === 'rtn' && one.element === 'int' && one.block !== null && one.k <= 4,
  )
  const pairs = [...groupBy(rows, one => `${one.training.key}/${one.k}`).values()].flatMap(group => {
    const sorted = [...group].sort((a, b) => (a.block as number) - (b.block as number))
    const [first, last] = [sorted[0], sorted[sorted.length - 1]]
    return first.block === last.block ? [] : [{ first, last }]
  })
  return bySign(
    unitMeans(
      pairs,
      pair => pair.first.training.key,
      pair => pair.first.delta - pair.last.delta,
    ),
    'below',
    `smallest block${pairs.length > 0 ? ` (${pairs[0].first.block})` : ''} minus largest${pairs.length > 0 ? ` (${pairs[0].last.block})` : ''}, 4 bits and fewer`,
    'models',
  )
}

/**
 * "The only improvements are small blocks and the data type": a one-shot method that helps contradicts it; one that is
 * shown to gain less than a tenth of RTN's damage supports it.
 */
export function onlyBlocksAndTypes(data: ReportData): Judgement {
  const rows = plainQuantized(data).filter(one => one.k <= 4)
  const values = pairedDamage(
    rows,
    one => one.method === 'gptq' || one.method === 'awq',
    one => one.method === 'rtn',
    one => `${one.training.key}/${one.format}`,
  )
  const judged = bySign(values, 'above', 'GPTQ or AWQ minus RTN in the same format, 4 bits and fewer', 'models')
  if (judged.verdict !== 'tie') return judged
  const tenth = 0.1 * meanOf(rows.filter(one => one.method === 'rtn').map(one => one.delta))
  return meanInterval(values).low > -tenth ? { ...judged, verdict: 'supported' } : judged
}

/** At equal stored bytes, is a smaller model at more bits better than a larger one at fewer? */
export function smallerIsBetter(data: ReportData): Judgement {
  return bySign(
    unitMeans(
      equalBytes(data),
      pair => pair.unit,
      pair => -pair.difference,
    ),
    'below',
    'smaller model at more bits minus larger at fewer, equal bytes',
    'sizes and data',
  )
}

/** What counts as a loss of quality: 0.05 nats, 5% of perplexity. */
const QUALITY = 0.05

/** 5 and 6 bits on every model, held against 0.05 nats. */
export function qualityBelowSeven(data: ReportData): Judgement {
  const rows = plainQuantized(data).filter(
    one => one.k <= 6 && one.k >= 5 && one.method === 'rtn' && one.element === 'int',
  )
  const values = unitMeans(
    rows,
    one => one.training.key,
    one => one.delta,
  )
  if (values.length < LEAST_UNITS) return untestable(`5 or 6 bits were measured on ${values.length} models`)
  const found = meanInterval(values)
  const sizes = rows.map(one => one.training.n)
  const figure = `5 and 6 bits cost ${printInterval(found)} over ${found.count} models of ${short(Math.min(...sizes))} to ${short(Math.max(...sizes))} parameters, held against ${QUALITY} nats (5% of perplexity)`
  if (found.high < QUALITY) return { verdict: 'contradicted', figure }
  return { verdict: found.low > QUALITY ? 'supported' : 'tie', figure }
}
