// GPT-Neo: GPT-2 with separate q, k and v without biases, scores that are not divided by sqrt(head size), and a window in every other layer.
import { RequestError } from '../../formats/error.ts'
import { type Family, one } from './family.ts'
import type { ConfigReader } from './reader.ts'

/** `global` or `local` for each layer: from attention_layers, else from attention_types ([[[kinds], repeats], …]), else alternating. */
function layerKinds(read: ConfigReader, layers: number): string[] {
  const listed = read.value('attention_layers')
  const types = read.value('attention_types')
  if (layers > 100_000) throw new RequestError(`config.json has ${layers} layers`)
  let kinds: unknown[] = Array.from({ length: layers }, (_, i) => (i % 2 === 0 ? 'global' : 'local'))
  if (Array.isArray(listed)) kinds = listed
  else if (Array.isArray(types)) {
    kinds = []
    for (const [group, repeats] of types as [unknown[], number][])
      for (let i = 0; i < repeats && kinds.length <= layers; i++) kinds.push(...group)
  }
  if (kinds.length !== layers || !kinds.every(kind => kind === 'global' || kind === 'local'))
    throw new RequestError(
      `config.json has attention layers ${JSON.stringify(kinds).slice(0, 80)}, expected global or local for each of ${layers} layers`,
    )
  return kinds as string[]
}

export const gpt_neo: Family = {
  name: 'gpt_neo',
  architecture: 'GPTNeoForCausalLM',
  config(read) {
    const width = read.integer('hidden_size')
    const heads = read.integer(['num_heads', 'num_attention_heads'])
    const layers = read.integer(['num_layers', 'num_hidden_layers'])
    const context = read.integer('max_position_embeddings', 2048)
    const window = read.integer('window_size', 256)
    const windows = layerKinds(read, layers).map(kind => (kind === 'local' ? window : null))
    return {
      family: 'gpt_neo',
      vocab: read.integer('vocab_size'),
      width,
      layers,
      heads,
      kvHeads: heads,
      headSize: Math.floor(width / heads),
      hidden: read.integer('intermediate_size', 4 * width),
      context,
      norm: { kind: 'layer', eps: read.number('layer_norm_epsilon', 1e-5), gain: true, bias: true, gainOffset: 0 },
      normPlacement: 'pre',
      residual: 'sequential',
      finalNorm: true,
      embeddingNorm: false,
      embeddingWidth: width,
      embeddingScale: 1,
      position: { kind: 'learned', positions: context, offset: 0 },
      mlp: { gated: false, activation: read.activation('activation_function', 'gelu_new') },
      bias: { qkv: false, output: true, mlp: true, head: false },
      qkNorm: 'none',
      attention: { scale: 1, clip: null, softcap: null, ...(windows.some(size => size !== null) && { windows }) },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', true),
    }
  },
  harmless: ['summary_type', 'summary_use_proj', 'summary_activation', 'summary_proj_to_labels'],
  prefix: 'transformer.',
  tensors: () => [
    one('transformer.wte.weight', 'embedding.weight'),
    one('transformer.wpe.weight', 'position.weight'),
    one('transformer.h.{}.ln_1.*', 'layers.{}.attentionNorm.*'),
    one('transformer.h.{}.attn.attention.q_proj.*', 'layers.{}.q.*'),
    one('transformer.h.{}.attn.attention.k_proj.*', 'layers.{}.k.*'),
    one('transformer.h.{}.attn.attention.v_proj.*', 'layers.{}.v.*'),
    one('transformer.h.{}.attn.attention.out_proj.*', 'layers.{}.o.*'),
    one('transformer.h.{}.ln_2.*', 'layers.{}.mlpNorm.*'),
    one('transformer.h.{}.mlp.c_fc.*', 'layers.{}.up.*'),
    one('transformer.h.{}.mlp.c_proj.*', 'layers.{}.down.*'),
    one('transformer.ln_f.*', 'norm.*'),
    one('lm_head.weight', 'head.weight'),
  ],
  ignored: [/\.attn\.attention\.(bias|masked_bias)$/],
}
