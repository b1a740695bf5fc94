// What extras of a format do to a tensor, compiled once for each instruction path: rotation, subtracted means, rounding by chance.
#pragma once
#include "search_body.h"

namespace bitlaw::PATH {
namespace {

/** Butterflies of a block of a power of two, each sum in double: the order of src/formats/hadamard.ts, two stages a pass. */
inline void butterflies(double* block, size_t size) {
  size_t half = 1;
  for (; half * 4 <= size; half *= 4)
    for (size_t start = 0; start < size; start += 4 * half) {
      double *p = block + start, *q = p + half, *r = q + half, *s = r + half;
      for (size_t i = 0; i < half; i++) {
        const double a = p[i] + q[i], b = p[i] - q[i], c = r[i] + s[i], d = r[i] - s[i];
        p[i] = a + c;
        q[i] = b + d;
        r[i] = a - c;
        s[i] = b - d;
      }
    }
  for (; half < size; half *= 2)
    for (size_t start = 0; start < size; start += 2 * half)
      for (size_t i = start; i < start + half; i++) {
        const double a = block[i], b = block[i + half];
        block[i] = a + b;
        block[i + half] = a - b;
      }
}

/** Rotates n values in place, blocks of `size`, the first at a column of rows of `width` with their signs; scratch of size doubles. */
void rotate(float* x, size_t n, size_t size, size_t width, size_t column, const int8_t* signs, bool inverse, double* scratch) {
  const double factor = 1 / std::sqrt(static_cast<double>(size));
  for (size_t at = 0; at < n; at += size, column = (column + size) % width) {
    float* values = x + at;
    const int8_t* sign = signs + column;
    if (inverse) for (size_t i = 0; i < size; i++) scratch[i] = values[i];
    else for (size_t i = 0; i < size; i++) scratch[i] = static_cast<double>(values[i]) * sign[i];
    butterflies(scratch, size);
    if (inverse) for (size_t i = 0; i < size; i++) values[i] = static_cast<float>(scratch[i] * factor * sign[i]);
    else for (size_t i = 0; i < size; i++) values[i] = static_cast<float>(scratch[i] * factor);
  }
}

/** Subtracts from each block its mean as it is stored. Sums are taken in order, of eight blocks at a time. */
void center(float* x, size_t n, size_t length, ScaleRule rule, float* means) {
  constexpr size_t GROUP = 8;
  for (size_t at = 0, block = 0; at < n; at += GROUP * length, block += GROUP) {
    double sums[GROUP] = {};
    const size_t whole = (n - at) / length;
    if (whole >= GROUP) {
      for (size_t i = 0; i < length; i++)
        for (size_t b = 0; b < GROUP; b++) sums[b] += x[at + b * length + i];
    } else
      for (size_t b = 0; b < GROUP; b++)
        for (size_t i = at + b * length; i < n && i < at + (b + 1) * length; i++) sums[b] += x[i];
    for (size_t b = 0; b < GROUP && at + b * length < n; b++) {
      float* values = x + at + b * length;
      const size_t count = n - at - b * length < length ? n - at - b * length : length;
      const double mean = sums[b] / static_cast<double>(count);
      const float stored = static_cast<float>(mean < 0 ? -roundWide(-mean, rule) : roundWide(mean, rule));
      means[block + b] = stored;
      for (size_t i = 0; i < count; i++) values[i] -= stored;
    }
  }
}

void addMeans(const float* means, size_t n, size_t length, float* out) {
  for (size_t at = 0, block = 0; at < n; at += length, block++)
    for (size_t i = at; i < n && i < at + length; i++) out[i] += means[block];
}

/** Uniform numbers from 0 to below 1 of (seed, first index …): see src/formats/random.ts. */
inline void uniforms(uint32_t seed, uint64_t first, size_t n, double* out) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t low = static_cast<uint32_t>(first + i), high = static_cast<uint32_t>((first + i) >> 32);
    uint32_t h = seed * 0x9e3779b1u ^ high * 0x85ebca77u;
    h = (h ^ low) * 0x21f0aaadu;
    h = (h ^ (h >> 15)) * 0xd35a2d97u;
    h = (h ^ (h >> 15) ^ low) * 0x21f0aaadu;
    h = (h ^ (h >> 16)) * 0x735a2d97u;
    out[i] = static_cast<double>(h ^ (h >> 15)) * 0x1p-32;
  }
}

/** The integer below q (of small magnitude), or with that chance the one above. */
inline int32_t above(double q, double chance) {
  const int32_t near = static_cast<int32_t>(q), below = near - (q < near);
  return below + (chance < q - below);
}

/** Codes by chance, each of the two around a value as likely as it is near; scales (and zero points) are given, x is value `first` of the tensor. */
void encodeRandomly(const BlockFormat& format, const double* levels, uint32_t seed, uint64_t first, const float* x, size_t n, const float* scales, const uint8_t* zeros, uint8_t* codes) {
  double chance[CHUNK];
  int32_t whole[CHUNK];
  const double top = format.top;
  for (size_t begin = 0, block = 0; begin < n; begin += format.length, block++) {
    const size_t finish = n - begin < format.length ? n : begin + format.length;
    const float scale = scales[block];
    const bool usable = scale != 0 && std::fabs(scale) <= 3.4028235e38f;
    const bool grid = format.rule == Rule::full || format.rule == Rule::uint;
    if (format.rule == Rule::book) codesOfBook(format, x + begin, finish - begin, scale, codes + begin);
    else if (grid ? !(scale > 0) : !usable) std::memset(codes + begin, grid ? zeros[block] : 0, finish - begin);
    if (grid ? !(scale > 0) : !usable) continue;
    for (size_t at = begin; at < finish; at += CHUNK) {
      const size_t end = finish - at < CHUNK ? finish : at + CHUNK;
      uniforms(seed, first + at, end - at, chance);
      if (format.rule == Rule::book) {
        for (size_t i = at; i < end; i++) {
          const double q = static_cast<double>(x[i]) / scale;
          const int below = codes[i] - (levels[codes[i]] > q);
          if (below < 0 || below + 1 >= format.count) continue;
          const double share = (q - levels[below]) / (levels[below + 1] - levels[below]);
          codes[i] = static_cast<uint8_t>(below + (chance[i - at] < share));
        }
      } else if (grid) {
        const double zero = zeros[block];
        for (size_t i = 0; i < end - at; i++) {
          const double q = static_cast<double>(x[at + i]) / scale;
          whole[i] = above(q < -zero ? -zero : q > top - zero ? top - zero : q, chance[i]) + zeros[block];
        }
        for (size_t i = at; i < end; i++) codes[i] = static_cast<uint8_t>(whole[i - at]);
      } else {
        for (size_t i = 0; i < end - at; i++) {
          const double q = x[at + i] / scale;  // in float
          whole[i] = above(q > top ? top : q < -top ? -top : q, chance[i]);
        }
        for (size_t i = at; i < end; i++) codes[i] = static_cast<uint8_t>(whole[i - at]);
      }
    }
  }
}

}  // namespace
}  // namespace bitlaw::PATH
