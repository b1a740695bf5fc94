// MX formats and NVFP4, compiled once for each instruction path: small floats over a scale of one byte.
#pragma once
#include "quantize_body.h"

namespace bitlaw::PATH {
namespace {

/** Patterns of a small float, saturated, nearest with ties to even; x is multiplied by `factor` (a power of two) first. */
inline void patternsOf(const MicroFormat& format, const float* x, size_t n, float factor, uint8_t* codes) {
  const Bits* words = reinterpret_cast<const Bits*>(x);
  const uint32_t lowest = static_cast<uint32_t>(128 - format.bias) << 23;  // exponent of the smallest normal element
  // Added to a number of that exponent, this leaves the element's mantissa as the last bits of the sum, rounded.
  const uint32_t rounder = (static_cast<uint32_t>(23 - format.mantissa) << 23) + 0x400000u;
  const uint32_t shift = static_cast<uint32_t>(23 - format.mantissa), most = static_cast<uint32_t>(format.maxCode), sign = static_cast<uint32_t>(32 - format.bits), signBit = 1u << (format.bits - 1);
  for (size_t i = 0; i < n; i++) {
    const uint32_t word = words[i];
    float size = floatOf(word & 0x7fffffffu) * factor;
    size = size < 131072.0f ? size : 131072.0f;  // beyond every element
    const uint32_t exponent = bitsOf(size) & 0x7f800000u, base = exponent > lowest ? exponent : lowest;
    const uint32_t sum = bitsOf(size + floatOf(base + rounder)) - (base + rounder);
    const uint32_t code = ((base - lowest) >> shift) + sum;
    codes[i] = static_cast<uint8_t>((code < most ? code : most) | ((word >> sign) & signBit));
  }
}

void encodeMicro(const MicroFormat& format, const float* x, size_t n, uint8_t* scales, uint8_t* codes) {
  for (size_t at = 0, block = 0; at < n; at += 32, block++) {
    const size_t count = n - at < 32 ? n - at : 32;
    const float size = absmaxOf(x + at, count);
    if (size != size) {
      scales[block] = 255;
      std::memset(codes + at, 0, count);
      continue;
    }
    int exponent = static_cast<int>(bitsOf(size) >> 23) - 127 - format.emax;
    exponent = exponent < -127 ? -127 : exponent;
    scales[block] = static_cast<uint8_t>(exponent + 127);
    const float inverse = exponent == 127 ? floatOf(0x00400000u) : floatOf(static_cast<uint32_t>(127 - exponent) << 23);
    if (format.bits > 0) {
      patternsOf(format, x + at, count, inverse, codes + at);
      continue;
    }
    for (size_t i = at; i < at + count; i++) {
      float q = x[i] * inverse * 64.0f;
      q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
      codes[i] = static_cast<uint8_t>(static_cast<int8_t>(static_cast<int32_t>(__builtin_rintf(q))));
    }
  }
}

/** levels: the value of each of the 256 codes. */
void decodeMicro(const float* levels, const uint8_t* codes, const uint8_t* scales, size_t n, float* out) {
  for (size_t at = 0, block = 0; at < n; at += 32, block++) {
    const size_t end = n - at < 32 ? n : at + 32;
    const float scale = powerOf(scales[block]);
    for (size_t i = at; i < end; i++) out[i] = levels[codes[i]] * scale;
  }
}

/** E4M3 pattern of a number that is not negative, saturated; nan stays one. */
inline uint8_t e4m3Of(double x) {
  if (x != x) return 0x7f;
  if (x >= 448) return 0x7e;
  int exponent;
  std::frexp(x, &exponent);
  exponent = x == 0 || exponent < -5 ? -6 : exponent - 1;
  const double unit = std::ldexp(1.0, exponent - 3);
  const int code = (exponent + 6) * 8 + static_cast<int>(__builtin_rint(x / unit));
  return static_cast<uint8_t>(code < 126 ? code : 126);
}

/** tensorScale: absmax of the whole tensor / 2688; e4m3: the value of each E4M3 pattern. */
void encodeNvfp4(const MicroFormat& format, const float* e4m3, float tensorScale, const float* x, size_t n, uint8_t* scales, uint8_t* codes) {
  for (size_t at = 0, block = 0; at < n; at += 16, block++) {
    const size_t count = n - at < 16 ? n - at : 16;
    const float share = absmaxOf(x + at, count) / 6.0f;
    scales[block] = tensorScale == 0 ? 0 : e4m3Of(share / tensorScale);
    const float scale = tensorScale * e4m3[scales[block]];
    if (!(scale > 0)) {
      for (size_t i = at; i < at + count; i++) codes[i] = x[i] == x[i] && std::signbit(x[i]) ? 8 : 0;
      continue;
    }
    float quotients[16];
    for (size_t i = 0; i < count; i++) quotients[i] = x[at + i] / scale;
    patternsOf(format, quotients, count, 1.0f, codes + at);
  }
}

void decodeNvfp4(const float* levels, const float* e4m3, float tensorScale, const uint8_t* codes, const uint8_t* scales, size_t n, float* out) {
  for (size_t at = 0, block = 0; at < n; at += 16, block++) {
    const size_t end = n - at < 16 ? n : at + 16;
    const float scale = tensorScale * e4m3[scales[block]];
    for (size_t i = at; i < end; i++) out[i] = levels[codes[i]] * scale;
  }
}

/** Scales of a tensor as E4M3 shares of tensorScale: their patterns, and their values in place. */
void roundE4m3(const float* e4m3, float tensorScale, float* scales, size_t n, uint8_t* codes) {
  for (size_t i = 0; i < n; i++) {
    codes[i] = tensorScale == 0 ? 0 : e4m3Of(static_cast<double>(scales[i]) / tensorScale);
    scales[i] = tensorScale == 0 ? 0 : e4m3[codes[i]] * tensorScale;
  }
}

}  // namespace
}  // namespace bitlaw::PATH
