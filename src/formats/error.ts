// The one error class of Bitlaw, and the search for a near spelling that its messages offer.

/** The request was wrong (exit status 2), as against work that failed: one lowercase sentence with the bad value and what was expected. */
export class RequestError extends Error {
  override name = 'RequestError'
}

/** Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], beforeLast[j - 2] + 1)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]
}

/** The name nearest to `word` (at most a third of it mistyped), or undefined. */
export function nearest(word: string, names: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const name of names) {
    const distance = editDistance(word.toLowerCase(), name.toLowerCase())
    if (distance < bestDistance) {
      best = name
      bestDistance = distance
    }
  }
  return best
}

/** ` (did you mean int9?)` where a near name exists, else nothing: the end of an error about an unknown name. */
export function didYouMean(word: string, names: Iterable<string>): string {
  const near = nearest(word, names)
  return near === undefined ? '' : ` (did you mean ${near}?)`
}
