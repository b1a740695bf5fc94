// Means with their errors: of tokens, of paired differences, of correlated tokens in windows, of right and wrong answers.

/** A mean and its standard error; 0 observations give NaN, 1 gives a NaN error. */
export interface Estimate {
  mean: number
  standardError: number
  count: number
}

/** Mean and standard deviation (n - 1) / sqrt(n). */
export function estimate(values: ArrayLike<number>): Estimate {
  const count = values.length
  let sum = 0
  for (let i = 0; i < count; i++) sum += values[i]
  const mean = sum / count
  let squares = 0
  for (let i = 0; i < count; i++) squares += (values[i] - mean) ** 2
  return { mean, standardError: Math.sqrt(squares / (count - 1) / count), count }
}

/** Estimate of the mean of a - b, element by element: the same tokens or examples scored twice. */
export function pairedEstimate(a: ArrayLike<number>, b: ArrayLike<number>): Estimate {
  if (a.length !== b.length) throw new Error(`cannot pair ${a.length} values with ${b.length}`)
  return estimate(Float64Array.from({ length: a.length }, (_, i) => a[i] - b[i]))
}

/** Standard error of the mean over all values where those of one cluster (consecutive counts) are not independent: CR1 sandwich. */
export function clusteredError(values: ArrayLike<number>, clusterSizes: readonly number[]): number {
  const { mean, count } = estimate(values)
  let at = 0
  let squares = 0
  for (const size of clusterSizes) {
    let sum = 0
    for (let i = 0; i < size; i++) sum += values[at++] - mean
    squares += sum * sum
  }
  const clusters = clusterSizes.length
  return Math.sqrt((squares * clusters) / (clusters - 1)) / count
}

/** Two-sided normal quantile of 95%. */
const Z95 = 1.959963984540054

/** 95% interval of an estimate, [low, high]. */
export function interval({ mean, standardError }: { mean: number; standardError: number }): [number, number] {
  return [mean - Z95 * standardError, mean + Z95 * standardError]
}

/** True where the 95% interval of a difference holds 0. */
export function isTie(difference: { mean: number; standardError: number }): boolean {
  const [low, high] = interval(difference)
  return low <= 0 && high >= 0
}

/** The p-quantile (0..1) by linear interpolation of order statistics (numpy's default). */
export function quantile(values: ArrayLike<number>, p: number): number {
  const sorted = Float64Array.from(values).sort()
  if (sorted.length === 0) return Number.NaN
  const place = p * (sorted.length - 1)
  const low = Math.floor(place)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low)
}

/** Exact two-sided McNemar test: of `onlyA` + `onlyB` examples that one of two models gets right, the probability of a split this uneven by chance. */
export function mcnemar(onlyA: number, onlyB: number): number {
  const n = onlyA + onlyB
  const k = Math.min(onlyA, onlyB)
  let term = n * Math.log(0.5)
  let sum = 0
  for (let i = 0; i <= k; i++) {
    sum += Math.exp(term)
    term += Math.log(n - i) - Math.log(i + 1)
  }
  return Math.min(1, 2 * sum)
}
