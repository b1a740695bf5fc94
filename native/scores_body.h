// Sums of exponentials over rows of logits that come a stretch of columns at a time, as scoring needs them.
#pragma once
#include "math.h"
#include "ops.h"

namespace bitlaw::PATH {
namespace {

/** Vectors of a row that one step takes; the largest logit so far rises seldom, and only then are lanes compared. */
constexpr size_t GROUP = 4;

/** See Ops. */
void sumExp(float* logits, size_t stride, size_t rows, size_t columns, float softcap, float* tops, float* sums) {
  for (size_t row = 0; row < rows; row++) {
    float* x = logits + row * stride;
    if (softcap > 0) {
      const F cap = set(softcap), inverse = set(1 / softcap);
      each(columns, [&](size_t i, int lanes) { put(x + i, cap * tanh(get(x + i, lanes) * inverse), lanes); });
    }
    F top = set(tops[row]), sum = load(sums + row * W);
    auto step = [&](const F* v) {
      const F most = max(max(v[0], v[1]), max(v[2], v[3]));
      if (any(less(top, most))) {
        const F higher = set(maxOf(max(most, top)));
        sum = sum * expBelow(top - higher);
        top = higher;
      }
      F e[GROUP];
      for (size_t i = 0; i < GROUP; i++) e[i] = expBelow(v[i] - top);
      sum = sum + ((e[0] + e[1]) + (e[2] + e[3]));
    };
    size_t i = 0;
    for (; i + GROUP * W <= columns; i += GROUP * W) {
      const F v[] = {load(x + i), load(x + i + W), load(x + i + 2 * W), load(x + i + 3 * W)};
      step(v);
    }
    if (i < columns) {
      float rest[GROUP * W];
      for (size_t j = 0; j < GROUP * W; j++) rest[j] = i + j < columns ? x[i + j] : -3e38f;
      const F v[] = {load(rest), load(rest + W), load(rest + 2 * W), load(rest + 3 * W)};
      step(v);
    }
    float all[W];
    store(all, top);
    tops[row] = all[0];
    store(sums + row * W, sum);
  }
}

/** See Ops. */
float sumLanes(const float* sums) { return sum(load(sums)); }

}  // namespace
}  // namespace bitlaw::PATH
