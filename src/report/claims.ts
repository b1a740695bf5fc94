// Claims of the two papers, and as the press retells them, each with its source and what this study says to it.

import { groupBy, type Quantized, type ReportData, short } from './data.ts'
import { bestAtWidth } from './figures/inference.ts'
import { dataExponents, plainDamage } from './figures/ptq.ts'
import { jointRows, seedSpread, sharePoints } from './figures/training.ts'
import { fitOf, resamplesOf, rSquared } from './fits.ts'

/** What a study says to a claim; `figure` is the number and its interval. */
export interface Judgement {
  verdict: 'supported' | 'contradicted' | 'tie' | 'not testable here'
  figure: string
}

/** A claim, who made it, and how this study judges it. */
export interface Claim {
  claim: string
  source: string
  judge(data: ReportData): Judgement
}

const untestable = (why: string): Judgement => ({ verdict: 'not testable here', figure: why })

/** 95% interval of a mean over values. */
function meanInterval(values: readonly number[]): { mean: number; low: number; high: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  const error = Math.sqrt(
    values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, values.length - 1) / values.length,
  )
  return { mean, low: mean - 1.96 * error, high: mean + 1.96 * error }
}

const signed = (x: number, digits = 4) => `${x >= 0 ? '+' : ''}${x.toFixed(digits)}`

/** Differences of damage between two choices on the same models, paired. */
function pairedDamage(
  rows: readonly Quantized[],
  a: (one: Quantized) => boolean,
  b: (one: Quantized) => boolean,
  key: (one: Quantized) => string,
): number[] {
  const others = new Map(rows.filter(b).map(one => [key(one), one]))
  return rows.filter(a).flatMap(one => {
    const other = others.get(key(one))
    return other ? [one.delta - other.delta] : []
  })
}

/** Supported where the whole interval lies on the claimed side, contradicted where it lies on the other. */
function bySign(values: readonly number[], claimed: 'below' | 'above', what: string): Judgement {
  if (values.length < 3) return untestable('fewer than three pairs')
  const { mean, low, high } = meanInterval(values)
  const figure = `${what}: ${signed(mean)} nats [${signed(low)}, ${signed(high)}], ${values.length} pairs`
  if (low <= 0 && high >= 0) return { verdict: 'tie', figure }
  return { verdict: mean < 0 === (claimed === 'below') ? 'supported' : 'contradicted', figure }
}

function optimalTrainingBits(data: ReportData): Judgement {
  const fit = fitOf(data, 'kumar_unified_train')
  const optimum = fit?.law.predict(fit.document.parameters, { N: 1e6, D: 1e8 }).optimalBits
  if (!fit || optimum == null) return untestable('the training law was not fitted, or has no optimum')
  const parts = new Set(sharePoints(data).map(point => point.part))
  if (parts.size < 3) return untestable(`only ${[...parts].join(' and ') || 'no part'} was trained at several widths`)
  const resamples = resamplesOf(fit.document)
  const optima = resamples
    .map(parameters => fit.law.predict(parameters, { N: 1e6, D: 1e8 }).optimalBits)
    .filter(bits => bits !== null)
    .sort((a, b) => a - b)
  // Where the optimum has no bound in most resamples, the runs do not locate it.
  if (optima.length < 20 || optima.length < resamples.length / 2)
    return untestable(`the fitted optimum is ${optimum.toFixed(1)} bits, but these runs do not locate it`)
  const [low, high] = [optima[Math.floor(0.025 * optima.length)], optima[Math.ceil(0.975 * optima.length) - 1]]
  const figure = `the fitted optimum is ${optimum.toFixed(1)} bits [${low.toFixed(1)}, ${high.toFixed(1)}]`
  if (low >= 6.5 && high <= 8.5) return { verdict: 'supported', figure }
  return { verdict: low > 8.5 || high < 6.5 ? 'contradicted' : 'tie', figure }
}

function dynamicIsBest(data: ReportData): Judgement {
  const rows = data.quantized.filter(one => one.method === 'rtn' && one.k === 4 && one.block !== null)
  const rivals = [...new Set(rows.map(one => one.element))].filter(element => element !== 'dyn')
  if (!rows.some(one => one.element === 'dyn') || rivals.length === 0)
    return untestable('dynamic exponent and a rival at 4 bits were not both measured')
  const judgements = rivals.map(rival =>
    bySign(
      pairedDamage(
        rows,
        one => one.element === 'dyn',
        one => one.element === rival,
        one => `${one.training.key}/${one.block}`,
      ),
      'below',
      `dyn4 minus ${rival}4`,
    ),
  )
  const figure = judgements.map(one => one.figure).join('; ')
  if (judgements.some(one => one.verdict === 'contradicted')) return { verdict: 'contradicted', figure }
  return { verdict: judgements.every(one => one.verdict === 'supported') ? 'supported' : 'tie', figure }
}

function dataMatters(data: ReportData): Judgement {
  const exponents = dataExponents(data).filter(one => one.k <= 4)
  if (exponents.length === 0) return untestable('no size was quantized to 3 or 4 bits after two amounts of data')
  const figure = exponents
    .map(
      one =>
        `at ${one.k} bits damage grows as D^${one.exponent.toFixed(2)} [${(one.exponent - 1.96 * one.error).toFixed(2)}, ${(one.exponent + 1.96 * one.error).toFixed(2)}]`,
    )
    .join('; ')
  const signs = exponents.map(one =>
    one.exponent - 1.96 * one.error > 0 ? 1 : one.exponent + 1.96 * one.error < 0 ? -1 : 0,
  )
  return {
    verdict: signs.every(sign => sign > 0) ? 'supported' : signs.every(sign => sign < 0) ? 'contradicted' : 'tie',
    figure,
  }
}

/** Loss after 3- or 4-bit PTQ that rises with D: the strong form, worse and not only more damaged. */
function moreDataIsHarmful(data: ReportData): Judgement {
  const rows = plainDamage(data).filter(one => one.k <= 4)
  let pairs = 0
  const rises: string[] = []
  for (const group of groupBy(
    rows,
    one =>
      `${one.k}/${one.training.n}/${one.training.schedule}/${one.training.seed}/${one.training.corpus}/${one.training.family}`,
  ).values()) {
    const sorted = [...group].sort((a, b) => a.training.d - b.training.d)
    for (let i = 1; i < sorted.length; i++) {
      pairs++
      const rise = sorted[i].loss - sorted[i - 1].loss
      const error = Math.hypot(...[sorted[i], sorted[i - 1]].map(one => (one.interval[1] - one.interval[0]) / 3.92))
      if (rise > 1.96 * error)
        rises.push(
          `${sorted[i].k} bits, N ${short(sorted[i].training.n)}: ${signed(rise)} nats from ${short(sorted[i - 1].training.d)} to ${short(sorted[i].training.d)} tokens`,
        )
    }
  }
  if (pairs === 0) return untestable('no size was quantized after two amounts of data')
  return rises.length > 0
    ? { verdict: 'supported', figure: rises.slice(0, 3).join('; ') }
    : {
        verdict: 'contradicted',
        figure: `in none of ${pairs} steps of data does the loss after 3- or 4-bit quantization rise, in the range seen here`,
      }
}

/** At equal stored bits, is a smaller model at more bits better than a larger one at fewer? */
function smallerIsBetter(data: ReportData): Judgement {
  const rows = bestAtWidth(data)
  const differences: number[] = []
  for (const group of groupBy(rows, one => one.d).values())
    for (const large of group)
      for (const small of group)
        if (
          large.n > 1.5 * small.n &&
          large.k < small.k &&
          Math.abs(Math.log(large.totalBits / small.totalBits)) < 0.15
        )
          differences.push(small.loss - large.loss)
  return bySign(differences, 'below', 'smaller model at more bits minus larger at fewer, equal bytes')
}

function qualityBelowSeven(data: ReportData): Judgement {
  const rows = data.quantized.filter(one => one.k <= 6 && one.k >= 5 && one.method === 'rtn' && one.element === 'int')
  if (rows.length < 3) return untestable('5 or 6 bits were not measured')
  const { mean, low, high } = meanInterval(rows.map(one => one.delta))
  const figure = `5 and 6 bits cost ${signed(mean)} nats [${signed(low)}, ${signed(high)}] on models of ${short(Math.min(...rows.map(one => one.training.n)))} to ${short(Math.max(...rows.map(one => one.training.n)))} parameters`
  if (high < 0.05) return { verdict: 'contradicted', figure }
  return { verdict: low > 0.05 ? 'supported' : 'tie', figure }
}

function fourBitsOptimal(data: ReportData): Judgement {
  const rows = bestAtWidth(data)
  let wins = 0
  let contests = 0
  const winners = new Map<number, number>()
  for (const group of groupBy(rows, one => one.d).values()) {
    const sizes = group.filter(one => one.k === 4)
    for (const four of sizes) {
      const rivals = group.filter(one => one.k !== 4 && Math.abs(Math.log(one.totalBits / four.totalBits)) < 0.15)
      if (rivals.length === 0) continue
      contests++
      const best = [four, ...rivals].reduce((a, b) => (a.loss <= b.loss ? a : b))
      winners.set(best.k, (winners.get(best.k) ?? 0) + 1)
      if (best.loss >= four.loss - 1.96 * Math.hypot(four.error, best.error)) wins++
    }
  }
  if (contests < 3) return untestable('fewer than three sizes where 4 bits and another width take the same bytes')
  const figure = `4 bits win or tie in ${wins} of ${contests} contests at equal bytes (${[...winners].map(([k, count]) => `${k} bits lead ${count}`).join(', ')})`
  return { verdict: wins / contests > 0.9 ? 'supported' : wins / contests < 0.5 ? 'contradicted' : 'tie', figure }
}

function independentParts(data: ReportData): Judgement {
  const rows = jointRows(data)
  if (rows.length < 3) return untestable('fewer than three jointly quantized runs')
  const r2 = rSquared(
    rows.map(row => row.measured),
    rows.map(row => row.predicted),
  )
  const { mean, low, high } = meanInterval(rows.map(row => row.measured - row.predicted))
  const noise = seedSpread(data) ?? 0.01
  const figure = `R² ${r2.toFixed(4)}; joint runs lie ${signed(mean)} nats [${signed(low)}, ${signed(high)}] from the product of the parts`
  if ((low > 0 || high < 0) && Math.abs(mean) > 2 * noise) return { verdict: 'contradicted', figure }
  return { verdict: r2 > 0.8 ? 'supported' : 'tie', figure }
}

/** The list, in the order of the report. */
export const CLAIMS: readonly Claim[] = [
  {
    claim: 'training at 7 to 8 bits is compute-optimal',
    source: 'Kumar et al. 2024, section 4.3',
    judge: optimalTrainingBits,
  },
  {
    claim: 'weights, activations and KV cache act independently: their factors multiply',
    source: 'Kumar et al. 2024, section 4.2',
    judge: independentParts,
  },
  {
    claim: 'damage of quantization grows with training data',
    source: 'Kumar et al. 2024, section 3',
    judge: dataMatters,
  },
  {
    claim: 'more data makes the quantized model worse',
    source: 'Kumar et al. 2024, as the press retells it',
    judge: moreDataIsHarmful,
  },
  {
    claim: 'training in low precision makes quantization gentler',
    source: 'Kumar et al. 2024, section 5',
    judge: data =>
      bySign(
        pairedDamage(
          data.quantized.filter(
            one => one.method === 'rtn' && one.element === 'int' && one.training.pa >= 16 && one.training.pkv >= 16,
          ),
          one => one.training.pw <= 8,
          one => one.training.pw >= 16,
          one => `${one.training.n}/${one.training.d}/${one.training.schedule}/${one.training.seed}/${one.format}`,
        ),
        'below',
        'damage after training with weights of 8 bits or fewer minus at 16',
      ),
  },
  {
    claim: '4-bit precision is almost universally optimal for total model bits',
    source: 'Dettmers & Zettlemoyer 2022, abstract',
    judge: fourBitsOptimal,
  },
  {
    claim: 'dynamic exponent is the best data type at 4 bits',
    source: 'Dettmers & Zettlemoyer 2022, as retold',
    judge: dynamicIsBest,
  },
  {
    claim: 'the only improvements are small blocks and the data type',
    source: 'Dettmers & Zettlemoyer 2022, abstract',
    judge: data => {
      const verdict = bySign(
        pairedDamage(
          data.quantized.filter(one => one.k <= 4),
          one => one.method === 'gptq',
          one => one.method === 'rtn',
          one => `${one.training.key}/${one.format}`,
        ),
        'above',
        'GPTQ minus RTN at 3 and 4 bits, same format',
      )
      // A one-shot method that helps contradicts "only".
      return verdict.verdict === 'tie' ? { ...verdict, verdict: 'supported' } : verdict
    },
  },
  {
    claim: 'better a smaller model than a big one boiled down',
    source: 'press on Kumar et al. 2024',
    judge: smallerIsBetter,
  },
  {
    claim: 'no quality below 7 to 8 bits unless the model is very large',
    source: 'press on Kumar et al. 2024',
    judge: qualityBelowSeven,
  },
]

/** Every claim with its judgement. */
export function judgeClaims(data: ReportData): { claim: string; source: string; judgement: Judgement }[] {
  return CLAIMS.map(({ claim, source, judge }) => ({ claim, source, judgement: judge(data) }))
}
