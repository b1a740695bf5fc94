// OPT: learned positions behind two unused rows, LayerNorms before each part (after the sum in opt-350m, with projected embeddings), ReLU.
import { type Family, one } from './family.ts'

export const opt: Family = {
  name: 'opt',
  architecture: 'OPTForCausalLM',
  config(read) {
    const width = read.integer('hidden_size')
    const heads = read.integer('num_attention_heads')
    const headSize = Math.floor(width / heads)
    const context = read.integer('max_position_embeddings', 2048)
    const before = read.flag('do_layer_norm_before', true)
    const bias = read.flag('enable_bias', true)
    const affine = read.flag('layer_norm_elementwise_affine', true)
    return {
      family: 'opt',
      vocab: read.integer('vocab_size'),
      width,
      layers: read.integer('num_hidden_layers'),
      heads,
      kvHeads: heads,
      headSize,
      hidden: read.integer('ffn_dim'),
      context,
      norm: { kind: 'layer', eps: 1e-5, gain: affine, bias: affine, gainOffset: 0 },
      normPlacement: before ? 'pre' : 'post',
      residual: 'sequential',
      finalNorm: before && !read.flag('_remove_final_layer_norm', false),
      embeddingNorm: false,
      embeddingWidth: read.integer('word_embed_proj_dim', width),
      embeddingScale: 1,
      position: { kind: 'learned', positions: context, offset: 2 },
      mlp: { gated: false, activation: read.activation('activation_function', 'relu') },
      bias: { qkv: bias, output: bias, mlp: bias, head: false },
      qkNorm: 'none',
      attention: { scale: 1 / Math.sqrt(headSize), clip: null, softcap: null },
      logitSoftcap: null,
      tied: read.flag('tie_word_embeddings', true),
    }
  },
  harmless: ['activation_dropout', 'output_projection'],
  prefix: 'model.',
  tensors(config) {
    const place = config.normPlacement === 'pre' ? 'Norm' : 'PostNorm'
    return [
      one('model.decoder.embed_tokens.weight', 'embedding.weight'),
      one('model.decoder.embed_positions.weight', 'position.weight'),
      one('model.decoder.project_in.weight', 'projectIn.weight'),
      one('model.decoder.layers.{}.self_attn_layer_norm.*', `layers.{}.attention${place}.*`),
      one('model.decoder.layers.{}.self_attn.q_proj.*', 'layers.{}.q.*'),
      one('model.decoder.layers.{}.self_attn.k_proj.*', 'layers.{}.k.*'),
      one('model.decoder.layers.{}.self_attn.v_proj.*', 'layers.{}.v.*'),
      one('model.decoder.layers.{}.self_attn.out_proj.*', 'layers.{}.o.*'),
      one('model.decoder.layers.{}.final_layer_norm.*', `layers.{}.mlp${place}.*`),
      one('model.decoder.layers.{}.fc1.*', 'layers.{}.up.*'),
      one('model.decoder.layers.{}.fc2.*', 'layers.{}.down.*'),
      one('model.decoder.final_layer_norm.*', 'norm.*'),
      one('model.decoder.project_out.weight', 'projectOut.weight'),
      one('lm_head.weight', 'head.weight'),
    ]
  },
  spell: config => ({
    vocab_size: config.vocab,
    hidden_size: config.width,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    ffn_dim: config.hidden,
    max_position_embeddings: config.context,
    word_embed_proj_dim: config.embeddingWidth,
    do_layer_norm_before: config.normPlacement === 'pre',
    _remove_final_layer_norm: config.normPlacement === 'pre' && !config.finalNorm,
    activation_function: config.mlp.activation === 'geluTanh' ? 'gelu_new' : config.mlp.activation,
    enable_bias: config.bias.qkv,
    layer_norm_elementwise_affine: config.norm.gain,
    tie_word_embeddings: config.tied,
  }),
}
