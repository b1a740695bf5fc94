// How byte-level tokenizers cut a text into words before they merge bytes: patterns by the names that GGUF has for them,
// and the way back from the `pre_tokenizer` of a tokenizer.json.
import { RequestError } from '../formats/error.ts'

/** How GPT-2 cuts a text into words before it merges bytes. */
export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const LLAMA3 =
  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const QWEN2 = LLAMA3.replace('\\p{N}{1,3}', '\\p{N}')
const TEKKEN =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const BLOOM = ' ?[^(\\s|.,!?…。，、।۔،)]+'

/** How texts are cut into words, by `tokenizer.ggml.pre`: patterns applied one after the other. */
export const PRE_TOKENIZERS: Readonly<Record<string, readonly string[]>> = {
  default: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2_PATTERN, '\\p{N}+', '[0-9][0-9][0-9]'],
  falcon: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', GPT2_PATTERN, '[0-9][0-9][0-9]'],
  ...group(
    ['gpt-2', 'phi-2', 'mpt', 'olmo', 'jina-es', 'jina-de', 'jais', 'roberta-bpe', 'gigachat', 'trillion'],
    [GPT2_PATTERN],
  ),
  ...group(
    ['starcoder', 'refact', 'command-r', 'smollm', 'codeshell', 'exaone', 'minerva-7b'],
    ['\\p{N}', GPT2_PATTERN],
  ),
  ...group(['llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'dbrx', 'smaug-bpe', 'chatglm-bpe'], [LLAMA3]),
  ...group(['qwen2', 'stablelm2', 'deepseek-r1-qwen', 'megrez'], [QWEN2]),
  tekken: [TEKKEN],
  ...group(['bloom', 'poro-chat', 'gpt3-finnish'], [BLOOM]),
  viking: [BLOOM, '\\p{N}'],
}

function group(names: readonly string[], patterns: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(names.map(name => [name, patterns]))
}

/** The patterns by which the `pre_tokenizer` of a tokenizer.json cuts words, written as PRE_TOKENIZERS has them; throws a kind that is none of Sequence, Split, Digits, ByteLevel. */
function patternsOf(preTokenizer: unknown): string[] {
  const { type, pretokenizers, pattern, use_regex, individual_digits } = (preTokenizer ?? {}) as {
    type?: string
    pretokenizers?: unknown[]
    pattern?: { Regex?: string; String?: string }
    use_regex?: boolean
    individual_digits?: boolean
  }
  if (type === 'Sequence' && Array.isArray(pretokenizers)) return pretokenizers.flatMap(patternsOf)
  if (type === 'Split') return [alike(String(pattern?.Regex ?? pattern?.String))]
  if (type === 'Digits' && individual_digits === true) return ['\\p{N}']
  if (type === 'ByteLevel') return use_regex === false ? [] : [GPT2_PATTERN]
  throw new RequestError(`a tokenizer that cuts words by '${String(type)}' has no name in GGUF`)
}

const alike = (pattern: string) =>
  pattern.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")

/** The name in PRE_TOKENIZERS of how a `pre_tokenizer` cuts words; throws RequestError where it has none. */
export function wordsName(preTokenizer: unknown): string {
  const wanted = patternsOf(preTokenizer).join('\n')
  const name = Object.keys(PRE_TOKENIZERS).find(key => PRE_TOKENIZERS[key].join('\n') === wanted)
  if (name === undefined)
    throw new RequestError(
      `a tokenizer that cuts words by ${wanted.slice(0, 80)} has no name in GGUF, expected one of ${Object.keys(PRE_TOKENIZERS).join(', ')}`,
    )
  return name
}
