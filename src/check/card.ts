// Training tokens from a model's card: what its text says, since no configuration says it.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseHubName } from '../checkpoint/hub.ts'

/** The card of a model: README.md in its folder, else the hub's where the reference is a hub name; null where there is none, or the hub is off or does not answer within five seconds. */
export async function readCard(reference: string, folder: string): Promise<string | null> {
  const own = join(folder, 'README.md')
  if (existsSync(own)) return readFileSync(own, 'utf8')
  const hub = existsSync(reference) ? undefined : parseHubName(reference)
  const off = [process.env['HF_HUB_OFFLINE'], process.env['TRANSFORMERS_OFFLINE']]
  if (!hub || off.some(value => value !== undefined && /^(1|true|yes|on)$/i.test(value))) return null
  const endpoint = (process.env['HF_ENDPOINT'] || 'https://huggingface.co').replace(/\/+$/, '')
  const token = process.env['HF_TOKEN'] ?? process.env['HUGGING_FACE_HUB_TOKEN']
  try {
    const answer = await fetch(`${endpoint}/${hub.name}/resolve/${hub.revision}/README.md`, {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout(5000),
    })
    return answer.ok ? await answer.text() : null
  } catch {
    return null
  }
}

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
