// Block quantization as its drivers see it: what a format asks of a kernel, and the kernels of each instruction path.
// The definition is src/formats; every kernel gives the same codes, scales and values, bit for bit.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace bitlaw {

/** How codes are made: nearest level of a book; whole steps of the scale; the grids with all 2^k codes. */
enum class Rule { book = 0, step = 1, full = 2, uint = 3 };

/**
 * How a scale is stored. `given`: scales are an input; `fixed`: so are zero points; `unrounded`: only absmax (of grids the
 * step) is wanted, no codes.
 */
enum class ScaleRule { exact = 0, fp16 = 1, bf16 = 2, given = 3, unrounded = 4, fp32 = 5, e8m0 = 6, fixed = 7 };

/** A format, and the tables of its code book. */
struct BlockFormat {
  Rule rule;
  ScaleRule scale;
  /** Values that share a scale. */
  size_t length;
  /** Largest code of a step (2^(k-1) - 1) or grid (2^k - 1). */
  int top;
  /** Levels of the book in f32, and where the code changes: midpoints plus 1e-12. */
  const float* levels;
  const double* thresholds;
  int count;
  /** Code of a block without a scale. */
  int zero;
  /** The levels are i / steps; 0: any. */
  int steps;
  /** Up to 15 thresholds, filled up with infinity. */
  const double* padded;
  /**
   * Index of a larger book by the sign, exponent and upper mantissa bits of x / scale: the code below the one threshold
   * that may lie in a place (8 bits), and the upper 24 bits of that threshold as a float; null: search.
   */
  const uint32_t* index;
  int indexShift;
  uint32_t indexLow, indexHigh;
};

/** x / scale is compared exactly where it is as near to a place's threshold as this share of it. */
constexpr float DOUBT = 5e-5f;

/** A small float of an MX format: its layout, its largest code, and the exponent of its largest value; 0 bits: int8 / 64. */
struct MicroFormat {
  int bits, mantissa, bias, maxCode, emax;
};

/** How scales are found that are not just the absmax: a share of it, or the factor on that of least squared error. */
struct Search {
  const BlockFormat* format;
  /** Whether factors are searched, and how a scale is rounded that is tried. */
  bool search;
  ScaleRule tried;
  double ratio;
  /** Levels of the book. */
  const double* levels;
  /** Thresholds and levels of a book of at most 16, filled up with infinity and 0. */
  float thresholds[16], padded[16];
};

/** ggml's block types, in the order of GGML_TYPES in src/formats/ggml.ts; q8_0 has kernels of its own. */
enum class GgmlKind { q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, tq1_0, tq2_0 };
constexpr size_t GGML_KINDS = 14;
constexpr size_t ggmlBytes(GgmlKind kind) {
  constexpr size_t BYTES[GGML_KINDS] = {18, 20, 22, 24, 34, 84, 110, 144, 176, 210, 18, 136, 54, 66};
  return BYTES[static_cast<size_t>(kind)];
}
constexpr size_t ggmlBlock(GgmlKind kind) { return kind < GgmlKind::q2_k || kind == GgmlKind::iq4_nl ? 32 : 256; }

struct QuantizeOps {
  /** Encodes n values from the beginning of a block. codes may be null where scales are unrounded. */
  void (*encode)(const BlockFormat&, const float* x, size_t n, float* scales, uint8_t* zeros, uint8_t* codes);
  void (*decode)(const BlockFormat&, const uint8_t* codes, const float* scales, const uint8_t* zeros, size_t n, float* out);
  /** Whole blocks of 32: mxfp4 with a scale byte each and one code a byte; ggml's q8_0. */
  void (*encodeMxfp4)(const float* x, size_t n, uint8_t* scales, uint8_t* codes);
  void (*decodeMxfp4)(const uint8_t* codes, const uint8_t* scales, size_t n, float* out);
  void (*encodeQ8)(const float* x, size_t n, uint8_t* bytes);
  void (*decodeQ8)(const uint8_t* bytes, size_t n, float* out);
  /** plain_body.h: floats of 16 bits; codes of more than 8. */
  void (*encodeHalf)(const float* x, size_t n, uint16_t* codes);
  void (*decodeHalf)(const uint16_t* codes, size_t n, float* out);
  void (*roundHalf)(const float* x, size_t n, float* out);
  void (*encodeBf16)(const float* x, size_t n, uint16_t* codes);
  void (*encodeWide)(const BlockFormat&, const float* x, size_t n, const float* scales, uint16_t* codes);
  void (*decodeWide)(const BlockFormat&, const uint16_t* codes, const float* scales, size_t n, float* out);
  /** micro_body.h: the other MX formats, NVFP4, scales in E4M3. */
  void (*encodeMicro)(const MicroFormat&, const float* x, size_t n, uint8_t* scales, uint8_t* codes);
  void (*decodeMicro)(const float* levels, const uint8_t* codes, const uint8_t* scales, size_t n, float* out);
  void (*encodeNvfp4)(const MicroFormat&, const float* e4m3, float tensorScale, const float* x, size_t n, uint8_t* scales, uint8_t* codes);
  void (*decodeNvfp4)(const float* levels, const float* e4m3, float tensorScale, const uint8_t* codes, const uint8_t* scales, size_t n, float* out);
  void (*roundE4m3)(const float* e4m3, float tensorScale, float* scales, size_t n, uint8_t* codes);
  /** search_body.h and extras_body.h. */
  void (*findScales)(const Search&, const float* x, size_t n, float* scales, double* lows, float* most);
  void (*rotate)(float* x, size_t n, size_t size, size_t width, size_t column, const int8_t* signs, bool inverse, double* scratch);
  void (*center)(float* x, size_t n, size_t length, ScaleRule, float* means);
  void (*addMeans)(const float* means, size_t n, size_t length, float* out);
  void (*encodeRandomly)(const BlockFormat&, const double* levels, uint32_t seed, uint64_t first, const float* x, size_t n, const float* scales, const uint8_t* zeros, uint8_t* codes);
  /** ggml_pack_body.h: whole blocks; weights of the squared errors, one a value, or null. */
  void (*encodeGgml)(GgmlKind, const float* x, const double* weights, size_t blocks, uint8_t* bytes);
  void (*decodeGgml)(GgmlKind, const uint8_t* bytes, size_t blocks, float* out);
};

/** The kernels of an instruction path by its name. */
const QuantizeOps& quantizeOps(const std::string& path);

}  // namespace bitlaw
