// Exponential, tanh and erf on vectors: own polynomials, so that the bits are the same with every C library.
#pragma once
#include "simd.h"

namespace bitlaw::PATH {
namespace {

/** p[0] x^(n-1) + … + p[n-1]. */
template <int N>
inline F polynomial(F x, const float (&p)[N]) {
  F y = set(p[0]);
#pragma GCC unroll 16
  for (int i = 1; i < N; i++) y = fma(y, x, set(p[i]));
  return y;
}

/** e^x within 2 units in the last place; 0 below -104, infinity above 89, NaN stays. Coefficients as in Cephes. */
[[gnu::always_inline]] inline F exp(F x) {
  x = select(less(x, set(-104.0f)), set(-104.0f), x);
  x = select(less(set(89.0f), x), set(89.0f), x);
  F n = round(x * set(1.44269504f));
  F r = fma(n, set(2.12194440e-4f), fma(n, set(-0.693359375f), x));
  constexpr float P[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  return times2to(fma(polynomial(r, P), r * r, r) + set(1.0f), n);
}

/**
 * e^x for x <= 0, as the terms of a softmax are: x is split into sixteenths of powers of two, from a table, and a short
 * rest. Within 2 units in the last place above -1, and within 4e-8 of the largest term (1) everywhere; 0 below -87.
 */
[[gnu::always_inline]] inline F expBelow(F x) {
#if defined(__AVX512F__)
  alignas(64) constexpr float SIXTEENTHS[] = {1.0f,        1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                              1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f, 1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
  const M kept = _mm512_cmp_ps_mask(x, set(-87.0f), _CMP_NLT_UQ);  // NaN stays
  const F magic = set(12582912.0f);                                // 1.5 * 2^23: the sum's low bits are the count
  const F counted = fma(x, set(23.0831206f), magic);
  const F r = fma(counted - magic, set(-0.0433216988f), x);
  const F p = fma(fma(fma(r, set(1.0f / 6), set(0.5f)), r, set(1.0f)), r, set(1.0f));
  const F scaled = p * _mm512_permutexvar_ps(asInt(counted), load(SIXTEENTHS));
  const I exponent = _mm512_slli_epi32(_mm512_andnot_si512(seti(15), asInt(counted)), 19);
  return asFloat(_mm512_maskz_add_epi32(kept, asInt(scaled), exponent));
#else
  return exp(x);
#endif
}

inline F sigmoid(F x) { return set(1.0f) / (set(1.0f) + exp(set(0.0f) - x)); }

inline F withSign(F magnitude, F sign) { return select(less(sign, set(0.0f)), set(0.0f) - magnitude, magnitude); }

/** tanh: its series near 0, where 1 - 2 / (e^2x + 1) would cancel. */
inline F tanh(F x) {
  F a = abs(x);
  F square = x * x;
  constexpr float P[] = {-0.00886323553f, 0.0218694885f, -0.0539682540f, 0.133333333f, -0.333333333f};
  F near = fma(x * square, polynomial(square, P), x);
  F far = withSign(set(1.0f) - set(2.0f) / (exp(a + a) + set(1.0f)), x);
  return select(less(a, set(0.3f)), near, far);
}

/** The error function within 1e-7: x p(x^2) up to 1, 1 - e^(-x^2) t q(t) with t = 1 / (1 + x/2) beyond. */
inline F erf(F x) {
  F a = min(abs(x), set(6.0f));
  constexpr float P[] = {-9.673590284364764e-06f, 1.1268253729e-4f, -8.4843963850e-4f, 5.2210534923e-3f,
                         -2.6865437627e-2f,       1.1283782870e-1f, -3.7612637877e-1f, 1.1283792257f};
  constexpr float Q[] = {-7.0021852851e-2f, 3.3309373260e-1f, -5.7762706280e-1f, 3.7063556910e-1f, -8.3493970335e-2f,
                         2.2413112223e-1f,  2.3826099932e-1f, 2.8297403455e-1f,  2.8205537796e-1f};
  F square = a * a;
  F near = a * polynomial(square, P);
  F t = set(1.0f) / fma(a, set(0.5f), set(1.0f));
  F far = set(1.0f) - exp(set(0.0f) - square) * t * polynomial(t, Q);
  return withSign(select(less(a, set(1.0f)), near, far), x);
}

}  // namespace
}  // namespace bitlaw::PATH
