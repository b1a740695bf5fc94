// Products of few rows with weights as they lie in memory: where each weight is used a few times only, packing it first
// would cost more than the product.
#pragma once
#include "pack_body.h"

namespace bitlaw::PATH {
namespace {

/** sums (rows of weights, ROWS) = weights row0 … times ROWS rows of x, both rounded; x is floats with zeros up to a multiple of 2 * W. */
template <int ROWS>
void dotsOf(const Source& weight, size_t row0, size_t rows, const Rounder& r, const float* x, size_t stride, float* sums) {
  Rounder plain = r;
  plain.toBf16 = false;
  const bool round = r.toBf16 && !weight.bf16;
  const size_t whole = weight.columns / (2 * W) * 2 * W;
  withLines(weight, plain, [&](auto lineOf) {
    for (size_t i = 0; i < rows; i++) {
      const auto line = lineOf(row0 + i);
      F even[ROWS], odd[ROWS];
#pragma GCC unroll 4
      for (int j = 0; j < ROWS; j++) even[j] = odd[j] = set(0.0f);
      auto add = [&](size_t at, F first, F second) {
        if (round) {
          first = roundBf16(first);
          second = roundBf16(second);
        }
#pragma GCC unroll 4
        for (int j = 0; j < ROWS; j++) {
          const float* p = x + static_cast<size_t>(j) * stride + at;
          even[j] = fma(first, load(p), even[j]);
          odd[j] = fma(second, load(p + W), odd[j]);
        }
      };
      for (size_t at = 0; at < whole; at += 2 * W) add(at, line(at, W), line(at + W, W));
      if (whole < weight.columns) add(whole, lanesOf(line, whole, weight.columns), lanesOf(line, whole + W, weight.columns));
#pragma GCC unroll 4
      for (int j = 0; j < ROWS; j++) sums[i * ROWS + static_cast<size_t>(j)] = sum(even[j] + odd[j]);
    }
  });
}

/** See Ops. */
void dots(const Source& weight, size_t row0, size_t rows, const Rounder& r, const float* x, size_t stride, size_t count, float* sums) {
  constexpr decltype(&dotsOf<1>) OF[] = {dotsOf<1>, dotsOf<2>, dotsOf<3>, dotsOf<4>};
  OF[count - 1](weight, row0, rows, r, x, stride, sums);
}

}  // namespace
}  // namespace bitlaw::PATH
