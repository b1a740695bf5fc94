// One vector of floats on each instruction path, with the same few functions, so that every kernel is written once and
// compiled several times. A file that includes this defines PATH (the namespace of its path) first; nothing here may be
// shared between paths, or the linker could hand AVX-512 code to an older processor.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace bitlaw::PATH {
namespace {

#if defined(__AVX512F__)

constexpr int W = 16;
using F = __m512;
using I = __m512i;
using M = __mmask16;
inline M first(int n) { return static_cast<M>((1u << n) - 1); }  // lanes below n, n <= 16
inline F set(float x) { return _mm512_set1_ps(x); }
inline I seti(int32_t x) { return _mm512_set1_epi32(x); }
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline F load(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline void store(float* p, F x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }
inline I loadi(const void* p) { return _mm512_loadu_si512(p); }
inline void storei(void* p, I x) { _mm512_storeu_si512(p, x); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F abs(F a) { return _mm512_abs_ps(a); }
inline F sqrt(F a) { return _mm512_sqrt_ps(a); }
inline F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline M lessEqual(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
inline F select(M m, F a, F b) { return _mm512_mask_blend_ps(m, b, a); }  // a where m
inline bool any(M m) { return m != 0; }
inline I toInt(F a) { return _mm512_cvtps_epi32(a); }
inline F toFloat(I a) { return _mm512_cvtepi32_ps(a); }
inline F asFloat(I a) { return _mm512_castsi512_ps(a); }
inline I asInt(F a) { return _mm512_castps_si512(a); }
inline F times2to(F a, F n) { return _mm512_scalef_ps(a, n); }  // a * 2^n
inline float sum(F a) { return _mm512_reduce_add_ps(a); }
inline float maxOf(F a) { return _mm512_reduce_max_ps(a); }
inline F fromBf16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
inline F loadBf16(const uint16_t* p) { return fromBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline F loadBf16(const uint16_t* p, int n) { return fromBf16(_mm256_maskz_loadu_epi16(first(n), p)); }
inline I roundedBits(F x) {  // bits of x rounded to bf16, in the upper halves; NaN stays NaN
  I bits = asInt(x);
  I even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), seti(1));
  I rounded = _mm512_add_epi32(_mm512_add_epi32(bits, seti(0x7fff)), even);
  return _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), seti(0x7fc00000));
}
inline F roundBf16(F x) { return asFloat(_mm512_and_si512(roundedBits(x), seti(static_cast<int32_t>(0xffff0000u)))); }

#elif defined(__AVX2__)

constexpr int W = 8;
using F = __m256;
using I = __m256i;
using M = __m256;
inline I seti(int32_t x) { return _mm256_set1_epi32(x); }
inline I firstLanes(int n) { return _mm256_cmpgt_epi32(seti(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
inline F set(float x) { return _mm256_set1_ps(x); }
inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline F load(const float* p, int n) { return _mm256_maskload_ps(p, firstLanes(n)); }
inline void store(float* p, F x) { _mm256_storeu_ps(p, x); }
inline void store(float* p, F x, int n) { _mm256_maskstore_ps(p, firstLanes(n), x); }
inline I loadi(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void storei(void* p, I x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm256_max_ps(a, b); }
inline F min(F a, F b) { return _mm256_min_ps(a, b); }
inline F abs(F a) { return _mm256_andnot_ps(set(-0.0f), a); }
inline F sqrt(F a) { return _mm256_sqrt_ps(a); }
inline F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline M less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline M lessEqual(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
inline F select(M m, F a, F b) { return _mm256_blendv_ps(b, a, m); }
inline bool any(M m) { return _mm256_movemask_ps(m) != 0; }
inline I toInt(F a) { return _mm256_cvtps_epi32(a); }
inline F toFloat(I a) { return _mm256_cvtepi32_ps(a); }
inline F asFloat(I a) { return _mm256_castsi256_ps(a); }
inline I asInt(F a) { return _mm256_castps_si256(a); }
inline float sum(F a) {
  __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
inline float maxOf(F a) {
  __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  b = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
inline F fromBf16(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
inline F loadBf16(const uint16_t* p) { return fromBf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline I roundedBits(F x) {
  I bits = asInt(x);
  I even = _mm256_and_si256(_mm256_srli_epi32(bits, 16), seti(1));
  I rounded = _mm256_add_epi32(_mm256_add_epi32(bits, seti(0x7fff)), even);
  return _mm256_blendv_epi8(rounded, seti(0x7fc00000), asInt(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
inline F roundBf16(F x) { return asFloat(_mm256_and_si256(roundedBits(x), seti(static_cast<int32_t>(0xffff0000u)))); }
inline I shiftToExponent(I n) { return _mm256_slli_epi32(_mm256_add_epi32(n, seti(127)), 23); }

#else

constexpr int W = 4;
typedef float F __attribute__((vector_size(16)));
typedef int32_t I __attribute__((vector_size(16)));
using M = I;
inline I seti(int32_t x) { return I{x, x, x, x}; }
inline F set(float x) { return F{x, x, x, x}; }
inline F load(const float* p) { F x; std::memcpy(&x, p, sizeof x); return x; }
inline F load(const float* p, int n) { F x = {}; std::memcpy(&x, p, static_cast<size_t>(n) * 4); return x; }
inline void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
inline void store(float* p, F x, int n) { std::memcpy(p, &x, static_cast<size_t>(n) * 4); }
inline I loadi(const void* p) { I x; std::memcpy(&x, p, sizeof x); return x; }
inline void storei(void* p, I x) { std::memcpy(p, &x, sizeof x); }
inline F fma(F a, F b, F c) { return a * b + c; }
inline I asInt(F a) { I x; std::memcpy(&x, &a, sizeof x); return x; }
inline F asFloat(I a) { F x; std::memcpy(&x, &a, sizeof x); return x; }
inline F select(M m, F a, F b) { return asFloat((m & asInt(a)) | (~m & asInt(b))); }
inline M less(F a, F b) { return a < b; }
inline M lessEqual(F a, F b) { return a <= b; }
inline F max(F a, F b) { return select(a > b, a, b); }
inline F min(F a, F b) { return select(a < b, a, b); }
inline F abs(F a) { return asFloat(asInt(a) & seti(0x7fffffff)); }
inline F sqrt(F a) { return F{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])}; }
inline F round(F a) {  // adding and taking away 1.5 * 2^23 leaves the nearest even integer
  F big = set(12582912.0f);
  F sign = asFloat(asInt(a) & seti(static_cast<int32_t>(0x80000000u)));
  F rounded = asFloat(asInt((abs(a) + big) - big) | asInt(sign));
  return select(less(abs(a), set(4194304.0f)), rounded, a);
}
inline bool any(M m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
inline I toInt(F a) { return __builtin_convertvector(round(a), I); }
inline F toFloat(I a) { return __builtin_convertvector(a, F); }
inline float sum(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline float maxOf(F a) {
  float b = a[0] > a[1] ? a[0] : a[1], c = a[2] > a[3] ? a[2] : a[3];
  return b > c ? b : c;
}
inline F loadBf16(const uint16_t* p) {
  return asFloat(I{static_cast<int32_t>(p[0] << 16), static_cast<int32_t>(static_cast<uint32_t>(p[1]) << 16),
                   static_cast<int32_t>(static_cast<uint32_t>(p[2]) << 16), static_cast<int32_t>(static_cast<uint32_t>(p[3]) << 16)});
}
inline I roundedBits(F x) {
  I bits = asInt(x);
  I rounded = bits + seti(0x7fff) + ((bits >> 16) & seti(1));
  M ordered = x == x;
  return (ordered & rounded) | (~ordered & seti(0x7fc00000));
}
inline F roundBf16(F x) { return asFloat(roundedBits(x) & seti(static_cast<int32_t>(0xffff0000u))); }
inline I shiftToExponent(I n) { return (n + seti(127)) << 23; }

#endif

#if !defined(__AVX512F__)
inline F times2to(F a, F n) {  // in two steps, so that results below the normal range come out right
  F half = round(n * set(0.5f));
  F rest = n - half;
  return a * asFloat(shiftToExponent(toInt(half))) * asFloat(shiftToExponent(toInt(rest)));
}
inline F loadBf16(const uint16_t* p, int n) {
  uint16_t lanes[W] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * 2);
  return loadBf16(lanes);
}
#endif

/** Lanes of x narrowed to bf16 (nearest, ties to even). */
inline void storeBf16(uint16_t* p, F x, int n = W) {
#if defined(__AVX512F__)
  _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(roundedBits(x), 16)));
#else
  uint32_t bits[W];
  storei(bits, roundedBits(x));
  for (int i = 0; i < n; i++) p[i] = static_cast<uint16_t>(bits[i] >> 16);
#endif
}

inline float fromBf16(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}

/** Calls body(offset, lanes) over n numbers, W at a time; the last call may have fewer lanes. */
template <class Body>
inline void each(size_t n, Body body) {
  size_t i = 0;
  for (; i + W <= n; i += W) body(i, W);
  if (i < n) body(i, static_cast<int>(n - i));
}
/** Load and store of a full vector where lanes is W (the compiler sees a constant there), else of the first lanes. */
inline F get(const float* p, int lanes) { return lanes == W ? load(p) : load(p, lanes); }
inline void put(float* p, F x, int lanes) {
  if (lanes == W) store(p, x);
  else store(p, x, lanes);
}

}  // namespace
}  // namespace bitlaw::PATH
