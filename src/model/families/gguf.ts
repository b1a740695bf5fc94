// llama.cpp's architectures: which family each is, its names of tensors, and its metadata as a config.json and back.
import type { GgufValue } from '../../checkpoint/gguf.ts'
import { didYouMean, RequestError } from '../../formats/error.ts'
import type { ModelConfig } from '../config.ts'
import { one, type TensorRule } from './family.ts'
import { interleavedPairs } from './rows.ts'

/** One architecture of llama.cpp. */
export interface GgufArchitecture {
  /** `general.architecture`, and what its keys begin with. */
  name: string
  /** Family in this folder. */
  family: string
  /** q and k rotate neighbouring pairs: rows are brought to halves on reading, and back. */
  interleaved?: boolean
  /** Norm weights are stored with this added. */
  normOffset?: number
  /** q, k and v are one matrix. */
  fused?: boolean
}

/** Architectures that Bitlaw reads and writes; of several for one family the first is written. */
const ARCHITECTURES: readonly GgufArchitecture[] = [
  { name: 'llama', family: 'llama', interleaved: true },
  { name: 'llama', family: 'mistral', interleaved: true },
  { name: 'qwen2', family: 'qwen2' },
  { name: 'qwen3', family: 'qwen3' },
  { name: 'olmo', family: 'olmo', interleaved: true },
  { name: 'olmo2', family: 'olmo2' },
  { name: 'smollm3', family: 'smollm3', interleaved: true },
  { name: 'starcoder2', family: 'starcoder2' },
  { name: 'gemma2', family: 'gemma2', normOffset: 1 },
  { name: 'gemma3', family: 'gemma3_text', normOffset: 1 },
  { name: 'phi2', family: 'phi' },
  { name: 'stablelm', family: 'stablelm' },
  { name: 'gpt2', family: 'gpt2', fused: true },
  { name: 'gptneox', family: 'gpt_neox', fused: true },
  { name: 'bloom', family: 'bloom', fused: true },
  { name: 'falcon', family: 'falcon', fused: true },
]

/** The architecture of a GGUF file's metadata; throws RequestError where Bitlaw has none such. */
export function ggufArchitecture(metadata: Readonly<Record<string, GgufValue>>): GgufArchitecture {
  const name = String(metadata['general.architecture'] ?? '')
  const window = metadata[`${name}.attention.sliding_window`]
  const family = name === 'llama' && typeof window === 'number' && window > 0 ? 'mistral' : undefined
  const found = ARCHITECTURES.find(entry => entry.name === name && (family === undefined || entry.family === family))
  if (found) return found
  const names = [...new Set(ARCHITECTURES.map(entry => entry.name))]
  throw new RequestError(
    `unknown GGUF architecture '${name.slice(0, 50)}', expected one of ${names.join(', ')}${didYouMean(name, names)}`,
  )
}

/** The architecture that a family is written as; throws RequestError where llama.cpp has none. */
export function architectureOf(family: string): GgufArchitecture {
  const found = ARCHITECTURES.find(entry => entry.family === family)
  if (found) return found
  throw new RequestError(
    `llama.cpp has no architecture for the family ${family}, expected one of ${ARCHITECTURES.map(entry => entry.family).join(', ')}`,
  )
}

/** Whether llama.cpp holds q, k and v of a model as one matrix. */
export function joinsQkv({ family }: { family: string }): boolean {
  return ARCHITECTURES.find(entry => entry.family === family)?.fused ?? false
}

/** Names of tensors in a GGUF file. `has` tells which of the older and newer layouts the file is. */
export function ggufRules(
  { interleaved, normOffset = 0, fused, family }: GgufArchitecture,
  config: ModelConfig,
  has?: (name: string) => boolean,
): TensorRule[] {
  const halves = (part: 'heads' | 'kvHeads') =>
    interleaved
      ? { rows: ({ headSize, ...sizes }: ModelConfig) => interleavedPairs(sizes[part], headSize, headSize) }
      : {}
  const add = normOffset === 0 ? {} : { add: -normOffset }
  const post = config.normPlacement !== 'pre'
  const twoNorms = family === 'falcon' && config.residual === 'parallel'
  const joined = has ? has('blk.0.attn_qkv.weight') : fused
  const qkv: TensorRule[] = joined
    ? [{ file: 'blk.{}.attn_qkv.*', parts: ['layers.{}.q.*', 'layers.{}.k.*', 'layers.{}.v.*'] }]
    : [
        one('blk.{}.attn_q.*', 'layers.{}.q.*', halves('heads')),
        one('blk.{}.attn_k.*', 'layers.{}.k.*', halves('kvHeads')),
        one('blk.{}.attn_v.*', 'layers.{}.v.*'),
      ]
  return [
    one('token_embd.weight', 'embedding.weight'),
    one('position_embd.weight', 'position.weight'),
    one('token_embd_norm.*', 'embeddingNorm.*'),
    one(`blk.{}.attn_norm${twoNorms ? '_2' : ''}.*`, 'layers.{}.attentionNorm.*', add),
    ...qkv,
    one('blk.{}.attn_q_norm.*', 'layers.{}.qNorm.*', { ...add, flat: true }),
    one('blk.{}.attn_k_norm.*', 'layers.{}.kNorm.*', { ...add, flat: true }),
    one('blk.{}.attn_output.*', 'layers.{}.o.*'),
    ...(post ? [one('blk.{}.post_attention_norm.*', 'layers.{}.attentionPostNorm.*', add)] : []),
    one(`blk.{}.${twoNorms ? 'attn_norm' : 'ffn_norm'}.*`, 'layers.{}.mlpNorm.*', add),
    one('blk.{}.ffn_gate.*', 'layers.{}.gate.*'),
    one('blk.{}.ffn_up.*', 'layers.{}.up.*'),
    one('blk.{}.ffn_down.*', 'layers.{}.down.*'),
    ...(post ? [one('blk.{}.post_ffw_norm.*', 'layers.{}.mlpPostNorm.*', add)] : []),
    one('output_norm.*', 'norm.*', add),
    one('output.*', 'head.*'),
  ]
}

/** Tensors beside the parameters: rotary factors (read on their own) and tables. */
export const GGUF_IGNORED: readonly RegExp[] = [
  /^rope_freqs\.weight$/,
  /^rope_factors_(long|short)\.weight$/,
  /\.attn_rot_embd$/,
]
