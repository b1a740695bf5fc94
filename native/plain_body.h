// Floats of 16 bits without a scale, and codes of 9 to 16 bits with one, compiled once for each instruction path.
#pragma once
#include "quantize_body.h"

namespace bitlaw::PATH {
namespace {

/** fp16 bits of any float: nearest, ties to even, overflow to infinity, every nan the same. */
inline uint16_t anyHalfBits(float x) {
  const uint32_t bits = bitsOf(x), magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7e00;
  const uint16_t code = magnitude >= 0x477ff000u ? 0x7c00 : halfBits(floatOf(magnitude));  // 65520 and above
  return static_cast<uint16_t>(code | (bits >> 31 << 15));
}

void encodeHalf(const float* x, size_t n, uint16_t* codes) {
  size_t i = 0;
#if defined(__AVX512F__)
  for (; i < n; i += 16) {
    const __mmask16 lanes = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
    const __m256i half = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(codes + i, lanes, _mm256_mask_mov_epi16(half, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm256_set1_epi16(0x7e00)));
  }
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    for (uint32_t nan = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q))); nan; nan &= nan - 1) codes[i + static_cast<size_t>(__builtin_ctz(nan))] = 0x7e00;
  }
#endif
  for (; i < n; i++) codes[i] = anyHalfBits(x[i]);
}

void decodeHalf(const uint16_t* codes, size_t n, float* out) {
  size_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i))));
#endif
  for (; i < n; i++) out[i] = halfValue(codes[i]);
}

/** Values as fp16 holds them; out may be x. */
void roundHalf(const float* x, size_t n, float* out) {
  uint16_t codes[CHUNK];
  for (size_t at = 0; at < n; at += CHUNK) {
    const size_t count = n - at < CHUNK ? n - at : CHUNK;
    encodeHalf(x + at, count, codes);
    decodeHalf(codes, count, out + at);
  }
}

void encodeBf16(const float* x, size_t n, uint16_t* codes) {
  const Bits* words = reinterpret_cast<const Bits*>(x);
  for (size_t i = 0; i < n; i++) {
    const uint32_t word = words[i];
    const uint32_t nan = (word >> 16) | 0x40, rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
    codes[i] = static_cast<uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
  }
}

/** Codes on a book of equal steps with more than 256 levels: rounding in double, except near a midpoint. */
inline void wideCodesOfBook(const BlockFormat& format, const float* x, size_t n, double scale, uint16_t* codes) {
  if (scale == 0 || !(std::fabs(scale) <= 3.4028235e38)) {
    for (size_t i = 0; i < n; i++) codes[i] = static_cast<uint16_t>(format.zero);
    return;
  }
  const double steps = format.steps;
  for (size_t at = 0; at < n; at += CHUNK) {
    const size_t count = n - at < CHUNK ? n - at : CHUNK;
    int32_t doubt = 0;
    for (size_t i = at; i < at + count; i++) {
      double v = x[i] / scale;
      v = (v > 1 ? 1 : v < -1 ? -1 : v) * steps;
      const double r = __builtin_rint(v), off = __builtin_fabs(v - r);
      doubt |= off > 0.5 - 1e-6;
      codes[i] = static_cast<uint16_t>(static_cast<int32_t>(r) + format.steps);
    }
    if (!doubt) continue;
    for (size_t i = at; i < at + count; i++) codes[i] = static_cast<uint16_t>(exactCode(format, x[i] / scale));
  }
}

/** Codes of 9 to 16 bits; the scales are given. */
void encodeWide(const BlockFormat& format, const float* x, size_t n, const float* scales, uint16_t* codes) {
  const float top = static_cast<float>(format.top);
  for (size_t at = 0, block = 0; at < n; at += format.length, block++) {
    const size_t end = n - at < format.length ? n : at + format.length;
    const float scale = scales[block];
    if (format.rule == Rule::book) wideCodesOfBook(format, x + at, end - at, scale, codes + at);
    else if (scale == 0 || !(std::fabs(scale) <= 3.4028235e38f)) std::memset(codes + at, 0, (end - at) * 2);
    else
      for (size_t i = at; i < end; i++) {
        float q = x[i] / scale;
        q = q > top ? top : q < -top ? -top : q;
        codes[i] = static_cast<uint16_t>(static_cast<int16_t>(static_cast<int32_t>(__builtin_rintf(q))));
      }
  }
}

/** levels has a value for each of the 65536 codes. */
void decodeWide(const BlockFormat& format, const uint16_t* codes, const float* scales, size_t n, float* out) {
  for (size_t at = 0, block = 0; at < n; at += format.length, block++) {
    const size_t end = n - at < format.length ? n : at + format.length;
    const float scale = scales[block];
    if (format.rule == Rule::book)
      for (size_t i = at; i < end; i++) out[i] = format.levels[codes[i]] * scale;
    else
      for (size_t i = at; i < end; i++) out[i] = static_cast<float>(static_cast<int16_t>(codes[i])) * scale;
  }
}

}  // namespace
}  // namespace bitlaw::PATH
