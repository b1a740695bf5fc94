// Calibration tokens from text: equally long pieces from its beginning, the start token in front of each.
import { startToken } from '../evaluate/loss.ts'
import { RequestError } from '../formats/index.ts'
import { encodeText } from '../text/cut.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { Calibration } from './calibration.ts'

/** Cuts a text into at most `sequences` pieces of `length` tokens; throws RequestError where it does not fill one. */
export async function calibrationOf(
  text: string,
  tokenizer: Tokenizer,
  { sequences = 128, length }: { sequences?: number; length: number },
): Promise<Calibration> {
  const start = await startToken(tokenizer)
  const own = start === null ? length : length - 1
  // Text for the tokens that are wanted, and some more: a tokenizer makes at least one token of 64 characters.
  const ids = await encodeText(tokenizer, text.slice(0, sequences * own * 64))
  const count = Math.min(sequences, Math.floor(ids.length / own))
  if (count === 0)
    throw new RequestError(
      `the calibration text has ${ids.length} tokens, expected at least ${own} (--calibration-length)`,
    )
  const out = new Int32Array(count * length)
  for (let s = 0; s < count; s++) {
    if (start !== null) out[s * length] = start
    out.set(ids.subarray(s * own, (s + 1) * own), s * length + length - own)
  }
  return { ids: out, length }
}
