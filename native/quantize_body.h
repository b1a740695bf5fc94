// Block quantization kernels, compiled once for each instruction path. Loops are written plainly over one block at a time,
// which stays in the first cache, so that the compiler turns each into vector instructions. Divisions are divisions:
// a code is decided by x / scale, in double against the thresholds of a book, in float for steps and grids, as src/formats does.
// A fast estimate is used only where it cannot decide wrongly; the few values near a threshold are decided exactly.
#pragma once
#include <cmath>
#include <cstring>

#include "quantize.h"
#include "simd.h"

namespace bitlaw::PATH {
namespace {

typedef uint32_t Bits __attribute__((may_alias));

/** Values that go through a block's stages at once. */
constexpr size_t CHUNK = 256;

inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

/** fp16 bits of a float that is not negative, to nearest, ties to even; too large saturates, nan stays. */
inline uint16_t halfBits(float x) {
  uint32_t bits = bitsOf(x);
  if (bits > 0x7f800000u) return 0x7e00;
  if (bits >= 0x477fe000u) return 0x7bff;  // 65504 and above
  if (bits < 0x38800000u) {  // below 2^-14: units of 2^-24
    if (bits < 0x33000000u) return 0;
    uint32_t shift = 126 - (bits >> 23), mantissa = (bits & 0x7fffff) | 0x800000;
    uint32_t low = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1), code = mantissa >> shift;
    return static_cast<uint16_t>(code + (low > half || (low == half && (code & 1))));
  }
  return static_cast<uint16_t>((bits - 0x38000000u + 0xfff + ((bits >> 13) & 1)) >> 13);
}
inline float halfValue(uint16_t half) {
  uint32_t magnitude = half & 0x7fff, sign = static_cast<uint32_t>(half & 0x8000) << 16;
  if (magnitude >= 0x7c00) return floatOf(sign | 0x7f800000u | ((magnitude & 0x3ff) << 13));
  if (magnitude >= 0x400) return floatOf(sign | ((magnitude << 13) + 0x38000000u));
  float size = static_cast<float>(magnitude) * 5.9604644775390625e-8f;
  return sign ? -size : size;
}

/** A scale as it is stored. nan stays nan. */
inline float roundScale(float x, ScaleRule rule) {
#if defined(__F16C__)
  if (rule == ScaleRule::fp16) return _cvtsh_ss(_cvtss_sh(x > 65504.0f ? 65504.0f : x, _MM_FROUND_TO_NEAREST_INT));
#endif
  if (rule == ScaleRule::fp16) return halfValue(halfBits(x));
  if (rule == ScaleRule::fp32) return x > 3.4028235e38f ? 3.4028235e38f : x;
  uint32_t bits = bitsOf(x);
  if (rule == ScaleRule::e8m0) {
    if (bits >= 0x7f800000u) return floatOf(0x7fc00000u);
    if (bits <= 0x00400000u) return floatOf(0x00400000u);
    bits = (bits + 0x7fffff) & 0x7f800000u;
    return floatOf(bits < 0x7f000000u ? bits : 0x7f000000u);
  }
  if (rule != ScaleRule::bf16) return x;
  if (bits > 0x7f800000u) return x;
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  return floatOf(rounded >= 0x7f800000u ? 0x7f7f0000u : rounded);
}

/** Largest magnitude, nan where a value is nan or infinite. */
inline float absmaxOf(const float* x, size_t n) {
#if defined(__AVX512F__)
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i most = _mm512_setzero_si512();
  size_t at = 0;
  for (; at + 16 <= n; at += 16) most = _mm512_max_epu32(most, _mm512_and_si512(_mm512_loadu_si512(x + at), magnitude));
  if (at < n) most = _mm512_max_epu32(most, _mm512_and_si512(_mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << (n - at)) - 1), x + at), magnitude));
  const uint32_t found = _mm512_reduce_max_epu32(most);
  return found >= 0x7f800000u ? floatOf(0x7fc00000u) : floatOf(found);
#else
  const Bits* bits = reinterpret_cast<const Bits*>(x);
  uint32_t largest = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t magnitude = bits[i] & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest >= 0x7f800000u ? floatOf(0x7fc00000u) : floatOf(largest);
#endif
}

/** The largest float not above x. */
inline float roundDown(double x) {
  float rounded = static_cast<float>(x);
  return static_cast<double>(rounded) > x ? std::nextafterf(rounded, -__builtin_inff()) : rounded;
}

/** Codes on a book of at most 16 levels: thresholds times scale once a block, then comparisons of floats. */
template <int THRESHOLDS>
inline void codesOfSmallBook(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
#if defined(__AVX512F__)
  // x > scale * c exactly where x is above the largest float that is not: the conversion rounds down.
  __m512d s = _mm512_set1_pd(scale);
  __m256 low = _mm512_cvt_roundpd_ps(_mm512_mul_pd(s, _mm512_loadu_pd(format.padded)), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m256 high = _mm512_cvt_roundpd_ps(_mm512_mul_pd(s, _mm512_loadu_pd(format.padded + 8)), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 table = _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
  const __m512i one = _mm512_set1_epi32(1), two = _mm512_set1_epi32(2), four = _mm512_set1_epi32(4), eight = _mm512_set1_epi32(8);
  const __m512 middle = _mm512_permutexvar_ps(_mm512_set1_epi32(7), table);
  for (size_t i = 0; i < n; i += 16) {
    __mmask16 lanes = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
    __m512i code = _mm512_maskz_mov_epi32(_mm512_cmp_ps_mask(v, middle, _CMP_GT_OQ), eight);
    __m512 t = _mm512_permutexvar_ps(_mm512_add_epi32(code, _mm512_set1_epi32(3)), table);
    code = _mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(v, t, _CMP_GT_OQ), code, four);
    t = _mm512_permutexvar_ps(_mm512_add_epi32(code, one), table);
    code = _mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(v, t, _CMP_GT_OQ), code, two);
    t = _mm512_permutexvar_ps(code, table);
    code = _mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(v, t, _CMP_GT_OQ), code, one);
    _mm_mask_storeu_epi8(codes + i, lanes, _mm512_cvtepi32_epi8(code));
  }
#else
  float above[THRESHOLDS];
  for (int j = 0; j < THRESHOLDS; j++) above[j] = roundDown(static_cast<double>(scale) * format.thresholds[j]);
  for (size_t i = 0; i < n; i++) {
    int32_t code = 0;
    for (int j = 0; j < THRESHOLDS; j++) code += x[i] > above[j];
    codes[i] = static_cast<uint8_t>(code);
  }
#endif
}

/** The definition: how many thresholds lie below x / scale. */
inline int exactCode(const BlockFormat& format, double q) {
  int low = 0, high = format.count - 1;
  while (low < high) {
    int middle = (low + high) >> 1;
    if (q > format.thresholds[middle]) low = middle + 1;
    else high = middle;
  }
  return low;
}

#if defined(__AVX512F__)
/** Codes on a book of equal steps where no value is beyond the last level by half a step. */
inline void codesOfEqualSteps(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
  const float steps = static_cast<float>(format.steps);
  const __m512 factor = _mm512_set1_ps(steps / scale), limit = _mm512_set1_ps(0.5f - 1e-4f - steps * 1e-6f);
  const __m512i middle = _mm512_set1_epi32(format.steps);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), factor);
    const __m512i code = _mm512_cvtps_epi32(v);
    const __m512 off = _mm512_abs_ps(_mm512_sub_ps(v, _mm512_cvtepi32_ps(code)));
    _mm_mask_storeu_epi8(codes + i, lanes, _mm512_cvtepi32_epi8(_mm512_add_epi32(code, middle)));
    for (uint32_t doubt = _mm512_cmp_ps_mask(off, limit, _CMP_GT_OQ); doubt; doubt &= doubt - 1) {
      const size_t at = i + static_cast<size_t>(__builtin_ctz(doubt));
      codes[at] = static_cast<uint8_t>(exactCode(format, static_cast<double>(x[at]) / scale));
    }
  }
}

/** Codes on any book by its index: 16 places looked up at once; those next to their threshold are decided exactly. */
inline void codesByIndex(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
  const uint32_t places = ((format.indexHigh - format.indexLow) >> format.indexShift) + 1;
  const __m512 inverse = _mm512_set1_ps(1.0f / scale), doubt = _mm512_set1_ps(DOUBT);
  const __m512i low = _mm512_set1_epi32(static_cast<int>(format.indexLow)), high = _mm512_set1_epi32(static_cast<int>(format.indexHigh));
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), half = _mm512_set1_epi32(static_cast<int>(places)), byte = _mm512_set1_epi32(0xff);
  const __m512i one = _mm512_set1_epi32(1);
  const __m128i shift = _mm_cvtsi32_si128(format.indexShift);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512 u = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), inverse);
    const __m512i bits = _mm512_castps_si512(u);
    const __m512i size = _mm512_min_epu32(_mm512_max_epu32(_mm512_and_si512(bits, magnitude), low), high);
    __m512i place = _mm512_srl_epi32(_mm512_sub_epi32(size, low), shift);
    place = _mm512_mask_add_epi32(place, _mm512_movepi32_mask(bits), place, half);
    const __m512i entry = _mm512_i32gather_epi32(place, format.index, 4);
    const __m512 threshold = _mm512_castsi512_ps(_mm512_andnot_si512(byte, entry));
    const __m512i code = _mm512_and_si512(entry, byte);
    const __m512 off = _mm512_abs_ps(_mm512_sub_ps(u, threshold));
    _mm_mask_storeu_epi8(codes + i, lanes, _mm512_cvtepi32_epi8(_mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(u, threshold, _CMP_GT_OQ), code, one)));
    const __mmask16 unsure = _mm512_mask_cmp_ps_mask(lanes, off, _mm512_mul_ps(_mm512_abs_ps(threshold), doubt), _CMP_LE_OQ);
    for (uint32_t rest = unsure; rest; rest &= rest - 1) {
      const size_t at = i + static_cast<size_t>(__builtin_ctz(rest));
      codes[at] = static_cast<uint8_t>(exactCode(format, static_cast<double>(x[at]) / scale));
    }
  }
}
#endif

/** Codes on a book of equal steps: rounding, except near a midpoint. */
inline void codesOfUniformBook(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
  const float steps = static_cast<float>(format.steps), factor = steps / scale, limit = 0.5f - 1e-4f - steps * 1e-6f;
  if (!(factor < 1e30f)) {  // a subnormal scale: its reciprocal is no good
    for (size_t i = 0; i < n; i++) codes[i] = static_cast<uint8_t>(exactCode(format, static_cast<double>(x[i]) / scale));
    return;
  }
  for (size_t at = 0; at < n; at += CHUNK) {
    size_t count = n - at < CHUNK ? n - at : CHUNK;
    int32_t doubt = 0;
    for (size_t i = 0; i < count; i++) {
      float v = x[at + i] * factor;
      v = v > steps ? steps : v < -steps ? -steps : v;  // a scale that saturated is far below its values
      float r = __builtin_rintf(v);
      float off = v - r;
      doubt |= (off < 0 ? -off : off) > limit;
      codes[at + i] = static_cast<uint8_t>(static_cast<int32_t>(r) + format.steps);
    }
    if (!doubt) continue;
    for (size_t i = at; i < at + count; i++) {
      float v = x[i] * factor;
      float off = v - __builtin_rintf(v);
      if ((off < 0 ? -off : off) > limit) codes[i] = static_cast<uint8_t>(exactCode(format, static_cast<double>(x[i]) / scale));
    }
  }
}

/** Codes on any book, by its index: only where a threshold is near is it looked at. */
inline void codesOfIndexedBook(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
  const float inverse = 1.0f / scale;
  if (!format.index || !(inverse < 1e30f)) {
    for (size_t i = 0; i < n; i++) codes[i] = static_cast<uint8_t>(exactCode(format, static_cast<double>(x[i]) / scale));
    return;
  }
#if defined(__AVX512F__)
  codesByIndex(format, x, n, scale, codes);
#else
  const uint32_t low = format.indexLow, high = format.indexHigh, places = ((high - low) >> format.indexShift) + 1;
  for (size_t at = 0; at < n; at += CHUNK) {
    uint32_t place[CHUNK];
    size_t count = n - at < CHUNK ? n - at : CHUNK;
    for (size_t i = 0; i < count; i++) {
      uint32_t bits = bitsOf(x[at + i] * inverse), magnitude = bits & 0x7fffffffu;
      magnitude = magnitude < low ? low : magnitude > high ? high : magnitude;
      place[i] = ((magnitude - low) >> format.indexShift) + (bits >> 31) * places;
    }
    for (size_t i = 0; i < count; i++) {
      const uint32_t entry = format.index[place[i]];
      const float threshold = floatOf(entry & 0xffffff00u), u = x[at + i] * inverse, off = u - threshold;
      int code = static_cast<int>(entry & 255) + (u > threshold);
      if ((off < 0 ? -off : off) <= (threshold < 0 ? -threshold : threshold) * DOUBT) code = exactCode(format, static_cast<double>(x[at + i]) / scale);
      codes[at + i] = static_cast<uint8_t>(code);
    }
  }
#endif
}

inline void codesOfBook(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
  if (scale == 0 || !(std::fabs(scale) <= 3.4028235e38f)) {
    std::memset(codes, format.zero, n);
    return;
  }
  if (scale < 0) {  // a small scale that was quantized with others of its tensor
    for (size_t i = 0; i < n; i++) codes[i] = static_cast<uint8_t>(exactCode(format, static_cast<double>(x[i]) / scale));
    return;
  }
  const bool normal = scale >= 1e-30f;  // products with thresholds lose nothing to subnormals
#if defined(__AVX512F__)
  // A scale of the block's own, within the normal range of its type, is at most 2^-8 below the largest value.
  const bool own = format.scale == ScaleRule::bf16 ? normal && scale < 1e38f : format.scale == ScaleRule::fp16 ? scale >= 6.2e-5f && scale < 65504 : normal && (format.scale == ScaleRule::exact || format.scale == ScaleRule::fp32);
  if (own && format.steps > 0 && format.steps * (format.scale == ScaleRule::bf16 ? 16 : 1) < 128) return codesOfEqualSteps(format, x, n, scale, codes);
#endif
  if (normal && format.count <= 16) {
    switch (format.count) {
      case 3: return codesOfSmallBook<2>(format, x, n, scale, codes);
      case 4: return codesOfSmallBook<3>(format, x, n, scale, codes);
      case 7: return codesOfSmallBook<6>(format, x, n, scale, codes);
      case 8: return codesOfSmallBook<7>(format, x, n, scale, codes);
      case 15: return codesOfSmallBook<14>(format, x, n, scale, codes);
      case 16: return codesOfSmallBook<15>(format, x, n, scale, codes);
    }
  }
  if (normal && format.steps > 0) return codesOfUniformBook(format, x, n, scale, codes);
  codesOfIndexedBook(format, x, n, scale, codes);
}

/** Codes in whole steps, signed: round(x / scale), ties to even. */
inline void codesOfSteps(const BlockFormat& format, const float* x, size_t n, float scale, uint8_t* codes) {
  if (scale == 0 || !(std::fabs(scale) <= 3.4028235e38f)) {
    std::memset(codes, 0, n);
    return;
  }
  const float top = static_cast<float>(format.top);
  for (size_t i = 0; i < n; i++) {
    float q = x[i] / scale;
    q = q > top ? top : q < -top ? -top : q;
    codes[i] = static_cast<uint8_t>(static_cast<int32_t>(__builtin_rintf(q)));
  }
}

/** Least and largest value, 0 included; symmetric where asked; -1 and 1 where all are 0; nan where a value is not finite. */
inline void rangeOf(const float* x, size_t n, bool symmetric, float& low, float& high) {
  F least = set(0), most = set(0);
  size_t at = 0;
  for (; at + W <= n; at += W) {
    const F v = load(x + at);
    least = min(v, least);
    most = max(v, most);
  }
  low = -maxOf(least * set(-1));
  high = maxOf(most);
  for (; at < n; at++) {
    low = x[at] < low ? x[at] : low;
    high = x[at] > high ? x[at] : high;
  }
  float size = absmaxOf(x, n);
  if (size != size) {
    low = high = size;
    return;
  }
  if (symmetric) {
    high = -low > high ? -low : high;
    if (low < 0) low = -high;
  }
  if (low == 0 && high == 0) {
    low = -1;
    high = 1;
  }
}

inline void encodeGridBlock(const BlockFormat& format, const float* x, size_t n, float* scale, uint8_t* zeroOut, uint8_t* codes) {
  float low = 0, high = 0;
  const bool full = format.rule == Rule::full;
  const float top = static_cast<float>(format.top);
  if (format.scale != ScaleRule::fixed) rangeOf(x, n, full, low, high);
  if (format.scale != ScaleRule::given && format.scale != ScaleRule::fixed) *scale = roundScale((high - low) / top, format.scale);
  if (format.scale == ScaleRule::unrounded) return;
  const float size = *scale;
  float zero = 0;
  if (format.scale == ScaleRule::fixed) zero = *zeroOut;
  else if (full) zero = static_cast<float>((format.top + 1) / 2);
  else if (size > 0) {
    float place = -low / size;
    zero = __builtin_rintf(place < 0 ? 0 : place > top ? top : place);
  }
  *zeroOut = static_cast<uint8_t>(zero);
  if (!(size > 0)) {
    std::memset(codes, *zeroOut, n);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    float q = x[i] / size;
    q = q > top ? top : q < -top ? -top : q;
    float code = __builtin_rintf(q) + zero;
    code = code < 0 ? 0 : code > top ? top : code;
    codes[i] = static_cast<uint8_t>(static_cast<int32_t>(code));
  }
}

void encode(const BlockFormat& format, const float* x, size_t n, float* scales, uint8_t* zeros, uint8_t* codes) {
  for (size_t at = 0, block = 0; at < n; at += format.length, block++) {
    size_t count = n - at < format.length ? n - at : format.length;
    if (format.rule == Rule::full || format.rule == Rule::uint) {
      encodeGridBlock(format, x + at, count, scales + block, zeros ? zeros + block : nullptr, codes ? codes + at : nullptr);
      continue;
    }
    if (format.scale != ScaleRule::given && format.scale != ScaleRule::fixed) {
      float size = absmaxOf(x + at, count);
      if (format.rule == Rule::step) size /= static_cast<float>(format.top);
      scales[block] = roundScale(size, format.scale);
    }
    if (format.scale == ScaleRule::unrounded) continue;
    if (format.rule == Rule::book) codesOfBook(format, x + at, count, scales[block], codes + at);
    else codesOfSteps(format, x + at, count, scales[block], codes + at);
  }
}

inline void decodeBook(const BlockFormat& format, const uint8_t* codes, float scale, size_t n, float* out) {
#if defined(__AVX512F__)
  if (format.count <= 16) {
    __m512 table = _mm512_mul_ps(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << format.count) - 1), format.levels), _mm512_set1_ps(scale));
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
      _mm512_storeu_ps(out + i, _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i))), table));
    for (; i < n; i++) out[i] = format.levels[codes[i]] * scale;
    return;
  }
#endif
  const float* levels = format.levels;
  for (size_t i = 0; i < n; i++) out[i] = levels[codes[i]] * scale;
}

void decode(const BlockFormat& format, const uint8_t* codes, const float* scales, const uint8_t* zeros, size_t n, float* out) {
  for (size_t at = 0, block = 0; at < n; at += format.length, block++) {
    size_t count = n - at < format.length ? n - at : format.length;
    const float scale = scales[block];
    if (format.rule == Rule::book) decodeBook(format, codes + at, scale, count, out + at);
    else if (format.rule == Rule::step) {
      for (size_t i = at; i < at + count; i++) out[i] = static_cast<float>(static_cast<int8_t>(codes[i])) * scale;
    } else {
      const int32_t zero = zeros[block];
      for (size_t i = at; i < at + count; i++) out[i] = scale * static_cast<float>(codes[i] - zero);
    }
  }
}

/** 2^(byte - 127), the scale of an MX block. */
inline float powerOf(uint8_t byte) { return byte == 0 ? floatOf(0x00400000u) : byte == 255 ? floatOf(0x7fc00000u) : floatOf(static_cast<uint32_t>(byte) << 23); }

void encodeMxfp4(const float* x, size_t n, uint8_t* scales, uint8_t* codes) {
  for (size_t at = 0, block = 0; at < n; at += 32, block++) {
    const Bits* bits = reinterpret_cast<const Bits*>(x + at);
    float size = absmaxOf(x + at, 32);
    if (size != size) {
      scales[block] = 255;
      std::memset(codes + at, 0, 32);
      continue;
    }
    // floor(log2 absmax) - 2, at least -127; 2^-127 divides like this too, in two factors below.
    int exponent = static_cast<int>(bitsOf(size) >> 23) - 127 - 2;
    exponent = exponent < -127 ? -127 : exponent;
    scales[block] = static_cast<uint8_t>(exponent + 127);
    // 1 / scale is a power of two up to 2^127: a product by it is the quotient.
    const float inverse = exponent == -127 ? floatOf(254u << 23) : floatOf(static_cast<uint32_t>(127 - exponent) << 23);
#if defined(__AVX512F__)
    // Above these a magnitude has the next code; an even code takes its tie, so an odd threshold begins just below it.
    static const uint32_t ABOVE[16] = {0x3e800000u, 0x3f3fffffu, 0x3fa00000u, 0x3fdfffffu, 0x40200000u, 0x405fffffu, 0x40a00000u, 0x7f800000u};
    const __m512 table = _mm512_loadu_ps(ABOVE), factor = _mm512_set1_ps(inverse), middle = _mm512_set1_ps(floatOf(0x3fdfffffu));
    for (size_t i = at; i < at + 32; i += 16) {
      const __m512 v = _mm512_loadu_ps(x + i), q = _mm512_mul_ps(_mm512_abs_ps(v), factor);
      __m512i code = _mm512_maskz_mov_epi32(_mm512_cmp_ps_mask(q, middle, _CMP_GT_OQ), _mm512_set1_epi32(4));
      __m512 t = _mm512_permutexvar_ps(_mm512_add_epi32(code, _mm512_set1_epi32(1)), table);
      code = _mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(q, t, _CMP_GT_OQ), code, _mm512_set1_epi32(2));
      t = _mm512_permutexvar_ps(code, table);
      code = _mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(q, t, _CMP_GT_OQ), code, _mm512_set1_epi32(1));
      code = _mm512_or_si512(code, _mm512_slli_epi32(_mm512_srli_epi32(_mm512_castps_si512(v), 31), 3));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm512_cvtepi32_epi8(code));
    }
    continue;
#endif
    for (size_t i = 0; i < 32; i++) {
      float q = floatOf(bits[i] & 0x7fffffffu) * inverse;
      int32_t code = (q > 0.25f) + (q >= 0.75f) + (q > 1.25f) + (q >= 1.75f) + (q > 2.5f) + (q >= 3.5f) + (q > 5.0f);
      codes[at + i] = static_cast<uint8_t>(code | static_cast<int32_t>(bits[i] >> 31 << 3));
    }
  }
}

void decodeMxfp4(const uint8_t* codes, const uint8_t* scales, size_t n, float* out) {
  static const float LEVELS[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};
  for (size_t at = 0, block = 0; at < n; at += 32, block++) {
    const float scale = powerOf(scales[block]);
#if defined(__AVX512F__)
    __m512 table = _mm512_mul_ps(_mm512_loadu_ps(LEVELS), _mm512_set1_ps(scale));
    for (size_t i = at; i < at + 32; i += 16)
      _mm512_storeu_ps(out + i, _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i))), table));
#else
    for (size_t i = at; i < at + 32; i++) out[i] = LEVELS[codes[i] & 15] * scale;
#endif
  }
}

void encodeQ8(const float* x, size_t n, uint8_t* bytes) {
  for (size_t at = 0; at < n; at += 32, bytes += 34) {
    float size = absmaxOf(x + at, 32) / 127.0f;
    const uint16_t half = halfBits(size);
    std::memcpy(bytes, &half, 2);
    const float inverse = size > 0 ? 1.0f / size : 0.0f;
    int8_t codes[32];
    for (size_t i = 0; i < 32; i++) {
      float step = x[at + i] * inverse;
      codes[i] = static_cast<int8_t>(static_cast<int32_t>(step + (step < 0 ? -0.5f : 0.5f)));
    }
    if (size != size || inverse == 0) std::memset(codes, 0, 32);
    std::memcpy(bytes + 2, codes, 32);
  }
}

void decodeQ8(const uint8_t* bytes, size_t n, float* out) {
  for (size_t at = 0; at < n; at += 32, bytes += 34) {
    uint16_t half;
    std::memcpy(&half, bytes, 2);
    const float scale = halfValue(half);
    const int8_t* codes = reinterpret_cast<const int8_t*>(bytes + 2);
    for (size_t i = 0; i < 32; i++) out[at + i] = static_cast<float>(codes[i]) * scale;
  }
}

}  // namespace
}  // namespace bitlaw::PATH
