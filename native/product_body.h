// Register-blocked products of packed operands: a block of rows times up to four vectors of columns stays in registers
// over the whole reduction. Included by each path, which provides the three kinds of a multiply-add below.
#pragma once
#include <type_traits>

#include "ops.h"
#include "simd.h"

namespace bitlaw::PATH {
namespace {

// Each kind: the accumulator, the multiply-add of one word of a row with W columns, the sums as floats.
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
struct Bf16Units {
  using Sum = __m512;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum start(const int32_t*) { return zero(); }
  static Sum add(Sum sum, I row, I panel) { return _mm512_dpbf16_ps(sum, (__m512bh)row, (__m512bh)panel); }
  static F floats(Sum sum) { return sum; }
};
struct Int8Units {
  using Sum = __m512i;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum start(const int32_t* p) { return loadi(p); }
  static Sum add(Sum sum, I row, I panel) { return _mm512_dpbusd_epi32(sum, row, panel); }
  static F floats(Sum sum) { return toFloat(sum); }
};
#elif defined(__AVX2__)
struct Int8Units {  // 16-bit pairs: the 8-bit instruction of AVX2 saturates
  using Sum = __m256i;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum start(const int32_t* p) { return loadi(p); }
  static Sum add(Sum sum, I row, I panel) { return _mm256_add_epi32(sum, _mm256_madd_epi16(row, panel)); }
  static F floats(Sum sum) { return toFloat(sum); }
};
#else
struct Int8Units {
  using Sum = I;
  static Sum zero() { return seti(0); }
  static Sum start(const int32_t* p) { return loadi(p); }
  static Sum add(Sum sum, I row, I panel) {
    return sum + ((row << 16) >> 16) * ((panel << 16) >> 16) + (row >> 16) * (panel >> 16);
  }
  static F floats(Sum sum) { return toFloat(sum); }
};
#endif
struct FloatUnits {
  using Sum = F;
  static Sum zero() { return set(0.0f); }
  static Sum start(const int32_t*) { return zero(); }
  static Sum add(Sum sum, I row, I panel) { return fma(asFloat(row), asFloat(panel), sum); }
  static F floats(Sum sum) { return sum; }
};

/** Asks for a line that is going to be written, so that it has come when the sums are done. */
inline void prefetchOut(const float* p) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*p));
#else
  __builtin_prefetch(p, 1);
#endif
}

/** Writes one vector of sums as the epilogue says. */
inline void finish(F sum, float* out, const Epilogue& e, const float* add, F rowScale, size_t column, int lanes) {
  F y = sum * rowScale;
  if (e.columnScales) y = y * get(e.columnScales + column, lanes);
  if (e.bias) y = y + get(e.bias + column, lanes);
  if (add) y = y + get(add, lanes);
  put(out, y, lanes);
}

/** ROWS x (VECTORS * W) outputs over the whole reduction. */
template <class Units, int ROWS, int VECTORS>
void tile(const uint32_t* rows, size_t rowStride, size_t stepStride, const uint32_t* panel, size_t panelWidth, size_t steps, float* out,
          size_t outStride, const Epilogue& e, const float* add, size_t row, size_t column, size_t columnsLeft, const char* ahead, size_t aheadStep) {
  typename Units::Sum sums[ROWS][VECTORS];
#pragma GCC unroll 4
  for (int v = 0; v < VECTORS; v++) {
    typename Units::Sum start = e.start ? Units::start(e.start + column + v * W) : Units::zero();
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) sums[r][v] = start;
  }
#pragma GCC unroll 2
  for (size_t s = 0; s < steps; s++) {
    if (s % 2 == 0) __builtin_prefetch(ahead + s * aheadStep, 0, 2);
    I columns[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) columns[v] = loadi(panel + s * panelWidth + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      I word = seti(static_cast<int32_t>(rows[static_cast<size_t>(r) * rowStride + s * stepStride]));
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) sums[r][v] = Units::add(sums[r][v], word, columns[v]);
    }
  }
  if (e.scale == 1 && !e.rowScales && !e.columnScales && !e.bias && columnsLeft >= VECTORS * W) {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) {
        const size_t at = static_cast<size_t>(r) * outStride + static_cast<size_t>(v) * W;
        const F sum = Units::floats(sums[r][v]);
        store(out + at, add ? sum + load(add + at) : sum);
      }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
    F rowScale = set(e.rowScales ? e.scale * e.rowScales[row + static_cast<size_t>(r)] : e.scale);
    float* to = out + static_cast<size_t>(r) * outStride;
    const float* plus = add ? add + static_cast<size_t>(r) * outStride : nullptr;
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
      size_t before = static_cast<size_t>(v) * W;
      if (before + W <= columnsLeft) finish(Units::floats(sums[r][v]), to + before, e, plus ? plus + before : nullptr, rowScale, column + before, W);
      else if (before < columnsLeft)
        finish(Units::floats(sums[r][v]), to + before, e, plus ? plus + before : nullptr, rowScale, column + before,
               static_cast<int>(columnsLeft - before));
    }
  }
}

using Tile = void (*)(const uint32_t*, size_t, size_t, const uint32_t*, size_t, size_t, float*, size_t, const Epilogue&,
                      const float*, size_t, size_t, size_t, const char*, size_t);

#if defined(__AVX512F__)
constexpr int VECTORS = 4;  // 32 registers: 24 sums and what feeds them
constexpr int MAX_ROWS[VECTORS + 1] = {0, 12, 12, 8, 6};
#else
constexpr int VECTORS = 2;  // 16 registers: 12 sums
constexpr int MAX_ROWS[VECTORS + 1] = {0, 6, 6};
#endif

template <class Units, int V>
Tile tileFor(size_t rows) {
  constexpr Tile tiles[] = {tile<Units, 1, V>, tile<Units, 2, V>, tile<Units, 3, V>, tile<Units, 4, V>, tile<Units, 5, V>, tile<Units, 6, V>
#if defined(__AVX512F__)
  , tile<Units, (V < 4 ? 7 : 6), V>, tile<Units, (V < 4 ? 8 : 6), V>, tile<Units, (V < 3 ? 9 : 6), V>,
                            tile<Units, (V < 3 ? 10 : 6), V>, tile<Units, (V < 3 ? 11 : 6), V>, tile<Units, (V < 3 ? 12 : 6), V>
#endif
  };
  return tiles[rows - 1];
}

template <class Units>
Tile tileFor(size_t rows, int vectors) {
#if defined(__AVX512F__)
  if (vectors == 4) return tileFor<Units, 4>(rows);
  if (vectors == 3) return tileFor<Units, 3>(rows);
#endif
  if (vectors == 2) return tileFor<Units, 2>(rows);
  return tileFor<Units, 1>(rows);
}

/** Longest reduction of floats that is summed in registers; integers are summed whole, so that they stay exact. */
constexpr size_t STEPS_AT_ONCE = 512;

/** See Product. Each output is summed in the order of the reduction, whatever the blocking around it. */
template <class Units>
void product(const Product& p) {
  constexpr size_t LONGEST = std::is_same_v<Units, Int8Units> ? SIZE_MAX / 2 : STEPS_AT_ONCE;
  for (size_t s0 = 0; s0 < p.steps || s0 == 0; s0 += LONGEST) {
    size_t steps = p.steps - s0 < LONGEST ? p.steps - s0 : LONGEST;
    Epilogue e = p.epilogue;
    if (s0 > 0) {
      e.add = p.out;
      e.bias = nullptr;
    }
    for (size_t column = 0; column < p.columns; column += PANEL) {
      size_t left = p.columns - column < PANEL ? p.columns - column : PANEL;
      size_t width = roundUp(left, 16);
      const uint32_t* panel = p.panels + column / PANEL * p.panelStride + (p.firstStep + s0) * width;
      const char* next = reinterpret_cast<const char*>(column + PANEL < p.columns ? panel + p.panelStride : panel);
      for (size_t part = 0; part < left; part += VECTORS * W) {
        size_t lanes = left - part < VECTORS * W ? left - part : VECTORS * W;
        int vectors = static_cast<int>((lanes + W - 1) / W);
        size_t blocks = divideUp(p.rowCount, static_cast<size_t>(MAX_ROWS[vectors]));
        const size_t aheadStep = width * 4 / blocks;
        for (size_t block = 0; block < blocks; block++) {  // blocks of nearly equal height
          size_t row = block * p.rowCount / blocks;
          size_t rows = (block + 1) * p.rowCount / blocks - row;
          size_t at = row * p.outStride + column + part;
          for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < lanes; c += 16) {
              prefetchOut(p.out + at + r * p.outStride + c);
              if (e.add && e.add != p.out) __builtin_prefetch(e.add + at + r * p.outStride + c);
            }
          tileFor<Units>(rows, vectors)(p.rows + row * p.rowStride + s0 * p.stepStride, p.rowStride, p.stepStride, panel + part, width, steps, p.out + at,
                                        p.outStride, e, e.add ? e.add + at : nullptr, row, column + part, lanes, next + block * steps * aheadStep, aheadStep);
        }
      }
    }
  }
}

/** Tells the compiler that nothing is known of these values, so that equal sums stay apart. */
template <int N, class Sum>
inline void keepAll(Sum* sums) {
#pragma GCC unroll 32
  for (int i = 0; i < N; i++) {
#if defined(__x86_64__)
    asm volatile("" : "+v"(sums[i]));
#else
    asm volatile("" : "+w"(sums[i]));
#endif
  }
}

/** Multiplies registers only, `rounds` times 24 (12) vectors: what the units can do at most. Returns the multiply-adds of one word. */
template <class Units>
double spin(size_t rounds, uint32_t* sink) {
  constexpr int SUMS = VECTORS * 6;
  typename Units::Sum sums[SUMS];
  I row = loadi(sink), panel = loadi(sink + 16);
#pragma GCC unroll 32
  for (int i = 0; i < SUMS; i++) sums[i] = Units::zero();
  for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 32
    for (int i = 0; i < SUMS; i++) sums[i] = Units::add(sums[i], row, panel);
    keepAll<SUMS>(sums);
  }
  for (int i = 0; i < SUMS; i++) storei(sink, asInt(Units::floats(sums[i])));
  return static_cast<double>(rounds) * SUMS * W;
}

}  // namespace
}  // namespace bitlaw::PATH
