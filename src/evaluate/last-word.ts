// Last-word prediction from any text, built as LAMBADA is: passages of a few sentences whose last word has occurred in
// them before, so that a reader of the passage can know it. For models too small for the published sets.
import type { Row } from './tasks.ts'

/** Words of a passage before the one to be guessed. */
const CONTEXT_WORDS = { least: 30, most: 70 }
/** Letters of the word to be guessed, at least. */
const LETTERS = 4

/** Passages of one text, in order: each ends before the last word of a sentence, and no two overlap. */
export function lastWordPassages(text: string): Row[] {
  const words = [...text.matchAll(/\S+/g)].map(match => ({ word: match[0], start: match.index }))
  const rows: Row[] = []
  let free = 0
  for (let i = CONTEXT_WORDS.least; i < words.length; i++) {
    const match = /^([A-Za-z]+)[.!?]["”']?$/.exec(words[i].word)
    const from = Math.max(free, i - CONTEXT_WORDS.most)
    if (!match || match[1].length < LETTERS || i - from < CONTEXT_WORDS.least) continue
    const context = text.slice(words[from].start, words[i].start).trimEnd()
    if (!new RegExp(`\\b${match[1]}\\b`).test(context)) continue
    rows.push({ context, continuation: match[1] })
    free = i + 1
  }
  return rows
}

/** At most `count` passages of all texts, spread evenly over them. */
export function lastWordRows(texts: readonly string[], count: number): Row[] {
  const all = texts.flatMap(lastWordPassages)
  const chosen = Math.min(count, all.length)
  return Array.from({ length: chosen }, (_, i) => all[Math.floor((i * all.length) / chosen)])
}
