// All families, and the one that a config.json belongs to.
import { didYouMean, RequestError } from '../../formats/error.ts'
import type { ModelConfig } from '../config.ts'
import { bitlaw } from './bitlaw.ts'
import { bloom } from './bloom.ts'
import { falcon } from './falcon.ts'
import type { Family } from './family.ts'
import { gemma2 } from './gemma2.ts'
import { gemma3 } from './gemma3.ts'
import { gpt_neo } from './gpt_neo.ts'
import { gpt_neox } from './gpt_neox.ts'
import { gpt2 } from './gpt2.ts'
import { gptj } from './gptj.ts'
import { llama } from './llama.ts'
import { mistral } from './mistral.ts'
import { olmo } from './olmo.ts'
import { olmo2 } from './olmo2.ts'
import { opt } from './opt.ts'
import { phi } from './phi.ts'
import { qwen2 } from './qwen2.ts'
import { qwen3 } from './qwen3.ts'
import { readConfig } from './reader.ts'
import { smollm3 } from './smollm3.ts'
import { stablelm } from './stablelm.ts'
import { starcoder2 } from './starcoder2.ts'

/** Every family that Bitlaw computes. */
export const FAMILIES: readonly Family[] = [
  ...[gpt2, opt, bloom, gpt_neox, gpt_neo, llama, mistral, qwen2, qwen3, olmo, olmo2, smollm3, starcoder2],
  ...[gemma2, gemma3, phi, gptj, falcon, stablelm],
  bitlaw,
]

/** The family of a name (`model_type`), or undefined. */
export function findFamily(name: string): Family | undefined {
  return FAMILIES.find(family => family.name === name || family.aliases?.includes(name))
}

/** The family and ModelConfig of a config.json; throws RequestError at an unknown architecture, a wrong value, or a key that no one read (unless in `ignore`). */
export function parseConfig(
  raw: Readonly<Record<string, unknown>>,
  ignore: readonly string[] = [],
): { family: Family; config: ModelConfig } {
  const type = raw['model_type']
  const names = FAMILIES.map(family => family.name)
  if (typeof type !== 'string')
    throw new RequestError(`config.json has no 'model_type', expected one of ${names.join(', ')}`)
  const family = findFamily(type)
  if (!family)
    throw new RequestError(
      `unknown architecture '${type.slice(0, 80)}', expected one of ${names.join(', ')}${didYouMean(type, names)}`,
    )
  const architectures = raw['architectures']
  const architecture = Array.isArray(architectures) ? String(architectures[0]) : undefined
  if (
    architecture !== undefined &&
    !ignore.includes('architectures') &&
    !/(ForCausalLM|LMHeadModel|Model)$/.test(architecture)
  )
    throw new RequestError(
      `unknown architecture '${architecture.slice(0, 80)}', expected ${family.architecture}; --ignore-config architectures goes on`,
    )
  const read = readConfig(raw, ignore)
  const config = family.config(read)
  read.finish(family.harmless ?? [], family.fixed)
  checkSizes(config)
  return { family, config }
}

/** Sizes that must divide one another, and sums that must stay sensible. */
function checkSizes(config: ModelConfig): void {
  const { heads, kvHeads, headSize, layers, context, width } = config
  if (layers > 10_000) throw new RequestError(`config.json has ${layers} layers, expected at most 10000`)
  if (headSize < 1) throw new RequestError(`config.json has ${heads} heads in a width of ${width}`)
  if (heads % kvHeads !== 0)
    throw new RequestError(`config.json has ${heads} heads and ${kvHeads} key/value heads, expected a divisor`)
  if (context > 2 ** 31) throw new RequestError(`config.json has a context of ${context}`)
}
