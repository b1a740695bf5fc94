// What a number format is: a record of the element, what shares a scale, how the scale is stored, and extras.
// Everything else in this folder is a function of this record.

/** Element types that need a scale: what one code can be, before it is multiplied. */
export type Element =
  | { readonly kind: 'int'; readonly bits: number; readonly book: 'exact' | 'bnb' } // symmetric, 2^bits - 1 levels
  | { readonly kind: 'full'; readonly bits: number } // GPTQ's symmetric grid, all 2^bits codes
  | { readonly kind: 'uint'; readonly bits: number } // with a zero point of as many bits
  | { readonly kind: 'ternary' } // -1, 0, 1 counted as log2(3) bits
  | {
      readonly kind: 'fp'
      readonly bits: number
      readonly exponent: number
      readonly mantissa: number
      readonly book: FloatBook
    }
  | { readonly kind: 'dyn'; readonly bits: number; readonly exponent: number } // dynamic exponent of at most so many bits
  | { readonly kind: 'quantile'; readonly bits: number; readonly book: QuantileBook }
  | { readonly kind: 'nf'; readonly bits: number; readonly book: 'exact' | 'bnb' | 'bnb_table' }

/** Float code books: IEEE-like (all codes finite), bitsandbytes' two, the k-bit paper's, OCP FP8's finite values. */
export type FloatBook = 'ieee' | 'bnb' | 'bnb_table' | 'paper' | 'ocp'

/** Quantile code books: estimated on the tensor itself (`sample`), or those of the exact normal. */
export type QuantileBook = 'midpoint_sample' | 'midpoint_normal' | 'paper_sample' | 'paper_normal'

/** What shares one scale: a block of so many consecutive values, a row (channel of weights, token of activations), or all. */
export type Shares = number | 'channel' | 'token' | 'tensor'

/** How a scale is stored. */
export type ScaleKind = 'fp16' | 'bf16' | 'fp32' | 'e8m0' | 'e4m3' | 'dyn8x256' | 'exact'

/** A scaled element with its extras. */
export interface ScaledFormat {
  readonly kind: 'scaled'
  readonly element: Element
  readonly shares: Shares
  readonly scale: ScaleKind
  /** The block's mean is subtracted and stored. */
  readonly centered: boolean
  /** Percentage of input dimensions kept in 16 bits; 0: none. */
  readonly proxy: number
  /** A random-sign Hadamard rotation of the input dimensions comes first. */
  readonly hadamard: boolean
  /** Rounding is stochastic. */
  readonly stochastic: boolean
  /** The scale has the least squared error, instead of reaching the absmax. */
  readonly clip: boolean
}

/** A float type that needs no scale. */
export interface PlainFormat {
  readonly kind: 'plain'
  readonly name: 'bf16' | 'fp16' | 'fp32'
}

/** Names of the presets of the OCP MX specification, NVIDIA and ggml. */
export const PRESETS = [
  'mxfp4', 'mxfp6e2m3', 'mxfp6e3m2', 'mxfp8e4m3', 'mxfp8e5m2', 'mxint8', 'nvfp4',
  'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'tq1_0', 'tq2_0',
] as const // biome-ignore format: two families

/** Name of a preset. */
export type PresetName = (typeof PRESETS)[number]

/** A format whose layout on disk is someone else's. */
export interface PresetFormat {
  readonly kind: 'preset'
  readonly name: PresetName
}

/** A number format. */
export type Format = ScaledFormat | PlainFormat | PresetFormat

/** A format or its spelling: what every function of this folder takes. */
export type FormatLike = Format | string

/** Arrays that hold a tensor's values, row major. */
export type Floats = Float32Array | Float64Array

/** Options of encoding: `keep` the input dimensions that +proxy keeps, `seed` of +hadamard and +sr, `absmaxRatio` a factor on every absmax (clipped training), `importance` a weight of each input dimension for ggml's types (llama.cpp's importance matrix). */
export interface EncodeOptions {
  readonly keep?: ArrayLike<number>
  readonly seed?: number
  readonly absmaxRatio?: number
  readonly importance?: ArrayLike<number>
}

/** One encoded tensor; the parts that its format has. All are indexed in the order of the flattened tensor. */
export interface Encoded {
  /** The format's spelling. */
  readonly format: string
  readonly shape: readonly number[]
  /** Code books: index into the sorted levels; integers by row or tensor: signed steps; grids: 0 … 2^k - 1; MX, NVFP4: bit patterns; plain: 16-bit patterns. */
  readonly codes?: Uint8Array | Int8Array | Uint16Array | Int16Array | Float32Array
  /** What multiplies, one a block; of MX and NVFP4 the stored bytes. */
  readonly scales?: Float32Array | Float64Array | Uint8Array
  /** The stored bytes of scales of one byte (e8m0, e4m3, dyn8x256). */
  readonly scaleCodes?: Uint8Array
  /** Zero points of `uint` and `int…full`, one a block. */
  readonly zeros?: Uint8Array
  /** The one f32 of a tensor with e4m3 scales. */
  readonly tensorScale?: number
  /** dyn8x256: absmax of each 256 scales, and the mean that was subtracted from all. */
  readonly scaleScales?: Float32Array
  readonly scaleOffset?: number
  /** Block means of +centered. */
  readonly means?: Float32Array | Float64Array
  /** Normalised levels where they were estimated on the tensor. */
  readonly levels?: Float64Array
  /** +proxy: the kept input dimensions, and their values (dimension after dimension, fp16 patterns). */
  readonly keep?: Int32Array
  readonly kept?: Uint16Array
  readonly seed?: number
  /** The whole tensor in ggml's layout. */
  readonly bytes?: Uint8Array
}
