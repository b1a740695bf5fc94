// Everything that is not a product: norms, rotation, activation functions, softmax rows, the optimizer's step.
// Each function works on the rows or the range that its task was given.
#pragma once
#include "math.h"
#include "ops.h"

namespace bitlaw::PATH {
namespace {

/** Sum of body(offset, lanes) over n numbers, in two interleaved vectors. */
template <class Body>
inline float total(size_t n, Body body) {
  F even = set(0.0f), odd = set(0.0f);
  size_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    even = even + body(i, W);
    odd = odd + body(i + W, W);
  }
  for (; i < n; i += W) even = even + body(i, n - i < W ? static_cast<int>(n - i) : W);
  return sum(even + odd);
}

/** Lanes below `lanes` of x, zeros after. */
inline F only(F x, int lanes) {
  if (lanes == W) return x;
  float all[W];
  store(all, x);
  return load(all, lanes);
}

void norm(const Norm& n, size_t row0, size_t rows) {
  const float width = static_cast<float>(n.width);
  for (size_t row = row0; row < row0 + rows; row++) {
    const float* x = n.x + row * n.width;
    float* out = n.out + row * n.width;
    float mean = 0;
    if (n.layer) {
      mean = total(n.width, [&](size_t i, int lanes) { return get(x + i, lanes); }) / width;
      n.saved[n.rows + row] = mean;
    }
    F m = set(mean);
    float squares = total(n.width, [&](size_t i, int lanes) {
      F d = only(get(x + i, lanes) - m, lanes);
      return d * d;
    });
    float inverse = 1.0f / __builtin_sqrtf(squares / width + n.eps);
    n.saved[row] = inverse;
    F scale = set(inverse);
    each(n.width, [&](size_t i, int lanes) {
      F y = (get(x + i, lanes) - m) * scale;
      if (n.gain) y = y * get(n.gain + i, lanes);
      if (n.bias) y = y + get(n.bias + i, lanes);
      put(out + i, y, lanes);
    });
  }
}

void normBackward(const Norm& n, size_t row0, size_t rows, float* dGain, float* dBias) {
  const float width = static_cast<float>(n.width);
  for (size_t row = row0; row < row0 + rows; row++) {
    const float* x = n.x + row * n.width;
    const float* dy = n.dy + row * n.width;
    float* dx = n.out + row * n.width;
    F inverse = set(n.saved[row]);
    F mean = set(n.layer ? n.saved[n.rows + row] : 0.0f);
    auto gradient = [&](size_t i, int lanes) { return n.gain ? get(dy + i, lanes) * get(n.gain + i, lanes) : get(dy + i, lanes); };
    float meanGradient = n.layer ? total(n.width, gradient) / width : 0;
    float meanNormal = total(n.width, [&](size_t i, int lanes) { return gradient(i, lanes) * ((get(x + i, lanes) - mean) * inverse); }) / width;
    F mg = set(meanGradient), mn = set(meanNormal);
    each(n.width, [&](size_t i, int lanes) {
      F normal = (get(x + i, lanes) - mean) * inverse;
      F d = get(dy + i, lanes);
      F g = n.gain ? d * get(n.gain + i, lanes) : d;
      if (dGain) put(dGain + i, fma(d, normal, get(dGain + i, lanes)), lanes);
      if (dBias) put(dBias + i, get(dBias + i, lanes) + d, lanes);
      F value = (g - mg - normal * mn) * inverse;
      put(dx + i, n.accumulate ? value + get(dx + i, lanes) : value, lanes);
    });
  }
}

void rotary(const Rotation& r, size_t row0, size_t rows) {
  for (size_t row = row0; row < row0 + rows; row++) {
    const float* cos = r.cos + row % r.length * r.pairs;
    const float* sin = r.sin + row % r.length * r.pairs;
    F sign = set(r.inverse ? -1.0f : 1.0f);
    for (size_t head = 0; head < r.heads; head++) {
      float* a = r.x + (row * r.heads + head) * r.headSize;
      float* b = a + r.pairs;
      each(r.pairs, [&](size_t i, int lanes) {
        F c = get(cos + i, lanes), s = get(sin + i, lanes) * sign;
        F x = get(a + i, lanes), y = get(b + i, lanes);
        put(a + i, x * c - y * s, lanes);
        put(b + i, y * c + x * s, lanes);
      });
    }
  }
}

struct Slope {
  F value, derivative;
};

constexpr float TANH_SCALE = 0.797884561f, CUBE = 0.044715f;

inline Slope curve(F x, Curve kind, bool wantDerivative) {
  const F one = set(1.0f), half = set(0.5f);
  if (kind == Curve::silu) {
    F s = sigmoid(x);
    return {x * s, wantDerivative ? s * fma(x, one - s, one) : one};
  }
  if (kind == Curve::relu) {
    auto positive = less(set(0.0f), x);
    return {select(positive, x, x * set(0.0f)), select(positive, one, set(0.0f))};
  }
  if (kind == Curve::gelu) {
    F phi = half * (one + erf(x * set(0.707106781f)));
    return {x * phi, wantDerivative ? fma(x * set(0.398942280f), exp(set(-0.5f) * x * x), phi) : one};
  }
  F square = x * x;
  F t = tanh(set(TANH_SCALE) * fma(x * square, set(CUBE), x));
  F phi = half * (one + t);
  F inner = set(TANH_SCALE) * fma(square, set(3 * CUBE), one);
  return {x * phi, wantDerivative ? fma(half * x * (one - t * t), inner, phi) : one};
}

void activation(const Activations& a, size_t from, size_t count) {
  each(count, [&](size_t i, int lanes) {
    F y = curve(get(a.gate + from + i, lanes), a.kind, false).value;
    if (a.up) y = y * get(a.up + from + i, lanes);
    put(a.out + from + i, y, lanes);
  });
}

void activationBackward(const Activations& a, size_t from, size_t count) {
  each(count, [&](size_t i, int lanes) {
    Slope s = curve(get(a.gate + from + i, lanes), a.kind, true);
    F d = get(a.dOut + from + i, lanes);
    if (!a.up) {
      put(a.dGate + from + i, d * s.derivative, lanes);
      return;
    }
    F up = get(a.up + from + i, lanes);
    put(a.dGate + from + i, d * up * s.derivative, lanes);
    if (a.dUp) put(a.dUp + from + i, d * s.value, lanes);
  });
}

/** Largest number of a row that a finite shift can be made of: 0 where that is not finite. */
inline float largest(const float* x, size_t n) {
  F top = set(-__builtin_inff());
  size_t i = 0;
  for (; i + W <= n; i += W) top = max(load(x + i), top);
  float most = maxOf(top);
  for (; i < n; i++) most = x[i] > most ? x[i] : most;
  return __builtin_fabsf(most) < __builtin_inff() ? most : 0;
}

void logSoftmax(float* x, size_t n) {
  const float most = largest(x, n);
  float sum = total(n, [&](size_t i, int lanes) { return only(expBelow(get(x + i, lanes) - set(most)), lanes); });
  const F log = set(most + static_cast<float>(__builtin_log(static_cast<double>(sum))));
  each(n, [&](size_t i, int lanes) { put(x + i, get(x + i, lanes) - log, lanes); });
}

Loss lossRow(float* x, size_t n, int32_t target, float softcap, float scale) {
  if (target < 0) {
    std::memset(x, 0, n * 4);
    return {0, 1};
  }
  const bool capped = softcap > 0;
  if (capped) {
    F cap = set(softcap), inverse = set(1 / softcap);
    each(n, [&](size_t i, int lanes) { put(x + i, cap * tanh(get(x + i, lanes) * inverse), lanes); });
  }
  const float most = largest(x, n), at = x[target];
  const F shift = set(most);
  float sum = total(n, [&](size_t i, int lanes) {
    F e = expBelow(get(x + i, lanes) - shift);
    if (!capped) put(x + i, e, lanes);
    return only(e, lanes);
  });
  const float log = most + static_cast<float>(__builtin_log(static_cast<double>(sum)));
  if (!capped) {
    x[target] -= sum;
    return {log - at, scale / sum};
  }
  const F factor = set(scale / sum), inverse = set(1 / softcap);
  each(n, [&](size_t i, int lanes) {
    F logit = get(x + i, lanes), share = logit * inverse;
    put(x + i, factor * expBelow(logit - shift) * (set(1.0f) - share * share), lanes);
  });
  x[target] -= scale * (1 - at / softcap * (at / softcap));
  return {log - at, 1};
}

void adamw(const Step& s, size_t from, size_t count) {
  const F b1 = set(s.beta1), b2 = set(s.beta2), c1 = set(s.rest1), c2 = set(s.rest2);
  const F keep = set(s.keep), rate = set(s.rate), correct1 = set(s.correct1), correct2 = set(s.correct2), eps = set(s.eps), gs = set(s.gradientScale);
  each(count, [&](size_t i, int lanes) {
    size_t at = from + i;
    F g = get(s.gradient + at, lanes) * gs;
    F m = fma(c1, g, b1 * get(s.m + at, lanes));
    F v = fma(c2 * g, g, b2 * get(s.v + at, lanes));
    put(s.m + at, m, lanes);
    put(s.v + at, v, lanes);
    F update = m * correct1 / (sqrt(v * correct2) + eps);
    put(s.weight + at, get(s.weight + at, lanes) * keep - rate * update, lanes);
  });
}

double sumSquares(const float* x, size_t n) {
  // Pieces of 1024 numbers in f32, the pieces in f64: a tree that no number of threads changes.
  double all = 0;
  for (size_t piece = 0; piece < n; piece += 1024) {
    size_t here = n - piece < 1024 ? n - piece : 1024;
    all += static_cast<double>(total(here, [&](size_t i, int lanes) {
      F y = get(x + piece + i, lanes);
      return y * y;
    }));
  }
  return all;
}

}  // namespace
}  // namespace bitlaw::PATH
