// Training tokens from a model's card: what its text says, since no configuration says it.

const SCALE: Readonly<Record<string, number>> = { t: 1e12, trillion: 1e12, b: 1e9, billion: 1e9, m: 1e6, million: 1e6 }

/** The largest number of tokens that a card says the model was trained on ("15T tokens", "300 billion tokens"), or null. */
export function tokensFromCard(text: string): number | null {
  let largest: number | null = null
  for (const [, number, unit] of text.matchAll(
    /(\d+(?:[.,]\d+)?)\s*\+?\s*(T|trillion|B|billion|M|million)\+?\s+(?:[\w-]+\s+){0,2}?tokens/gi,
  )) {
    const tokens = Number(number.replace(',', '.')) * SCALE[unit.toLowerCase()]
    if (largest === null || tokens > largest) largest = tokens
  }
  return largest
}
