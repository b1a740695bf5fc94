// config.json: both spellings give one record, harmless keys pass, and a key that no one reads is an error that names it.
import { describe, expect, test } from 'vitest'
import { RequestError } from '../../formats/error.ts'
import { tensorPlaces } from './family.ts'
import { FAMILIES, parseConfig } from './index.ts'
import { readConfig } from './reader.ts'

const llama = {
  ...{
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: 100,
    hidden_size: 32,
    intermediate_size: 64,
  },
  ...{ num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64 },
}

/** The same model as transformers 4 and 5 write it. */
const spellings: Record<string, [object, object]> = {
  'linear scaling': [
    { ...llama, rope_theta: 5000, rope_scaling: { type: 'linear', factor: 2 } },
    { ...llama, rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 5000 } },
  ],
  'yarn without an original length': [
    { ...llama, rope_scaling: { rope_type: 'yarn', factor: 4 } },
    {
      ...llama,
      rope_parameters: { rope_type: 'yarn', factor: 4, rope_theta: 10000, original_max_position_embeddings: 64 },
    },
  ],
  'longrope with the length outside': [
    {
      ...llama,
      original_max_position_embeddings: 16,
      rope_scaling: { type: 'su', short_factor: [1, 1, 1, 1], long_factor: [2, 2, 2, 2] },
    },
    {
      ...llama,
      rope_parameters: {
        rope_type: 'longrope',
        short_factor: [1, 1, 1, 1],
        long_factor: [2, 2, 2, 2],
        original_max_position_embeddings: 16,
        rope_theta: 10000,
      },
    },
  ],
  gpt_neox: [
    {
      ...llama,
      model_type: 'gpt_neox',
      num_key_value_heads: null,
      rotary_pct: 0.5,
      rotary_emb_base: 5000,
      architectures: undefined,
    },
    {
      ...llama,
      model_type: 'gpt_neox',
      num_key_value_heads: null,
      rope_parameters: { rope_theta: 5000, partial_rotary_factor: 0.5, rope_type: 'default' },
      architectures: undefined,
    },
  ],
  gemma3: [
    {
      ...llama,
      model_type: 'gemma3_text',
      head_dim: 8,
      sliding_window: 5,
      sliding_window_pattern: 2,
      rope_theta: 2e6,
      rope_local_base_freq: 7000,
      rope_scaling: { rope_type: 'linear', factor: 8 },
      architectures: ['Gemma3ForCausalLM'],
    },
    {
      ...{ ...llama, model_type: 'gemma3_text', head_dim: 8, sliding_window: 5, architectures: ['Gemma3ForCausalLM'] },
      layer_types: ['sliding_attention', 'full_attention', 'sliding_attention', 'full_attention'],
      rope_parameters: {
        full_attention: { rope_type: 'linear', factor: 8, rope_theta: 2e6 },
        sliding_attention: { rope_type: 'default', rope_theta: 7000 },
      },
    },
  ],
  phi: [
    { ...llama, model_type: 'phi', partial_rotary_factor: 0.25, rope_theta: 500, architectures: ['PhiForCausalLM'] },
    {
      ...llama,
      model_type: 'phi',
      rope_parameters: { rope_theta: 500, partial_rotary_factor: 0.25, rope_type: 'default' },
      architectures: ['PhiForCausalLM'],
    },
  ],
  stablelm: [
    { ...llama, model_type: 'stablelm', rope_theta: 500 },
    {
      ...llama,
      model_type: 'stablelm',
      rope_parameters: { rope_theta: 500, partial_rotary_factor: 0.25, rope_type: 'default' },
    },
  ],
  'qwen2 with windows above a layer': [
    { ...llama, model_type: 'qwen2', use_sliding_window: true, sliding_window: 7, max_window_layers: 2 },
    {
      ...llama,
      model_type: 'qwen2',
      use_sliding_window: true,
      sliding_window: 7,
      max_window_layers: 2,
      layer_types: ['full_attention', 'full_attention', 'sliding_attention', 'sliding_attention'],
    },
  ],
}

test.each(Object.entries(spellings))('%s: both spellings', (_, [older, newer]) => {
  const record = parseConfig(older as Record<string, unknown>).config
  expect(record).toEqual(parseConfig(newer as Record<string, unknown>).config)
})

test('what files on the hub carry besides is passed over', () => {
  const extra = {
    ...{
      _name_or_path: 'x',
      transformers_version: '4.40.0',
      torch_dtype: 'bfloat16',
      use_cache: true,
      bos_token_id: 1,
      eos_token_id: [2, 3],
    },
    ...{
      pretraining_tp: 1,
      attention_dropout: 0.1,
      initializer_range: 0.02,
      is_decoder: true,
      rope_interleaved: false,
      is_llama_config: true,
    },
    ...{ rope_scaling: null, some_new_feature: false, another: null, list: [], transformers_weights: undefined },
  }
  expect(parseConfig({ ...llama, ...extra }).config).toEqual(parseConfig(llama).config)
})

describe('errors name the key', () => {
  const refused = (change: object, message: RegExp, base: object = llama) => {
    expect(() => parseConfig({ ...base, ...change })).toThrow(RequestError)
    expect(() => parseConfig({ ...base, ...change })).toThrow(message)
  }

  test('unknown architectures', () => {
    refused({ model_type: 'mamba' }, /unknown architecture 'mamba', expected one of gpt2, /)
    refused({ model_type: 'lama' }, /did you mean llama\?/)
    refused({ model_type: undefined }, /no 'model_type'/)
    refused({ architectures: ['LlamaForSequenceClassification'] }, /LlamaForSequenceClassification/)
  })

  test('keys that no one reads', () => {
    refused({ attention_sink: 4 }, /'attention_sink' 4, which is unknown.*--ignore-config attention_sink/)
    refused({ rope_scaling: { rope_type: 'linear', factor: 2, twist: 3 } }, /'rope_scaling\.twist' 3/)
    refused({ rope_scaling: { rope_type: 'spiral', factor: 2 } }, /rope type 'spiral'/)
    refused({ scale_attn_by_inverse_layer_idx: true }, /'scale_attn_by_inverse_layer_idx' true, expected false/, {
      model_type: 'gpt2',
      vocab_size: 10,
      n_embd: 8,
      n_head: 2,
      n_layer: 1,
    })
    refused({ apply_residual_connection_post_layernorm: true }, /expected false/, {
      model_type: 'bloom',
      vocab_size: 10,
      hidden_size: 8,
      n_head: 2,
      n_layer: 1,
    })
    refused({ use_bidirectional_attention: true }, /use_bidirectional_attention/, { ...llama, model_type: 'gemma2' })
    refused({ quantization: { bits: 4 } }, /'quantization'/)
  })

  test('wrong values', () => {
    refused({ hidden_size: '32' }, /'hidden_size' "32", expected a whole number/)
    refused({ hidden_size: undefined }, /no 'hidden_size'/)
    refused({ num_hidden_layers: 1e9 }, /layers/)
    refused({ num_attention_heads: 3, head_dim: 8 }, /3 heads and 2 key\/value heads/)
    refused({ hidden_act: 'quick_gelu' }, /'hidden_act' "quick_gelu"/)
    refused({ layer_types: ['full_attention'], sliding_window: 3 }, /layer_types/, { ...llama, model_type: 'mistral' })
    refused({ rope_theta: -1 }, /rope_theta/)
  })

  test('an ignored key is passed over', () => {
    const { config } = parseConfig({ ...llama, attention_sink: 4, rope_scaling: { rope_type: 'spiral' } }, [
      'attention_sink',
      'rope_scaling',
    ])
    expect(config).toEqual(parseConfig(llama).config)
  })
})

/** A small config.json that every family understands under its own names. */
const anyConfig = {
  ...{
    vocab_size: 50,
    hidden_size: 32,
    n_embd: 32,
    num_hidden_layers: 4,
    n_layer: 4,
    num_layers: 4,
    num_attention_heads: 4,
    n_head: 4,
    num_heads: 4,
  },
  ...{
    num_key_value_heads: 4,
    num_kv_heads: 4,
    intermediate_size: 48,
    ffn_dim: 48,
    max_position_embeddings: 16,
    n_positions: 16,
  },
}

test.each(FAMILIES.filter(family => family.name !== 'bitlaw').map(family => family.name))(
  '%s: every parameter has one place, and rows are an order',
  name => {
    const family = FAMILIES.find(one => one.name === name)!
    const config = family.config(readConfig({ ...anyConfig, model_type: name }))
    const places = tensorPlaces(config, family.tensors(config))
    const files = places.flatMap(place => place.files)
    expect(new Set(files).size).toBe(files.length)
    const parts = places.flatMap(place => place.parts.map(part => part.name))
    expect(new Set(parts).size).toBe(parts.length)
    for (const { rows, shape, transposed } of places)
      if (rows)
        expect([...rows].sort((a, b) => a - b)).toEqual(Array.from({ length: shape[transposed ? 1 : 0] }, (_, i) => i))
  },
)
