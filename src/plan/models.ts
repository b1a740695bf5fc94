// Well-known models as records: shape and training tokens, each with its source. N is computed from the shape.
import { countShape, type Shape } from './shape.ts'

/** A published model; D is null where the authors did not say. */
export interface KnownModel {
  name: string
  /** The name on the hub. */
  hub: string
  n: number
  nTotal: number
  /** Training tokens. */
  d: number | null
  shape: Shape
  source: string
}

type Row = [
  name: string, hub: string, layers: number, width: number, heads: number, kvHeads: number, headSize: number,
  hidden: number, vocab: number, flags: string, tokens: number | null, source: string,
] // biome-ignore format: the columns of the table below

const LLAMA = 'arXiv 2302.13971, table 2'
const LLAMA2 = 'arXiv 2307.09288, table 1'
const LLAMA3 = 'arXiv 2407.21783, table 3; model cards'
const PYTHIA = 'arXiv 2304.01373, table 1'
const OPT = 'arXiv 2205.01068, table 1'
const BLOOM = 'arXiv 2211.05100, table 3'
const FALCON = 'arXiv 2311.16867'
const QWEN25 = 'arXiv 2412.15115'
const QWEN3 = 'arXiv 2505.09388'
const OLMO = 'arXiv 2402.00838'
const OLMO2 = 'arXiv 2501.00656'
const SMOLLM2 = 'arXiv 2502.02737'
const GEMMA2 = 'arXiv 2408.00118'

// Flags: g gated MLP, t tied, p learned positions of 2050 (OPT), v a bias of the unembedding. Norms are two RMS norms a
// layer and a last one, without biases anywhere, but: b biases and layer norms with biases; 1 such with one norm a layer;
// l layer norms alone, f one a layer; e one more behind the embedding; n norms without parameters; s four norms a layer;
// q biases of queries, keys and values; h norms of each head of queries and keys, w of all their heads together.
// biome-ignore format: a table
const ROWS: readonly Row[] = [
  ['llama-7b', 'huggyllama/llama-7b', 32, 4096, 32, 32, 128, 11008, 32000, 'g', 1e12, LLAMA],
  ['llama-13b', 'huggyllama/llama-13b', 40, 5120, 40, 40, 128, 13824, 32000, 'g', 1e12, LLAMA],
  ['llama-30b', 'huggyllama/llama-30b', 60, 6656, 52, 52, 128, 17920, 32000, 'g', 1.4e12, LLAMA],
  ['llama-65b', 'huggyllama/llama-65b', 80, 8192, 64, 64, 128, 22016, 32000, 'g', 1.4e12, LLAMA],
  ['llama-2-7b', 'meta-llama/Llama-2-7b-hf', 32, 4096, 32, 32, 128, 11008, 32000, 'g', 2e12, LLAMA2],
  ['llama-2-13b', 'meta-llama/Llama-2-13b-hf', 40, 5120, 40, 40, 128, 13824, 32000, 'g', 2e12, LLAMA2],
  ['llama-2-70b', 'meta-llama/Llama-2-70b-hf', 80, 8192, 64, 8, 128, 28672, 32000, 'g', 2e12, LLAMA2],
  ['llama-3-8b', 'meta-llama/Meta-Llama-3-8B', 32, 4096, 32, 8, 128, 14336, 128256, 'g', 15e12, LLAMA3],
  ['llama-3-70b', 'meta-llama/Meta-Llama-3-70B', 80, 8192, 64, 8, 128, 28672, 128256, 'g', 15e12, LLAMA3],
  ['llama-3.1-405b', 'meta-llama/Llama-3.1-405B', 126, 16384, 128, 8, 128, 53248, 128256, 'g', 15.6e12, LLAMA3],
  ['llama-3.2-1b', 'meta-llama/Llama-3.2-1B', 16, 2048, 32, 8, 64, 8192, 128256, 'gt', 9e12, 'model card'],
  ['llama-3.2-3b', 'meta-llama/Llama-3.2-3B', 28, 3072, 24, 8, 128, 8192, 128256, 'gt', 9e12, 'model card'],
  ['mistral-7b', 'mistralai/Mistral-7B-v0.1', 32, 4096, 32, 8, 128, 14336, 32000, 'g', null, 'arXiv 2310.06825'],
  ['tinyllama-1.1b', 'TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T', 22, 2048, 32, 4, 64, 5632, 32000, 'g', 3e12, 'arXiv 2401.02385'],
  ['pythia-70m', 'EleutherAI/pythia-70m', 6, 512, 8, 8, 64, 2048, 50304, 'b', 3e11, PYTHIA],
  ['pythia-160m', 'EleutherAI/pythia-160m', 12, 768, 12, 12, 64, 3072, 50304, 'b', 3e11, PYTHIA],
  ['pythia-410m', 'EleutherAI/pythia-410m', 24, 1024, 16, 16, 64, 4096, 50304, 'b', 3e11, PYTHIA],
  ['pythia-1b', 'EleutherAI/pythia-1b', 16, 2048, 8, 8, 256, 8192, 50304, 'b', 3e11, PYTHIA],
  ['pythia-1.4b', 'EleutherAI/pythia-1.4b', 24, 2048, 16, 16, 128, 8192, 50304, 'b', 3e11, PYTHIA],
  ['pythia-2.8b', 'EleutherAI/pythia-2.8b', 32, 2560, 32, 32, 80, 10240, 50304, 'b', 3e11, PYTHIA],
  ['pythia-6.9b', 'EleutherAI/pythia-6.9b', 32, 4096, 32, 32, 128, 16384, 50432, 'b', 3e11, PYTHIA],
  ['pythia-12b', 'EleutherAI/pythia-12b', 36, 5120, 40, 40, 128, 20480, 50688, 'b', 3e11, PYTHIA],
  ['gpt-neox-20b', 'EleutherAI/gpt-neox-20b', 44, 6144, 64, 64, 96, 24576, 50432, 'b', 4.72e11, 'arXiv 2204.06745'],
  ['opt-125m', 'facebook/opt-125m', 12, 768, 12, 12, 64, 3072, 50272, 'btp', 1.8e11, OPT],
  ['opt-1.3b', 'facebook/opt-1.3b', 24, 2048, 32, 32, 64, 8192, 50272, 'btp', 1.8e11, OPT],
  ['opt-2.7b', 'facebook/opt-2.7b', 32, 2560, 32, 32, 80, 10240, 50272, 'btp', 1.8e11, OPT],
  ['opt-6.7b', 'facebook/opt-6.7b', 32, 4096, 32, 32, 128, 16384, 50272, 'btp', 1.8e11, OPT],
  ['opt-13b', 'facebook/opt-13b', 40, 5120, 40, 40, 128, 20480, 50272, 'btp', 1.8e11, OPT],
  ['opt-30b', 'facebook/opt-30b', 48, 7168, 56, 56, 128, 28672, 50272, 'btp', 1.8e11, OPT],
  ['opt-66b', 'facebook/opt-66b', 64, 9216, 72, 72, 128, 36864, 50272, 'btp', 1.8e11, OPT],
  ['opt-175b', 'facebook/opt-175b', 96, 12288, 96, 96, 128, 49152, 50272, 'btp', 1.8e11, OPT],
  ['bloom-560m', 'bigscience/bloom-560m', 24, 1024, 16, 16, 64, 4096, 250880, 'bte', 3.41e11, BLOOM],
  ['bloom-1b7', 'bigscience/bloom-1b7', 24, 2048, 16, 16, 128, 8192, 250880, 'bte', 3.41e11, BLOOM],
  ['bloom-7b1', 'bigscience/bloom-7b1', 30, 4096, 32, 32, 128, 16384, 250880, 'bte', 3.41e11, BLOOM],
  ['bloom', 'bigscience/bloom', 70, 14336, 112, 112, 128, 57344, 250880, 'bte', 3.66e11, BLOOM],
  ['falcon-7b', 'tiiuae/falcon-7b', 32, 4544, 71, 1, 64, 18176, 65024, 'tf', 1.5e12, FALCON],
  ['falcon-40b', 'tiiuae/falcon-40b', 60, 8192, 128, 8, 64, 32768, 65024, 'tl', 1e12, FALCON],
  ['qwen2.5-0.5b', 'Qwen/Qwen2.5-0.5B', 24, 896, 14, 2, 64, 4864, 151936, 'gtq', 1.8e13, QWEN25],
  ['qwen2.5-1.5b', 'Qwen/Qwen2.5-1.5B', 28, 1536, 12, 2, 128, 8960, 151936, 'gtq', 1.8e13, QWEN25],
  ['qwen2.5-7b', 'Qwen/Qwen2.5-7B', 28, 3584, 28, 4, 128, 18944, 152064, 'gq', 1.8e13, QWEN25],
  ['qwen2.5-32b', 'Qwen/Qwen2.5-32B', 64, 5120, 40, 8, 128, 27648, 152064, 'gq', 1.8e13, QWEN25],
  ['qwen2.5-72b', 'Qwen/Qwen2.5-72B', 80, 8192, 64, 8, 128, 29568, 152064, 'gq', 1.8e13, QWEN25],
  ['qwen3-0.6b', 'Qwen/Qwen3-0.6B-Base', 28, 1024, 16, 8, 128, 3072, 151936, 'gth', 3.6e13, QWEN3],
  ['qwen3-8b', 'Qwen/Qwen3-8B-Base', 36, 4096, 32, 8, 128, 12288, 151936, 'gh', 3.6e13, QWEN3],
  ['qwen3-32b', 'Qwen/Qwen3-32B', 64, 5120, 64, 8, 128, 25600, 151936, 'gh', 3.6e13, QWEN3],
  ['olmo-1b', 'allenai/OLMo-1B-hf', 16, 2048, 16, 16, 128, 8192, 50304, 'gtn', 3e12, OLMO],
  ['olmo-7b', 'allenai/OLMo-7B-hf', 32, 4096, 32, 32, 128, 11008, 50304, 'gn', 2.46e12, OLMO],
  ['olmo-2-7b', 'allenai/OLMo-2-1124-7B', 32, 4096, 32, 32, 128, 11008, 100352, 'gw', 4e12, OLMO2],
  ['olmo-2-13b', 'allenai/OLMo-2-1124-13B', 40, 5120, 40, 40, 128, 13824, 100352, 'gw', 5e12, OLMO2],
  ['olmo-2-32b', 'allenai/OLMo-2-0325-32B', 64, 5120, 40, 8, 128, 27648, 100352, 'gw', 6e12, OLMO2],
  ['smollm2-135m', 'HuggingFaceTB/SmolLM2-135M', 30, 576, 9, 3, 64, 1536, 49152, 'gt', 2e12, SMOLLM2],
  ['smollm2-360m', 'HuggingFaceTB/SmolLM2-360M', 32, 960, 15, 5, 64, 2560, 49152, 'gt', 4e12, SMOLLM2],
  ['smollm2-1.7b', 'HuggingFaceTB/SmolLM2-1.7B', 24, 2048, 32, 32, 64, 8192, 49152, 'gt', 1.1e13, SMOLLM2],
  ['gemma-2-2b', 'google/gemma-2-2b', 26, 2304, 8, 4, 256, 9216, 256000, 'gts', 2e12, GEMMA2],
  ['gemma-2-9b', 'google/gemma-2-9b', 42, 3584, 16, 8, 256, 14336, 256000, 'gts', 8e12, GEMMA2],
  ['gemma-2-27b', 'google/gemma-2-27b', 46, 4608, 32, 16, 128, 36864, 256000, 'gts', 1.3e13, GEMMA2],
  ['phi-2', 'microsoft/phi-2', 32, 2560, 32, 32, 80, 10240, 51200, '1v', 1.4e12, 'model card'],
]

/** Parameters of norms and biases; undefined: those of Llama. */
function vectorsOf(
  flags: string,
  sizes: Pick<Shape, 'layers' | 'width' | 'heads' | 'kvHeads' | 'headSize' | 'hidden'>,
) {
  const { layers, width, heads, kvHeads, headSize, hidden } = sizes
  const has = (flag: string) => flags.includes(flag)
  const queries = heads * headSize
  const keys = kvHeads * headSize
  if (has('b') || has('1')) {
    const biases = queries + 2 * keys + width + hidden + width
    return layers * (biases + (has('1') ? 2 : 4) * width) + (has('e') ? 4 : 2) * width
  }
  if (has('f') || has('l')) return (layers * (has('f') ? 2 : 4) + 2) * width
  if (has('n')) return 0
  const norms = (layers * (has('s') ? 4 : 2) + 1) * width
  const perLayer = (has('q') ? queries + 2 * keys : 0) + (has('h') ? 2 * headSize : 0) + (has('w') ? queries + keys : 0)
  return norms + layers * perLayer
}

/** All known models. */
export const MODELS: readonly KnownModel[] = ROWS.map(
  ([name, hub, layers, width, heads, kvHeads, headSize, hidden, vocab, flags, d, source]) => {
    const vectors = vectorsOf(flags, { layers, width, heads, kvHeads, headSize, hidden })
    const shape: Shape = {
      layers,
      width,
      heads,
      kvHeads,
      headSize,
      hidden,
      gated: flags.includes('g'),
      vocab,
      tied: flags.includes('t'),
      vectors,
      // A bias of the unembedding counts as embedding, as positions do.
      positions: (flags.includes('p') ? 2050 : 0) + (flags.includes('v') ? vocab / width : 0),
    }
    return { name, hub, ...countShape(shape), d, shape, source }
  },
)
