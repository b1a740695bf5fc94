// Kernels of GPTQ, compiled once for each instruction path. What they do is said in gptq.h.
#pragma once
#include "gptq.h"
#include "simd.h"

namespace bitlaw::PATH {
namespace {

template <class T>
struct Lanes;

#if defined(__AVX512F__)
template <>
struct Lanes<float> {
  using V = __m512;
  static constexpr size_t W = 16;
  static V load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, V x) { _mm512_storeu_ps(p, x); }
  static V all(float x) { return _mm512_set1_ps(x); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
};
template <>
struct Lanes<double> {
  using V = __m512d;
  static constexpr size_t W = 8;
  static V load(const double* p) { return _mm512_loadu_pd(p); }
  static void store(double* p, V x) { _mm512_storeu_pd(p, x); }
  static V all(double x) { return _mm512_set1_pd(x); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
};
constexpr size_t ROWS = 8;
#elif defined(__AVX2__)
template <>
struct Lanes<float> {
  using V = __m256;
  static constexpr size_t W = 8;
  static V load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, V x) { _mm256_storeu_ps(p, x); }
  static V all(float x) { return _mm256_set1_ps(x); }
  static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
};
template <>
struct Lanes<double> {
  using V = __m256d;
  static constexpr size_t W = 4;
  static V load(const double* p) { return _mm256_loadu_pd(p); }
  static void store(double* p, V x) { _mm256_storeu_pd(p, x); }
  static V all(double x) { return _mm256_set1_pd(x); }
  static V fma(V a, V b, V c) { return _mm256_fmadd_pd(a, b, c); }
};
constexpr size_t ROWS = 4;
#else
template <class T>
struct Lanes {
  typedef T V __attribute__((vector_size(16)));
  static constexpr size_t W = 16 / sizeof(T);
  static V load(const T* p) { V x; std::memcpy(&x, p, sizeof x); return x; }
  static void store(T* p, V x) { std::memcpy(p, &x, sizeof x); }
  static V all(T x) { V v; for (size_t i = 0; i < W; i++) v[i] = x; return v; }
  static V fma(V a, V b, V c) { return a * b + c; }
};
constexpr size_t ROWS = 4;
#endif

template <class T>
constexpr size_t LANES = 2 * Lanes<T>::W;

template <class T>
void product(const T* a, size_t aStride, const T* b, size_t k, size_t m, T* c, bool add) {
  using L = Lanes<T>;
  for (size_t row = 0; row < m; row += ROWS) {
    typename L::V left[ROWS], right[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
      left[i] = add ? L::load(c + (row + i) * LANES<T>) : L::all(0);
      right[i] = add ? L::load(c + (row + i) * LANES<T> + L::W) : L::all(0);
    }
    const T* from = a + row;
    const T* lanes = b;
    for (size_t step = 0; step < k; step++, from += aStride, lanes += LANES<T>) {
      const typename L::V l = L::load(lanes), r = L::load(lanes + L::W);
#pragma GCC unroll 8
      for (size_t i = 0; i < ROWS; i++) {
        const typename L::V x = L::all(from[i]);
        left[i] = L::fma(x, l, left[i]);
        right[i] = L::fma(x, r, right[i]);
      }
    }
    for (size_t i = 0; i < ROWS; i++) {
      L::store(c + (row + i) * LANES<T>, left[i]);
      L::store(c + (row + i) * LANES<T> + L::W, right[i]);
    }
  }
}

inline float nearest(float x) { return __builtin_rintf(x); }
inline double nearest(double x) { return __builtin_rint(x); }

template <class T>
void round(const GptqGrid& grid, const T* now, const T* scales, const T* zeros, uint8_t* codes, T* values) {
  constexpr size_t N = LANES<T>;
  int32_t code[N];
  if (grid.kind == GridKind::book) {
    T u[N], level[N];
    for (size_t i = 0; i < N; i++) {
      u[i] = scales[i] > 0 ? now[i] / scales[i] : 0;
      code[i] = 0;
      level[i] = static_cast<T>(grid.levels[0]);
    }
    for (int j = 0; j < grid.last; j++) {
      const T threshold = static_cast<T>(grid.thresholds[j]), next = static_cast<T>(grid.levels[j + 1]);
      for (size_t i = 0; i < N; i++) {
        code[i] += u[i] > threshold;
        level[i] = u[i] > threshold ? next : level[i];
      }
    }
    for (size_t i = 0; i < N; i++) values[i] = level[i] * scales[i];
  } else {
    const T last = static_cast<T>(grid.last), half = static_cast<T>(grid.last / 2);
    const T reach = grid.kind == GridKind::step ? half : last;
    for (size_t i = 0; i < N; i++) {
      T q = scales[i] > 0 ? now[i] / scales[i] : 0;
      q = q > reach ? reach : q < -reach ? -reach : q;
      T c = nearest(q) + zeros[i];
      c = c < 0 ? 0 : c > last ? last : c;
      code[i] = static_cast<int32_t>(c);
      values[i] = scales[i] * (c - zeros[i]);
    }
  }
  for (size_t i = 0; i < N; i++) codes[i] = static_cast<uint8_t>(code[i]);
}

template <class T>
void feedback(const T* difference, const T* factors, size_t count, T* columns) {
  using L = Lanes<T>;
  const typename L::V l = L::load(difference), r = L::load(difference + L::W);
  for (size_t i = 0; i < count; i++, columns += LANES<T>) {
    const typename L::V x = L::all(factors[i]);
    L::store(columns, L::fma(x, l, L::load(columns)));
    L::store(columns + L::W, L::fma(x, r, L::load(columns + L::W)));
  }
}

}  // namespace
}  // namespace bitlaw::PATH
