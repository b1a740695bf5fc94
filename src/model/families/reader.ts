// Reads config.json key by key and remembers which keys were read, so that one that was not cannot change the model silently.
import { didYouMean, RequestError } from '../../formats/error.ts'
import type { Activation } from '../../tensor/kernels.ts'

/** Keys of transformers' own bookkeeping, of text generation, dropout, initial values and speed: none changes the logits. */
export const HARMLESS: readonly string[] = [
  ...[
    '_name_or_path',
    'name_or_path',
    '_commit_hash',
    '_attn_implementation',
    '_attn_implementation_autoset',
    'transformers_version',
    'transformers.js_config',
  ],
  ...[
    'architectures',
    'auto_map',
    'model_type',
    'torch_dtype',
    'dtype',
    'torchscript',
    'tokenizer_class',
    'prefix',
    'task_specific_params',
  ],
  ...[
    'unsloth_fixed',
    'unsloth_version',
    'is_llama_config',
    'license',
    'model_name',
    'onnx_export',
    'gradient_checkpointing',
    'bitlaw',
  ],
  ...[
    'is_decoder',
    'use_cache',
    'use_bfloat16',
    'use_flash_attn',
    'use_flash_attention',
    'flash_attn',
    'fused_mlp',
    'return_dict',
    'output_attentions',
    'output_hidden_states',
  ],
  ...[
    'pretraining_tp',
    'slow_but_exact',
    'cache_implementation',
    'problem_type',
    'id2label',
    'label2id',
    'num_labels',
    'finetuning_task',
    '_num_labels',
    'output_past',
    'chunk_size_feed_forward',
  ],
  ...[
    'attention_dropout',
    'hidden_dropout',
    'attn_pdrop',
    'embd_pdrop',
    'resid_pdrop',
    'dropout',
    'embedding_dropout',
    'residual_dropout',
  ],
  ...['embed_dropout', 'resid_dropout', 'classifier_dropout', 'layerdrop', 'summary_first_dropout'],
  ...[
    'initializer_range',
    'init_std',
    'pad_token_id',
    'bos_token_id',
    'eos_token_id',
    'sep_token_id',
    'decoder_start_token_id',
    'unk_token_id',
  ],
  ...[
    'max_length',
    'max_new_tokens',
    'min_length',
    'do_sample',
    'early_stopping',
    'num_beams',
    'num_beam_groups',
    'diversity_penalty',
    'temperature',
    'top_k',
    'top_p',
  ],
  ...[
    'typical_p',
    'repetition_penalty',
    'length_penalty',
    'no_repeat_ngram_size',
    'encoder_no_repeat_ngram_size',
    'bad_words_ids',
  ],
  ...['num_return_sequences', 'output_scores', 'return_dict_in_generate', 'forced_bos_token_id', 'forced_eos_token_id'],
  ...[
    'remove_invalid_values',
    'exponential_decay_length_penalty',
    'suppress_tokens',
    'begin_suppress_tokens',
    'pruned_heads',
    'tf_legacy_loss',
  ],
]

/** Keys that every model has at a value which means that it is not used; any other value is an error. */
const FIXED: Readonly<Record<string, unknown>> = {
  is_encoder_decoder: false,
  add_cross_attention: false,
  cross_attention_hidden_size: null,
  tie_encoder_decoder: false,
  rope_interleaved: false,
}

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu', swish: 'silu', relu: 'relu', gelu: 'gelu', gelu_python: 'gelu',
  gelu_new: 'geluTanh', gelu_fast: 'geluTanh', gelu_pytorch_tanh: 'geluTanh',
} // biome-ignore format: a table

/** The largest size that a key may have: more is no model but a hostile file. */
const LARGEST = 2 ** 31

/** One config.json (or an object inside it), read key by key; `null` counts as absent. */
export interface ConfigReader {
  /** The value, or undefined; the key counts as read. */
  value(key: string): unknown
  /** The first of several spellings of one key that is present. */
  first(keys: readonly string[]): unknown
  integer(key: string | readonly string[], fallback?: number | null): number
  number(key: string | readonly string[], fallback?: number): number
  flag(key: string, fallback: boolean): boolean
  numbers(key: string): number[] | undefined
  activation(key: string, fallback: string): Activation
  /** A size that may be absent or null. */
  optionalInteger(key: string): number | null
  optionalNumber(key: string): number | null
  /** A reader of the object behind the key, undefined where it is absent; its own keys are checked by its `finish`. */
  object(key: string): ConfigReader | undefined
  keys(): string[]
  /** Throws at the first key that was not read, is not harmless and has a value that could mean something. */
  finish(harmless: readonly string[], fixed?: Readonly<Record<string, unknown>>): void
}

/** A value as JSON, cut where it is long. */
const shorten = (found: unknown) => JSON.stringify(found)?.slice(0, 80)

/** Absent, null, false or empty: what a key has when its feature is not used. */
function isUnset(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true
  return typeof value === 'object' && Object.keys(value).length === 0
}

/** A reader of `raw`; keys in `ignore` are passed over; `where` stands before key names in errors (`rope_scaling.`). */
export function readConfig(
  raw: Readonly<Record<string, unknown>>,
  ignore: readonly string[] = [],
  where = '',
): ConfigReader {
  const read = new Set<string>()
  const value = (key: string): unknown => {
    read.add(key)
    const found = Object.hasOwn(raw, key) && !ignore.includes(where + key) ? raw[key] : undefined
    return found === null ? undefined : found
  }
  const first = (keys: readonly string[]) => keys.map(value).find(found => found !== undefined)
  const wrong = (key: string | readonly string[], found: unknown, expected: string): never => {
    const name = `'${where}${typeof key === 'string' ? key : key.join(`' or '`)}'`
    if (found === undefined || found === null)
      throw new RequestError(`config.json has no ${name}, expected ${expected}`)
    throw new RequestError(`config.json has ${name} ${shorten(found)}, expected ${expected}`)
  }
  const list = (key: string | readonly string[]) => (typeof key === 'string' ? [key] : key)
  const reader: ConfigReader = {
    value,
    first,
    integer(key, fallback) {
      const found = first(list(key)) ?? fallback
      if (typeof found !== 'number' || !Number.isSafeInteger(found) || found < 1 || found >= LARGEST)
        return wrong(key, found, 'a whole number above 0')
      return found
    },
    number(key, fallback) {
      const found = first(list(key)) ?? fallback
      return typeof found === 'number' && Number.isFinite(found) ? found : wrong(key, found, 'a number')
    },
    flag(key, fallback) {
      const found = value(key) ?? fallback
      return typeof found === 'boolean' ? found : wrong(key, found, 'true or false')
    },
    numbers(key) {
      const found = value(key)
      if (found === undefined) return undefined
      return Array.isArray(found) && found.every(x => typeof x === 'number' && Number.isFinite(x))
        ? found
        : wrong(key, found, 'a list of numbers')
    },
    activation(key, fallback) {
      const found = value(key) ?? fallback
      if (typeof found === 'string' && Object.hasOwn(ACTIVATIONS, found)) return ACTIVATIONS[found]
      return wrong(key, found, `one of ${Object.keys(ACTIVATIONS).join(', ')}`)
    },
    optionalInteger: key => (value(key) === undefined ? null : reader.integer(key)),
    optionalNumber: key => (value(key) === undefined ? null : reader.number(key)),
    object(key) {
      const found = value(key)
      if (found === undefined) return undefined
      if (typeof found !== 'object' || Array.isArray(found)) return wrong(key, found, 'an object')
      return readConfig(found as Record<string, unknown>, ignore, `${where}${key}.`)
    },
    keys: () => Object.keys(raw),
    finish(harmless, fixed = {}) {
      const known = new Set([...read, ...harmless, ...(where === '' ? HARMLESS : [])])
      const expected: Record<string, unknown> = where === '' ? { ...FIXED, ...fixed } : fixed
      for (const [key, found] of Object.entries(raw)) {
        if (known.has(key) || ignore.includes(where + key) || found === null) continue
        const isFixed = Object.hasOwn(expected, key)
        if (isFixed ? expected[key] === found : isUnset(found)) continue
        const hint = isFixed
          ? `, expected ${JSON.stringify(expected[key])}`
          : `, which is unknown${didYouMean(key, read)}`
        throw new RequestError(
          `config.json has '${where}${key}' ${shorten(found)}${hint}; --ignore-config ${where}${key} goes on without it`,
        )
      }
    },
  }
  return reader
}

/** Which layers look back only `window` positions, from `layer_types` where present, else from `slides(layer)`; undefined: none. */
export function readWindows(
  read: ConfigReader,
  layers: number,
  window: number | null,
  slides: (layer: number) => boolean,
): (number | null)[] | undefined {
  const types = read.value('layer_types')
  if (types !== undefined) {
    const known =
      Array.isArray(types) &&
      types.length === layers &&
      types.every(type => type === 'full_attention' || type === 'sliding_attention')
    if (!known)
      throw new RequestError(
        `config.json has 'layer_types' ${shorten(types)}, expected full_attention or sliding_attention for each of ${layers} layers`,
      )
  }
  if (layers > 100_000) throw new RequestError(`config.json has ${layers} layers`)
  const windows = Array.from({ length: layers }, (_, i) =>
    (Array.isArray(types) ? types[i] === 'sliding_attention' : slides(i)) ? window : null,
  )
  return windows.some(size => size !== null) ? windows : undefined
}
